"""Registry of the kinds of stored credential.

Authentication, usage recording, retention, key rotation, revocation and the HTTP credential reader
are driven by it, so that a new kind is one entry here. Three kinds have no entry. JWTs are not
stored: they end with their session, or with the credential epoch of the user. Client secrets
(`accounts.services.clients`) authenticate no user, and one-time secrets
(`accounts.services.one_time_secrets`) no request.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, select, true, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import NotFound
from accounts.services.access_tokens import regenerate_access_token
from accounts.services.database import AccountSession, columns_of
from accounts.services.events import EventKind, record_events, record_events_of
from accounts.services.idle_sessions import idle_since, used_after
from accounts.services.principal import CredentialKind
from accounts.services.user_views import UserView
from models import (
    AccessToken,
    ApiKey,
    Client,
    LoginSession,
    PersonalAccessToken,
    RefreshToken,
    User,
    wire,
)

#: Every access control entry. Today each enabled user has all of them over their own account.
SESSION_RIGHTS: frozenset[str] = frozenset(get_args(wire.Scope))

ACCESS_TOKEN_RIGHTS = frozenset(
    {
        "me/profile:read",
        "me/profile:write",
        "me/settings:read",
        "me/settings:write",
        "me/token:read",
        "me/token:write",
    }
)


@dataclass(frozen=True, slots=True)
class CredentialType:
    """One kind of stored credential.

    `name` is its name in security events, `purpose` the key that its digest is made with, and
    `table` has a row for each credential; `id`, `digest`, `lookup` and `sealed` name columns of it.
    A row is found by `lookup` if that is set, else by its digest. `kind` is set if the credential
    authenticates requests of a user, and `prefix` if its tokens begin with a fixed text. `rights`
    are those of every credential of this kind; without them each has its own scopes.
    `revocation` is the event that is recorded when one is revoked.
    """

    name: str
    purpose: Purpose
    table: Any  # the tables have no base class in common
    kind: CredentialKind | None = None
    prefix: str | None = None
    id: str = "id"
    digest: str = "token_digest"
    lookup: str | None = None
    sealed: str | None = None
    rights: frozenset[str] | None = None
    revocation: EventKind | None = EventKind.TOKEN_REVOKED

    def has(self, column: str) -> bool:
        """Return whether the table has this column."""
        return hasattr(self.table, column)

    def column(self, name: str) -> Any:
        """Return a column of the table."""
        return getattr(self.table, name)


SESSION = CredentialType(
    "session",
    Purpose.SESSION,
    LoginSession,
    kind=CredentialKind.SESSION,
    prefix=tokens.SESSION,
    rights=SESSION_RIGHTS,
    revocation=EventKind.SESSION_LOGOUT,
)
REFRESH_TOKEN = CredentialType(
    "refreshToken",
    Purpose.REFRESH_TOKEN,
    RefreshToken,
    prefix=tokens.REFRESH_TOKEN,
    # They end with their session, which has an event of its own.
    revocation=None,
)
API_KEY = CredentialType(
    "apiKey",
    Purpose.API_KEY,
    ApiKey,
    kind=CredentialKind.API_KEY,
    digest="key_digest",
    # Two keys can share a prefix; it narrows the search, and the digest decides (TK-09).
    lookup="prefix",
)
PAT = CredentialType(
    "pat", Purpose.PAT, PersonalAccessToken, kind=CredentialKind.PAT, prefix=tokens.PAT
)
ACCESS_TOKEN = CredentialType(
    "accessToken",
    Purpose.ACCESS_TOKEN,
    AccessToken,
    kind=CredentialKind.ACCESS_TOKEN,
    prefix=tokens.ACCESS_TOKEN,
    id="user_id",
    sealed="token_sealed",
    rights=ACCESS_TOKEN_RIGHTS,
)

#: Every kind of stored credential. Sessions stand before the rows that refer to them.
CREDENTIAL_TYPES = (SESSION, REFRESH_TOKEN, API_KEY, PAT, ACCESS_TOKEN)

#: The kinds that authenticate requests.
BY_KIND = {type_.kind: type_ for type_ in CREDENTIAL_TYPES if type_.kind is not None}

#: The kinds whose rows expire and can be revoked one by one.
REVOCABLE = tuple(type_ for type_ in CREDENTIAL_TYPES if type_.has("revoked_at"))

_FIXED_RIGHTS = {kind: type_.rights for kind, type_ in BY_KIND.items()}


def rights(kind: CredentialKind, scopes: Iterable[str]) -> frozenset[str]:
    """Return the rights of a credential: its kind's, else its scopes within the user's (TK-12)."""
    return _FIXED_RIGHTS.get(kind) or SESSION_RIGHTS.intersection(scopes)


def is_live(table: Any, now: Any, idle: Any) -> ColumnElement[bool]:
    """Return the condition that a row of a revocable kind is not revoked, expired or idle.

    `now` and `idle` are times or bind parameters. `idle` is `idle_since` and for sessions.
    """
    live: ColumnElement[bool] = table.revoked_at.is_(None) & _is_current(table, now, idle)
    return live


def _is_current(table: Any, now: Any, idle: Any) -> ColumnElement[bool]:
    is_current: ColumnElement[bool] = table.expires_at > now
    return is_current & used_after(idle) if table is LoginSession else is_current


def is_of_enabled_client(client_id: Any) -> ColumnElement[bool]:
    """Return the condition that a client is enabled; `client_id` is a column or a parameter."""
    return exists().where(col(Client.id) == client_id, col(Client.disabled_at).is_(None))


def is_accepted(type_: CredentialType, now: Any, idle: Any) -> ColumnElement[bool]:
    """Return the condition that a row is live and, if issued through a client, that is enabled.

    Disabling a client revokes nothing, so that it can be undone.
    """
    accepted = is_live(type_.table, now, idle) if type_.has("revoked_at") else true()
    if type_.has("client_id"):
        accepted &= is_of_enabled_client(type_.column("client_id"))
    return accepted


def count_live(session: AccountSession, user_id: str) -> Mapping[str, int]:
    """Count the user's live credentials of each kind that authenticates and can be revoked."""
    idle = idle_since(session.limits, session.now)
    return {
        type_.name: session.core.execute(
            select(func.count()).where(
                type_.column("user_id") == user_id, is_live(type_.table, session.now, idle)
            )
        ).scalar_one()
        for type_ in REVOCABLE
        if type_.kind is not None
    }


