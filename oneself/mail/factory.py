"""The delivery of mail that the settings ask for: where it goes, from whom, and in what words."""

from oneself.database import Database
from oneself.mail.delivery import Delivery
from oneself.mail.messages import Messages
from oneself.mail.smtp import Folder, parse_smtp_url
from oneself.mail.transport import Transport
from oneself.settings import Settings
from oneself.templating import Templates

__all__ = ["open_delivery", "open_messages"]


def open_messages(settings: Settings) -> Messages:
    """The texts of the checkout, behind those of the operator's own folder.

    Raises:
        TemplateBroken: A text of the operator's cannot be used.
    """
    messages = Messages(Templates(settings.template_dir), public_url=settings.public_origin)
    messages.check()
    return messages


def open_delivery(settings: Settings, database: Database) -> Delivery:
    """The delivery to the server that is set or, without one, into a folder.

    Raises:
        ValueError: The URL of the server is none; the sentence has no part of it in it.
        TemplateBroken: A text of the operator's cannot be used.
    """
    mailbox: Transport = Folder(settings.data_dir / "mail")
    if settings.smtp_url is not None and settings.smtp_url.get_secret_value():
        mailbox = parse_smtp_url(
            settings.smtp_url.get_secret_value(),
            ca_file=settings.smtp_ca_file,
            seconds=settings.smtp_seconds,
        )
    sender = settings.mail_from or f"no-reply@{settings.public_url.host}"
    return Delivery(database, mailbox, open_messages(settings), sender=sender)
