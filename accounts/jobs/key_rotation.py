"""Root key rotation: rewriting rows under the present root secret, and retiring former ones.

Sealed values are opened under the former root and sealed under the present one, in batches, while
the service runs (TK-07). Values stored as a digest cannot be recomputed without the plain secret:
they stay valid under the former root and are replaced at their next use. Until then they keep that
root from being retired, unless they are revoked.

The links of the event chain are never rewritten. Triggers make the tables of events append-only,
and a link that could be rewritten would prove nothing. A root that has links is therefore kept when
it is retired, for verifying those links and nothing else (`Keyring.events`). The cost: verifying
the chain from its beginning takes every such root. The same holds for the files of archives. The
last seal keeps its root from being retired, until the next archive is sealed under another one.
"""

from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, and_, delete, func, select, true, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose, SealBroken
from accounts.crypto.password_hashing import NO_PASSWORD
from accounts.services.clients import renew_client_secret
from accounts.services.credentials import CREDENTIAL_TYPES, REVOCABLE, is_live
from accounts.services.database import AccountSession
from accounts.services.idle_sessions import idle_since
from accounts.services.one_time_secrets import is_pending, is_redeemable
from models import (
    Client,
    EventErasure,
    EventLink,
    EventSeal,
    IdempotencyRecord,
    LoginChallenge,
    OneTimeSecret,
    OutboxMessage,
    PasswordRecord,
    PasswordResetRequest,
    RecoveryCode,
    RootKey,
    SigningKey,
    TotpFactor,
)

_BATCH = 200
_SEAL = "event_seal"
_LAST_SEAL = select(func.max(col(EventSeal.sequence))).scalar_subquery()


class Position(NamedTuple):
    """The progress of a run: the number of the table, and the last id that was read there."""

    table: int
    id: str


START = Position(0, "")


class Unreadable(NamedTuple):
    """A row that cannot be unsealed."""

    table: str
    id: str


class Batch(NamedTuple):
    """The result of a batch; `after` is where the next one begins, None after the last."""

    rewritten: int
    unreadable: tuple[Unreadable, ...]
    after: Position | None


class Retirement(NamedTuple):
    """The result of retiring a root.

    `rows` are the numbers, by table, of the live rows that prevent it or, if it is `done`, of those
    that were ended for it. `links` is the number of event links that only this root can verify.
    """

    done: bool
    rows: dict[str, int]
    links: int


class _Sealed(NamedTuple):
    """A sealed column, with the id of its row and, for a token, the digest that finds it."""

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
    _Sealed(col(TotpFactor.id), col(TotpFactor.secret_sealed), Purpose.TOTP),
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
    """Seal the next rows under the present root, and report rows that cannot be unsealed.

    Each batch is one transaction of the caller, so that an interrupted run can be continued. A row
    that has changed since it was read is left alone: a token that was regenerated meanwhile stays.
    """
    column = _SEALED[after.table]
    rows = session.core.execute(
        select(column.id, column.sealed)
        .where(column.where, column.table.c.key_id != session.keys.key_id, column.id > after.id)
        .order_by(column.id)
        .limit(size)
    ).all()
    rewritten = 0
    unreadable = []
    for row_id, sealed in rows:
        try:
            plaintext = session.keys.open(column.purpose, sealed, row_id)
        except SealBroken:
            unreadable.append(Unreadable(column.table.name, row_id))
        else:
            rewritten += _store(session, column, row_id, sealed, plaintext)
    next_position = Position(after.table + 1, "")
    if len(rows) == size:
        next_position = Position(after.table, rows[-1][0])
    done = next_position.table == len(_SEALED)
    return Batch(rewritten, tuple(unreadable), None if done else next_position)


def _store(
    session: AccountSession, column: _Sealed, row_id: str, sealed: bytes, plaintext: str
) -> int:
    """Replace a sealed value by a text; returns 0 if the value has changed since."""
    values = {
        column.sealed.key: session.keys.seal(column.purpose, plaintext, row_id),
        "key_id": session.keys.key_id,
    }
    if column.digest is not None:
        values[column.digest.key] = session.keys.digest(column.purpose, plaintext)
    return session.core.execute(
        update(column.table).where(column.id == row_id, column.sealed == sealed).values(values)
    ).rowcount


