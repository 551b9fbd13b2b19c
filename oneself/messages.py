"""What the mail says."""

from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import urlsplit

from accounts.addresses import parse_address
from accounts.outbox import MessageKind
from models import OutboxMessage

__all__ = ["compose"]

_SUBJECTS = {
    MessageKind.EMAIL_VERIFICATION: "Verify your e-mail address",
    MessageKind.EMAIL_CHANGE_NOTICE: "Your e-mail address is about to change",
    MessageKind.EMAIL_ALREADY_IN_USE: "Somebody tried to use your e-mail address",
    MessageKind.PASSWORD_CHANGED: "Your password was changed",
    MessageKind.PASSWORD_RESET: "Set a new password",
}

_TEXTS = {
    MessageKind.EMAIL_VERIFICATION: (
        "To verify this e-mail address, enter this secret where you asked for it. It works once,\n"
        "for 24 hours:\n\n    {secret}\n\n"
        "If you did not ask for this, you need not do anything.\n"
    ),
    MessageKind.EMAIL_CHANGE_NOTICE: (
        "Somebody who is logged in to your account asked to change its e-mail address to\n\n"
        "    {new_address}\n\n"
        "If that was not you, change your password: it ends the change that is pending.\n"
    ),
    MessageKind.EMAIL_ALREADY_IN_USE: (
        "Somebody asked to use this e-mail address for another account. They were not told that\n"
        "it is yours, and nothing has changed. You need not do anything.\n"
    ),
    MessageKind.PASSWORD_CHANGED: (
        "The password of your account was changed just now.\n\n"
        "If that was not you, set a new one at once: ask for a reset by mail where you log in.\n"
    ),
    MessageKind.PASSWORD_RESET: (
        "Somebody, most likely you, has forgotten the password of your account. To set a new one,\n"
        "enter this secret where you asked for it. It works once, for an hour:\n\n    {secret}\n\n"
        "It logs you out everywhere, and ends your API keys and personal access tokens.\n"
        "If you did not ask for this, you need not do anything: your password is as it was.\n"
    ),
}


def compose(
    message: OutboxMessage, parameters: Mapping[str, str], *, public_url: str
) -> EmailMessage:
    """A message of the outbox as mail. Its Message-ID is the same each time it is composed.

    Addresses are built as objects, and texts hold no markup, so nothing can be injected (EM-15).
    """
    kind = MessageKind(message.kind)
    host = urlsplit(public_url).hostname or "localhost"
    local, _, domain = parse_address(message.recipient).mailbox.rpartition("@")
    mail = EmailMessage()
    mail["From"] = Address("oneself", "no-reply", host)
    mail["To"] = Address(username=local, domain=domain)
    mail["Subject"] = _SUBJECTS[kind]
    mail["Date"] = format_datetime(message.created_at)
    mail["Message-ID"] = f"<{message.id}@{host}>"
    # RFC 3834: no vacation reply is to answer this.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_TEXTS[kind].format_map(parameters))
    return mail
