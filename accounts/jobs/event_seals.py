"""Seals of the parts of the event chain that were archived.

A seal takes the place of the links that it covers, so verification goes on from it. Its digest is
keyed by the root secret: without that secret no seal can be made up to hide a deletion (ADR 41).
The seal in the table has another key than the one in the file, which is kept as long as the file.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlmodel import col

from accounts.crypto.keyring import Keyring, Purpose
from accounts.jobs.event_links import as_bytes, as_stored, plain, text_of
from accounts.services.database import AccountSession
from models import EventSeal, metadata

_COLUMNS = metadata.tables["event_seal"].columns.keys()
_SEALS = select(*as_stored("event_seal")).order_by(col(EventSeal.sequence))


class Seal(NamedTuple):
    """A seal: the links that it covers, the digests before and at its end, and the file's."""

    first: int
    last: int
    before: bytes
    head: bytes
    file_digest: bytes
    sealed_at: str
    key_id: str

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> "Seal":
        """Return the seal of a record, genuine or not.

        Raises:
            KeyError, TypeError, ValueError: It is no record of a seal.
        """
        digests = {name: bytes.fromhex(record[name]) for name in ("before", "head", "file_digest")}
        return cls(**{name: record[name] for name in cls._fields} | digests)

    def record(self) -> Mapping[str, object]:
        """Return the seal as a record of the archive."""
        return {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in self._asdict().items()
        }

    def digest(self, keys: Keyring, purpose: Purpose) -> bytes:
        """Return the digest that makes it the seal of a table or of a file."""
        return keys.digest(purpose, text_of(self.record()))

    def matches(self, keys: Keyring, purpose: Purpose, digest: bytes) -> bool:
        """Return whether the digest is that of this seal, under a root secret for the purpose."""
        return keys.matches(purpose, text_of(self.record()), digest)


def find_seals(session: AccountSession) -> tuple[list[Seal], list[str]]:
    """Return the seals, oldest first, up to a problem; and the problem.

    The last one must be under a root secret that is not retired: a root that leaked could seal
    deletions otherwise. It covers those before it, which are only compared.
    """
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in session.core.execute(_SEALS)]
    seals: list[Seal] = []
    for row in rows:
        seal = _seal_of(row)
        last, head = (seals[-1].last, seals[-1].head) if seals else (0, b"")
        name = ascii(seal.last)[:20]
        digest = as_bytes(row["seal_digest"])
        if row is rows[-1] and not seal.matches(session.keys, Purpose.EVENT_SEAL, digest):
            return [], [f"the seal of links up to {name} was not made by the service"]
        if (seal.first, seal.before) != (last + 1, head):
            return [], [f"the seal before the one of links up to {name} is missing"]
        seals.append(seal)
    return seals, []


def _seal_of(row: Mapping[str, Any]) -> Seal:
    sealed_at = row["sealed_at"]
    return Seal(
        row["first_sequence"],
        row["sequence"],
        as_bytes(row["previous_digest"]),
        as_bytes(row["chain_digest"]),
        as_bytes(row["file_digest"]),
        sealed_at if isinstance(sealed_at, str) else str(plain(sealed_at)),
        row["key_id"],
    )
