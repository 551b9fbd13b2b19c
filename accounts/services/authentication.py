"""Authenticating requests: from a presented credential to its user."""

import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, exists, func, null, select, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims
from accounts.errors import InvalidToken
from accounts.services.credentials import (
    BY_KIND,
    is_accepted,
    is_live,
    is_of_enabled_client,
    rights,
)
from accounts.services.database import AccountSession, Reading
from accounts.services.idle_sessions import idle_since, used_after
from accounts.services.principal import (
    Authentication,
    Credential,
    CredentialKind,
    Presented,
    Principal,
)
from accounts.services.user_views import ENABLED, USER_VIEW_COLUMNS, UserView
from accounts.values.authentication_methods import PASSWORD
from models import LoginSession, RevokedJwt, Tenant, User


def _statement(table: Any, key: Any, *columns: Any, where: Any = True) -> Select[*tuple[Any, ...]]:
    """Build one SELECT that reads a live credential with its enabled user and tenant.

    It is built once, since building it costs ten times as much as running it. It checks for
    revocation, expiry and disabled users, tenants and clients at every request: nothing is cached.
    """
    return (
        select(*USER_VIEW_COLUMNS, *columns)
        .select_from(table)
        .join(User, col(User.id) == table.user_id)
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(key == bindparam("key"), where, ENABLED)
    )


_WIDTH = len(USER_VIEW_COLUMNS)

_AUTHENTICATION = (
    func.coalesce(col(LoginSession.authenticated_at), col(LoginSession.created_at)),
    func.coalesce(col(LoginSession.amr), PASSWORD),
)

# Each statement reads, after the user: the credential's id, its scopes, its digest, and of a
# session when and how its user authenticated.
_STATEMENTS: dict[CredentialKind, Select[*tuple[Any, ...]]] = {
    kind: _statement(
        type_.table,
        type_.column(type_.lookup or type_.digest),
        type_.column(type_.id),
        type_.column("scopes") if type_.has("scopes") else null(),
        type_.column(type_.digest),
        *(_AUTHENTICATION if kind is CredentialKind.SESSION else ()),
        where=is_accepted(type_, bindparam("now"), bindparam("idle_since")),
    )
    for kind, type_ in BY_KIND.items()
}

_JWT = _statement(
    LoginSession,
    col(LoginSession.id),
    where=is_live(LoginSession, bindparam("now"), bindparam("idle_since"))
    & (col(User.credential_epoch) == bindparam("epoch"))
    & is_of_enabled_client(bindparam("client_id"))
    & ~exists().where(col(RevokedJwt.jti) == bindparam("jti")),
)


class StaleDigest(NamedTuple):
    """A digest under a former root secret, and the one under the present root to replace it."""

    kind: CredentialKind
    id: str
    before: bytes
    after: bytes


def authenticate(reading: Reading, presented: Presented) -> Principal:
    """Return the user of a live credential.

    Raises:
        InvalidToken: The credential is unknown, revoked or expired, or its user, tenant or client
            is disabled; the error is the same for all.
    """
    if presented.claims is not None:
        return _authenticate_jwt(reading, presented.claims)
    kind, token = presented.kind, presented.token
    statement = _STATEMENTS[kind]
    prefix = None
    if kind is CredentialKind.API_KEY:
        prefix = tokens.api_key_prefix(token, reading.limits.api_key_brand)
    # One query for each root, and not IN: there is a second root only after a rotation. The earlier
    # digests are then tried again, since the row may have been rewritten under them in between.
    digests = reading.keys.digests(BY_KIND[kind].purpose, token)
    idle = idle_since(reading.limits, reading.now)
    for digest in (*digests, *digests[:-1]):
        parameters = {"key": prefix or digest, "now": reading.now, "idle_since": idle}
        for row in reading.rows(statement, parameters):
            if hmac.compare_digest(digest, row[_WIDTH + 2]):
                credential_id = row[_WIDTH]
                if digest != digests[0]:
                    stale = StaleDigest(kind, credential_id, digest, digests[0])
                    reading.observed.append(stale)
                session_id = authentication = None
                if kind is CredentialKind.SESSION:
                    session_id = credential_id
                    authenticated_at, amr = row[_WIDTH + 3 :]
                    # As its `_make` does, without a Python call: this runs at each request.
                    authentication = tuple.__new__(
                        Authentication, (authenticated_at, tuple(amr.split(" ")))
                    )
                granted = rights(kind, row[_WIDTH + 1] or ())
                return Principal(
                    UserView._make(row[:_WIDTH]),
                    Credential(kind, credential_id, granted, session_id, authentication),
                )
    raise InvalidToken


def _authenticate_jwt(reading: Reading, claims: Claims) -> Principal:
    """Return the user of a JWT with a valid signature, unless it was revoked or ended since."""
    rows = reading.rows(
        _JWT,
        {
            "key": claims.session_id,
            "now": reading.now,
            "idle_since": idle_since(reading.limits, reading.now),
            "epoch": claims.epoch,
            "jti": claims.jti,
            "client_id": claims.client_id,
        },
    )
    if not rows:
        raise InvalidToken
    row = rows[0]
    user = UserView._make(row[:_WIDTH])
    if (user.user_id, user.tenant_id) != (claims.subject, claims.tenant_id):
        raise InvalidToken
    jwt_rights = rights(CredentialKind.JWT, claims.scopes)
    # Of the claims: a token that was stolen must gain nothing when its owner authenticates again.
    authentication = Authentication(claims.authenticated_at, claims.amr)
    credential = Credential(
        CredentialKind.JWT, claims.jti, jwt_rights, claims.session_id, authentication
    )
    return Principal(user, credential)


#: The kinds whose last use is recorded. They are also those whose stale digests are replaced: an
#: access token is not among them, since key rotation can read it and store it anew.
RECORDED_KINDS = frozenset(kind for kind, type_ in BY_KIND.items() if type_.has("last_used_at"))


def write_uses(
    session: AccountSession, uses: Mapping[tuple[CredentialKind, str], datetime]
) -> None:
    """Write when each credential, by its kind and id, was last used.

    A session that was idle for too long stays idle: see `idle_since`.
    """
    for kind, type_ in BY_KIND.items():
        # In one order: two replicas that lock the same rows would otherwise wait for each other.
        rows: list[dict[str, Any]] = [
            {"credential_id": credential_id, "used_at": used_at}
            for (used_kind, credential_id), used_at in sorted(uses.items())
            if used_kind is kind
        ]
        if not rows:
            continue
        last_used_at = type_.column("last_used_at")
        statement = update(type_.table).where(
            type_.column(type_.id) == bindparam("credential_id"),
            # Another replica may have seen a later use, and have written it sooner.
            last_used_at.is_(None) | (last_used_at < bindparam("used_at")),
        )
        if kind is CredentialKind.SESSION:
            statement = statement.where(used_after(bindparam("idle_since")))
            for row in rows:
                row["idle_since"] = idle_since(session.limits, row["used_at"], delays=1)
        session.core.execute(statement.values(last_used_at=bindparam("used_at")), rows)


def replace_digests(session: AccountSession, stale_digests: Iterable[StaleDigest]) -> None:
    """Store credentials under the present root secret, unless they were replaced since."""
    for stale in stale_digests:
        type_ = BY_KIND[stale.kind]
        session.core.execute(
            update(type_.table)
            .where(type_.column(type_.id) == stale.id, type_.column(type_.digest) == stale.before)
            .values({type_.digest: stale.after, "key_id": session.keys.key_id})
        )
