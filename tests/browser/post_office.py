"""A mail server that keeps what it is given."""

import email.policy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.ports import free_port

__all__ = ["PostOffice", "open_post_office"]

_PARSER = BytesParser(policy=email.policy.default)
#: The outbox is looked into once a second, and before that the resets that were asked for.
_SECONDS = 30


class PostOffice:
    """The mail that has come, by its reader, each of it read once."""

    def __init__(self) -> None:
        self.port = 0
        self._waiting: dict[str, list[EmailMessage]] = {}
        self._arrived = threading.Condition()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 # aiosmtpd's name
        """Take a mail."""
        [reader] = envelope.rcpt_tos
        mail = _PARSER.parsebytes(envelope.content)
        assert isinstance(mail, EmailMessage)
        with self._arrived:
            self._waiting.setdefault(reader, []).append(mail)
            self._arrived.notify_all()
        return "250 OK"

    def next_for(self, reader: str) -> EmailMessage:
        """The oldest mail to an address that was not read yet; waits for it to come."""
        with self._arrived:
            came = self._arrived.wait_for(lambda: self._waiting.get(reader), _SECONDS)
            assert came, f"no mail in {_SECONDS} s"
            return self._waiting[reader].pop(0)

    def unread_of(self, reader: str) -> int:
        """How many more there are."""
        with self._arrived:
            return len(self._waiting.get(reader, ()))


@contextmanager
def open_post_office() -> Iterator[PostOffice]:
    """Run it on this machine, without TLS."""
    office = PostOffice()
    office.port = free_port()
    controller = Controller(office, hostname="127.0.0.1", port=office.port)
    controller.start()
    try:
        yield office
    finally:
        controller.stop()