def count_live(session: AccountSession) -> dict[str, dict[str, int]]:
    """Count, for each root and table, the rows that are valid under that root only."""
    counts: dict[str, dict[str, int]] = {}
    for name, key_id, live in _live(session):
        for root, rows in session.core.execute(
            select(key_id, func.count()).where(live).group_by(key_id)
        ):
            counts.setdefault(root, {})[name] = rows
    return counts


def count_links(session: AccountSession) -> dict[str, int]:
    """Count, for each root, the links, erasures and seals of the event chain under it.

    They do not count as live rows: they are not rewritten, and do not keep a root from being
    retired.
    """
    counts: Counter[str] = Counter()
    for root in (col(EventLink.key_id), col(EventErasure.key_id), col(EventSeal.key_id)):
        counts.update(dict(session.core.execute(select(root, func.count()).group_by(root)).all()))
    return dict(counts)


def _live(session: AccountSession) -> list[tuple[str, Any, Any]]:
    """Return for each table its name, the key id of a row, and the condition that it is live."""
    now, idle = session.now, idle_since(session.limits, session.now)
    record = col(PasswordRecord.record)
    return [
        *((column.table.name, column.table.c.key_id, column.where) for column in _SEALED),
        # A used refresh token counts until it expires: a second use of it must be noticed (RFC 9700
        # section 4.14.2), which takes the root that its digest is stored under.
        *(
            (
                str(type_.table.__tablename__),
                type_.column("key_id"),
                is_live(type_.table, now, idle),
            )
            for type_ in REVOCABLE
        ),
        ("recovery_code", col(RecoveryCode.key_id), col(RecoveryCode.used_at).is_(None)),
        (
            "login_challenge",
            col(LoginChallenge.key_id),
            col(LoginChallenge.ended_at).is_(None) & (col(LoginChallenge.expires_at) > now),
        ),
        ("one_time_secret", col(OneTimeSecret.key_id), and_(*is_redeemable(now))),
        # A response is found by the digest of its key, so it cannot be sealed anew either.
        (_SEAL, col(EventSeal.key_id), col(EventSeal.sequence) == _LAST_SEAL),
        ("kept_answer", col(IdempotencyRecord.key_id), col(IdempotencyRecord.expires_at) > now),
        # The secret of a public client was never given to anyone.
        ("client", col(Client.key_id), col(Client.is_public).is_(False)),
        # All schemes have the id of the root at the same position.
        (
            "password_record",
            func.substr(record, 3, 8),
            func.substr(record, 1, 2).in_(("1$", "2$", "3$", "4$")),
        ),
    ]


def retire_root(session: AccountSession, key_id: str, *, revoke: bool) -> Retirement:
    """Retire a former root, if no live row is stored under it.

    With `revoke`, live rows are ended: sessions, keys and tokens are revoked, one-time secrets
    superseded and idempotency records deleted; clients get an unknown secret, and users have no
    password until they reset it. Of the sealed values that cannot be opened, access tokens are
    regenerated, and the others deleted.

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
    # Nothing can take the place of the last seal but the next one.
    if _SEAL in rows or (rows and not revoke):
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
        .values(record=NO_PASSWORD)
    )
    for table in (IdempotencyRecord, LoginChallenge, RecoveryCode):
        session.core.execute(delete(table).where(col(table.key_id) == key_id))
    for client in session.scalars(select(Client).where(col(Client.key_id) == key_id)):
        renew_client_secret(session, client)
    session.flush()
    _drop_unreadable(session, key_id)


def _drop_unreadable(session: AccountSession, key_id: str) -> None:
    for column in _SEALED:
        if column.digest is None:
            session.core.execute(
                delete(column.table).where(column.where, column.table.c.key_id == key_id)
            )
            continue
        # Each user must have exactly one access token, and its digest is still valid.
        remaining = session.core.execute(
            select(column.id, column.sealed).where(column.table.c.key_id == key_id)
        )
        for row_id, sealed in remaining.all():
            _store(session, column, row_id, sealed, tokens.mint(tokens.ACCESS_TOKEN))
