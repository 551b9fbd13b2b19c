"""Taking mail out of the outbox, after the commit that put it there."""

import logging
import os
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy import update
from sqlmodel import col, select

from accounts.errors import InvalidRequest
from accounts.keyring import SealBroken
from accounts.outbox import open_parameters
from models import OutboxMessage
from oneself.messages import compose
from oneself.transactions import Database

__all__ = ["Delivery"]

_log = logging.getLogger("oneself.delivery")
_BATCH = 50


class Delivery:
    """Writes the mail of the outbox as `.eml` files into a folder.

    A message is delivered at least once: the file is written first, and only then the row, each
    outside of the other. After a crash between the two it is written again, to the same name.
    """

    def __init__(self, database: Database, folder: Path, *, host: str) -> None:
        self._database = database
        self._folder = folder
        self._host = host
        self._unreadable: set[str] = set()

    def deliver_pending(self) -> int:
        """Deliver what is in the outbox; returns how many messages that was.

        Raises:
            sqlalchemy.exc.OperationalError: The database does not answer.
            OSError: The folder cannot be written.
        """
        pending = self._read_pending()
        for message_id, mail in pending.items():
            _write(self._folder / f"{message_id}.eml", bytes(mail))
            with self._database.transaction(writing=True) as session:
                # The text is no longer needed, and a secret is in it.
                session.core.execute(
                    update(OutboxMessage)
                    .where(col(OutboxMessage.id) == message_id)
                    .values(delivered_at=session.now, parameters_sealed=b"")
                )
        return len(pending)

    def _read_pending(self) -> dict[str, EmailMessage]:
        mails: dict[str, EmailMessage] = {}
        with self._database.transaction(writing=False) as session:
            messages = session.exec(
                select(OutboxMessage)
                .where(
                    col(OutboxMessage.delivered_at).is_(None),
                    col(OutboxMessage.id).not_in(self._unreadable),
                )
                .order_by(col(OutboxMessage.created_at), col(OutboxMessage.id))
                .limit(_BATCH)
            ).all()
            for message in messages:
                try:
                    parameters = open_parameters(session, message)
                    mails[message.id] = compose(message, parameters, host=self._host)
                except (SealBroken, InvalidRequest, ValueError, KeyError):
                    # Sealed with another key, or of a kind that a newer version has put there. It
                    # stays where it is; said once, and not in the way of the mail behind it.
                    _log.exception("unreadable message", extra={"message_id": message.id})
                    self._unreadable.add(message.id)
        return mails


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only: a secret is in it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
