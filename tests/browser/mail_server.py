"""A mail server that keeps the mail it receives."""

import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.ports import free_port

__all__ = ["MailServer", "open_mail_server"]

_PARSER = BytesParser(policy=email.policy.default)
#: The outbox is checked once a second, and requested resets before it.
_SECONDS = 30


class MailServer:
    """Received mail by recipient; each mail is read once."""

    def __init__(self) -> None:
        self.port = 0
        self._unread: dict[str, list[EmailMessage]] = {}
        self._arrived = threading.Condition()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 # aiosmtpd's name
        """Receive a mail."""
        [recipient] = envelope.rcpt_tos
        mail = _PARSER.parsebytes(envelope.content)
        assert isinstance(mail, EmailMessage)
        with self._arrived:
            self._unread.setdefault(recipient, []).append(mail)
            self._arrived.notify_all()
        return "250 OK"

    def next_for(self, recipient: str) -> EmailMessage:
        """Return the oldest unread mail to an address, or wait for one."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: self._unread.get(recipient), _SECONDS)
            assert arrived, f"no mail in {_SECONDS} s"
            return self._unread[recipient].pop(0)


@contextmanager
def open_mail_server() -> Iterator[MailServer]:
    """Run the server on a free port of this machine, without TLS."""
    mail_server = MailServer()
    mail_server.port = free_port()
    controller = Controller(mail_server, hostname="127.0.0.1", port=mail_server.port)
    controller.start()
    try:
        yield mail_server
    finally:
        controller.stop()
