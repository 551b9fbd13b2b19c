"""After a change of the root secret: storing anew what can be, counting and ending the rest.

What is sealed is opened under the former root and sealed under the present one, in batches, while
the service runs (TK-07). Of what is stored as a digest only, nobody has the secret. It stays good
under the former root, is stored anew when it is next used, and keeps that root from being retired
for as long as it is live; or it is revoked.

The links of the chain of events are neither. The tables of events are only ever added to, triggers
see to that, and a link that could be written anew would prove nothing. So a root that has links is
remembered when it is retired, for the verification of those links and for nothing else
(`Keyring.events`). Costs: who verifies the chain from its beginning keeps every such root.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, delete, func, select, true, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.services.credentials import CREDENTIAL_TYPES, REVOCABLE, is_live
from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import is_pending, is_redeemable
from models import (
    Client,
    EventLink,
    IdempotencyRecord,
    OneTimeSecret,
    OutboxMessage,
    PasswordRecord,
    PasswordResetRequest,
    RootKey,
    SigningKey,
)

__all__ = [
    "START",
    "Batch",
    "Position",
    "Retirement",
    "Unreadable",
    "count_links",
    "count_live",
    "rekey_batch",
    "retire_root",
]

_BATCH = 200

# As in shadow(5): no password has this for a record, and the row stays to be written over.
_NO_PASSWORD = "!"  # noqa: S105 # the sign that there is none


class Position(NamedTuple):
    """How far a run has come: the number of the table, and the last id that it saw there."""

    table: int
    id: str


START = Position(0, "")


class Unreadable(NamedTuple):
    """A row whose seal does not open."""

    table: str
    id: str


class Batch(NamedTuple):
    """What one batch did; `after` is where the next one begins, None when this was the last."""

    rewritten: int
    unreadable: tuple[Unreadable, ...]
    after: Position | None


class Retirement(NamedTuple):
    """How the retirement of a root went.

    `rows` are, for each table, the live ones that stand in its way, or, where it is `done`, those
    that were ended for it. `links` of the chain of events can be verified under it only.
    """

    done: bool
    rows: dict[str, int]
    links: int


class _Sealed(NamedTuple):
    """A sealed column, with what names its row and, of a token, the digest that it is found by."""

    id: Any
    sealed: Any
    purpose: Purpose
    digest: Any = None
    where: ColumnElement[bool] = true()

    @property
    def table(self) -> Table:
        table: Table = self.id.table
        return table


_SEALED = (
    *(
        _Sealed(
            type_.column(type_.id),
            type_.column(type_.sealed),
            type_.purpose,
            digest=type_.column(type_.digest),
        )
        for type_ in CREDENTIAL_TYPES
        if type_.sealed is not None
    ),
    _Sealed(col(SigningKey.kid), col(SigningKey.private_sealed), Purpose.SIGNING_KEY),
    _Sealed(
        col(PasswordResetRequest.id),
        col(PasswordResetRequest.address_sealed),
        Purpose.RESET_REQUEST,
    ),
    _Sealed(
        col(OutboxMessage.id),
        col(OutboxMessage.parameters_sealed),
        Purpose.OUTBOX,
        where=col(OutboxMessage.parameters_sealed)
        != b"",  # empty once it is sent, or was given up long ago
    ),
)


def rekey_batch(session: AccountSession, after: Position = START, *, size: int = _BATCH) -> Batch:
    """Seal the next rows under the present root; what does not open is left, and named.

    One batch is one transaction of the caller's, so whatever ends a run between two, the next one
    finds what is left. A row that changed since it was read is left as it is: a token that is
    regenerated meanwhile stays the new one.
    """
    kind = _SEALED[after.table]
    rows = session.core.execute(
        select(kind.id, kind.sealed)
        .where(kind.where, kind.table.c.key_id != session.keys.key_id, kind.id > after.id)
        .order_by(kind.id)
        .limit(size)
    ).all()
    rewritten = 0
    unreadable = []
    for row_id, sealed in rows:
        try:
            plaintext = session.keys.open(kind.purpose, sealed, row_id)
        except SealBroken:
            unreadable.append(Unreadable(kind.table.name, row_id))
        else:
            rewritten += _store(session, kind, row_id, sealed, plaintext)
    following = Position(after.table + 1, "")
    if len(rows) == size:
        following = Position(after.table, rows[-1][0])
    done = following.table == len(_SEALED)
    return Batch(rewritten, tuple(unreadable), None if done else following)


def _store(
    session: AccountSession, kind: _Sealed, row_id: str, sealed: bytes, plaintext: str
) -> int:
    """Store a text in the place of what is sealed there; 0 if that is no longer there."""
    values = {
        kind.sealed.key: session.keys.seal(kind.purpose, plaintext, row_id),
        "key_id": session.keys.key_id,
    }
    if kind.digest is not None:
        values[kind.digest.key] = session.keys.digest(kind.purpose, plaintext)
    return session.core.execute(
        update(kind.table).where(kind.id == row_id, kind.sealed == sealed).values(values)
    ).rowcount


def count_live(session: AccountSession) -> dict[str, dict[str, int]]:
    """Count, for each root and each table, the rows that are good under that root only."""
    counted: dict[str, dict[str, int]] = {}
    for name, key_id, live in _live(session.now):
        for root, rows in session.core.execute(
            select(key_id, func.count()).where(live).group_by(key_id)
        ):
            counted.setdefault(root, {})[name] = rows
    return counted


def count_links(session: AccountSession) -> dict[str, int]:
    """Count, for each root, the links of the chain of events that are verified under it.

    They are not among what is live: they never go, and do not keep a root from being retired.
    """
    root = col(EventLink.key_id)
    return dict(session.core.execute(select(root, func.count()).group_by(root)).all())


def _live(now: datetime) -> list[tuple[str, Any, Any]]:
    """The name of each table, what tells the root of a row, and whether the row is live."""
    record = col(PasswordRecord.record)
    return [
        *((kind.table.name, kind.table.c.key_id, kind.where) for kind in _SEALED),
        # A used refresh token counts until it expires: a second use of it must be noticed (RFC 9700
        # section 4.14.2), which takes the root that its digest is stored under.
        *(
            (
                str(type_.table.__tablename__),
                type_.column("key_id"),
                is_live(type_.table, now),
            )
            for type_ in REVOCABLE
        ),
        (
            "one_time_secret",
            col(OneTimeSecret.key_id),
            and_(*is_redeemable(now)),
        ),
        # Its digest is all that a client can find it by, so it cannot be sealed anew either.
        ("kept_answer", col(IdempotencyRecord.key_id), col(IdempotencyRecord.expires_at) > now),
        # What a public client has for a secret was told to nobody.
        ("client", col(Client.key_id), col(Client.is_public).is_(False)),
        # Either scheme is under a root, whose id stands at the same place.
        ("password_record", func.substr(record, 3, 8), func.substr(record, 1, 2).in_(("1$", "2$"))),
    ]


def retire_root(session: AccountSession, key_id: str, *, revoke: bool) -> Retirement:
    """Forget a former root, once no live row is stored under it.

    With `revoke`, what is live under it ends: sessions, keys and tokens are revoked, one-time
    secrets superseded, kept answers deleted, clients get a secret that nobody knows, and users a
    password that nobody has, until they reset it. Of what is sealed and does not open, an access
    token is made anew, and the rest is deleted.

    Raises:
        ValueError: It is the present root.
    """
    if key_id == session.keys.key_id:
        raise ValueError("The present root secret cannot be retired.")
    after: Position | None = START
    while after is not None:
        after = rekey_batch(session, after).after
    rows = count_live(session).get(key_id, {})
    links = count_links(session).get(key_id, 0)
    if rows and not revoke:
        return Retirement(done=False, rows=rows, links=links)
    if rows:
        _revoke(session, key_id)
    if not links:
        session.core.execute(delete(RootKey).where(col(RootKey.key_id) == key_id))
    return Retirement(done=True, rows=rows, links=links)


def _revoke(session: AccountSession, key_id: str) -> None:
    for type_ in REVOCABLE:
        session.core.execute(
            update(type_.table)
            .where(type_.column("key_id") == key_id, type_.column("revoked_at").is_(None))
            .values(revoked_at=session.now)
        )
    session.core.execute(
        update(OneTimeSecret)
        .where(col(OneTimeSecret.key_id) == key_id, *is_pending())
        .values(superseded_at=session.now)
    )
    session.core.execute(
        update(PasswordRecord)
        .where(func.substr(col(PasswordRecord.record), 2, 10) == f"${key_id}$")
        .values(record=_NO_PASSWORD)
    )
    session.core.execute(delete(IdempotencyRecord).where(col(IdempotencyRecord.key_id) == key_id))
    _replace_client_secrets(session, key_id)
    _drop_unreadable(session, key_id)


def _replace_client_secrets(session: AccountSession, key_id: str) -> None:
    client_ids = session.core.execute(select(col(Client.id)).where(col(Client.key_id) == key_id))
    for client_id in client_ids.scalars().all():
        secret = tokens.mint(tokens.CLIENT_SECRET)
        session.core.execute(
            update(Client)
            .where(col(Client.id) == client_id)
            .values(
                secret_digest=session.keys.digest(Purpose.CLIENT_SECRET, secret),
                key_id=session.keys.key_id,
            )
        )


def _drop_unreadable(session: AccountSession, key_id: str) -> None:
    for kind in _SEALED:
        if kind.digest is None:
            session.core.execute(
                delete(kind.table).where(kind.where, kind.table.c.key_id == key_id)
            )
            continue
        # There is exactly one access token for a user at any time, and its digest is still good.
        left = session.core.execute(
            select(kind.id, kind.sealed).where(kind.table.c.key_id == key_id)
        )
        for row_id, sealed in left.all():
            _store(session, kind, row_id, sealed, tokens.mint(tokens.ACCESS_TOKEN))
