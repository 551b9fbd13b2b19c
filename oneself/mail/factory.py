"""Mail delivery as configured: transport, sender and templates."""

from oneself.database import Database
from oneself.mail.delivery import Delivery
from oneself.mail.folder import Folder
from oneself.mail.messages import Messages
from oneself.mail.smtp import parse_smtp_url
from oneself.mail.transport import Transport
from oneself.settings import Settings
from oneself.templating import Templates


def open_messages(settings: Settings) -> Messages:
    """Return the messages, with the operator's templates over the shipped ones.

    Raises:
        TemplateBroken: A template or catalogue of the operator cannot be used.
    """
    messages = Messages(
        Templates(settings.template_dir, brand=settings.brand), public_url=settings.public_origin
    )
    messages.check()
    return messages


def open_delivery(settings: Settings, database: Database) -> Delivery:
    """Return the delivery to the configured server or, without one, to a folder.

    Raises:
        ValueError: The URL of the server is malformed; the message contains no part of it.
        TemplateBroken: A template or catalogue of the operator cannot be used.
    """
    transport: Transport = Folder(settings.data_dir / "mail")
    if settings.smtp_url is not None and settings.smtp_url.get_secret_value():
        transport = parse_smtp_url(
            settings.smtp_url.get_secret_value(),
            ca_file=settings.smtp_ca_file,
            seconds=settings.smtp_seconds,
        )
    sender = settings.mail_from or f"no-reply@{settings.public_url.host}"
    return Delivery(database, transport, open_messages(settings), sender=sender)