def select_live(type_: CredentialType, shape: type[tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Build the statement that lists the live credentials of a user as `shape`, newest first."""
    table = type_.table
    return (
        select(*columns_of(table, shape))
        .where(
            table.user_id == bindparam("user_id"),
            is_live(table, bindparam("now"), bindparam("idle_since")),
        )
        .order_by(table.created_at.desc(), table.id)
    )


def revoke(
    session: AccountSession, user: UserView, type_: CredentialType, credential_id: str
) -> None:
    """Revoke one credential of the user.

    Raises:
        NotFound: The user has no live credential of this kind and id.
    """
    revoked = session.core.execute(
        update(type_.table)
        .where(
            type_.column(type_.id) == credential_id,
            type_.column("user_id") == user.user_id,
            is_live(type_.table, session.now, idle_since(session.limits, session.now)),
        )
        .values(revoked_at=session.now)
    )
    if not revoked.rowcount:
        raise NotFound
    record_revocations(session, user, type_, [credential_id])


def revoke_all(
    session: AccountSession,
    user: UserView,
    types: Iterable[CredentialType],
    *,
    except_id: str | None = None,
) -> None:
    """Revoke every credential of the user that is of these kinds, except one if an id is given.

    Expired and idle ones are revoked too: they would be live again if the clock, which may be
    ahead, is put right. Only those that were live get an event.
    """
    idle = idle_since(session.limits, session.now)
    for type_ in types:
        revoked = session.core.execute(
            update(type_.table)
            .where(
                type_.column("user_id") == user.user_id,
                type_.column(type_.id) != (except_id or ""),
                type_.column("revoked_at").is_(None),
            )
            .values(revoked_at=session.now)
            .returning(type_.column(type_.id), _is_current(type_.table, session.now, idle))
        )
        record_revocations(session, user, type_, [id_ for id_, was_live in revoked if was_live])


def revoke_issued_by(session: AccountSession, client: Client) -> int:
    """Revoke every credential that was issued through a client; returns how many were live.

    Its users belong to its tenant.
    """
    ended = 0
    for type_ in REVOCABLE:
        if not type_.has("client_id"):
            continue
        revoked = session.core.execute(
            update(type_.table)
            .where(type_.column("client_id") == client.id, type_.column("revoked_at").is_(None))
            .values(revoked_at=session.now)
            .returning(type_.column("user_id"), type_.column(type_.id), type_.column("expires_at"))
        )
        live = [(user_id, id_) for user_id, id_, expires_at in revoked if expires_at > session.now]
        ended += len(live)
        if type_.revocation is not None:
            details = [(user_id, _details(type_, credential_id)) for user_id, credential_id in live]
            record_events_of(session, type_.revocation, client.tenant_id, details)
    return ended


def revoke_everything(session: AccountSession, user: UserView) -> None:
    """Revoke every credential of the user, JWTs among them, and replace the access token."""
    revoke_all(session, user, REVOCABLE)
    regenerate_access_token(session, user)
    revoke_jwts(session, user)


def revoke_jwts(session: AccountSession, user: UserView) -> None:
    """Revoke every JWT of the user, from the next request on."""
    session.core.execute(
        update(User)
        .where(col(User.id) == user.user_id)
        .values(credential_epoch=col(User.credential_epoch) + 1)
    )


def record_revocations(
    session: AccountSession, user: UserView, type_: CredentialType, revoked: Iterable[str]
) -> None:
    """Record the event of each credential that was revoked."""
    if type_.revocation is not None:
        details = [_details(type_, credential_id) for credential_id in revoked]
        record_events(session, type_.revocation, user, details)


def _details(type_: CredentialType, credential_id: str) -> dict[str, str | int]:
    if type_ is SESSION:
        return {"session_id": credential_id}
    return {"credential": type_.name, "credential_id": credential_id}
