"""From a credential to the person whom it stands for."""

import hmac
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, exists, null, select
from sqlmodel import SQLModel, col

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidToken
from accounts.services.authorization import rights
from accounts.services.database import Reading
from accounts.services.principal import Credential, CredentialKind, Presented, Principal
from accounts.services.user_views import ENABLED, USER_VIEW_COLUMNS, UserView
from models import (
    AccessToken,
    ApiKey,
    LoginSession,
    PersonalAccessToken,
    RevokedJwt,
    Tenant,
    User,
)

__all__ = ["StoredAnew", "authenticate"]


def _statement(
    table: type[SQLModel], key: Any, *columns: Any, where: Any = True
) -> Select[*tuple[Any, ...]]:
    """One SELECT that reads a live credential with its enabled user in its enabled tenant.

    Built once: building it for each request costs ten times what running it does. What is
    revoked, expired or disabled is judged in it, at every request, since nothing is cached.
    """
    return (
        select(*USER_VIEW_COLUMNS, *columns)
        .select_from(table)
        .join(User, col(User.id) == table.user_id)  # type: ignore[attr-defined] # each has one
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            key == bindparam("key"),
            where,
            ENABLED,
        )
    )


def _live(table: type[LoginSession | ApiKey | PersonalAccessToken]) -> Any:
    return col(table.revoked_at).is_(None) & (col(table.expires_at) > bindparam("now"))


_WIDTH = len(USER_VIEW_COLUMNS)

# Each statement reads, after the person: the credential's id, its scopes, its digest.
_STATEMENTS: dict[CredentialKind, tuple[Purpose, Select[*tuple[Any, ...]]]] = {
    CredentialKind.SESSION: (
        Purpose.SESSION,
        _statement(
            LoginSession,
            col(LoginSession.token_digest),
            col(LoginSession.id),
            null(),
            col(LoginSession.token_digest),
            where=_live(LoginSession),
        ),
    ),
    CredentialKind.ACCESS_TOKEN: (
        Purpose.ACCESS_TOKEN,
        _statement(
            AccessToken,
            col(AccessToken.token_digest),
            col(AccessToken.user_id),
            null(),
            col(AccessToken.token_digest),
        ),
    ),
    CredentialKind.PAT: (
        Purpose.PAT,
        _statement(
            PersonalAccessToken,
            col(PersonalAccessToken.token_digest),
            col(PersonalAccessToken.id),
            col(PersonalAccessToken.scopes),
            col(PersonalAccessToken.token_digest),
            where=_live(PersonalAccessToken),
        ),
    ),
    CredentialKind.API_KEY: (
        Purpose.API_KEY,
        _statement(
            ApiKey,
            col(ApiKey.prefix),
            col(ApiKey.id),
            col(ApiKey.scopes),
            col(ApiKey.key_digest),
            where=_live(ApiKey),
        ),
    ),
}


_JWT = _statement(
    LoginSession,
    col(LoginSession.id),
    where=_live(LoginSession)
    & (col(User.credential_epoch) == bindparam("epoch"))
    & ~exists().where(col(RevokedJwt.jti) == bindparam("jti")),
)


class StoredAnew(NamedTuple):
    """That a credential was found under a former root: its digest as it is, and as it should be."""

    kind: CredentialKind
    id: str
    before: bytes
    after: bytes


def authenticate(reading: Reading, presented: Presented) -> Principal:
    """Find whose credential this is, if it is anybody's and live.

    Raises:
        InvalidToken: Unknown, revoked or expired, or its user or tenant is disabled; all alike.
    """
    if presented.claims is not None:
        return _authenticate_jwt(reading, presented.claims)
    kind, token = presented.kind, presented.token
    purpose, statement = _STATEMENTS[kind]
    prefix = None
    if kind is CredentialKind.API_KEY:
        # Two keys can share a prefix; it narrows the search, and the digest decides (TK-09).
        prefix = tokens.api_key_prefix(token, reading.limits.api_key_brand)
    # One after the other and not by IN: there is a second root only after a rotation. Then the
    # first ones again, since what was not found under them may have been stored anew in between.
    digests = reading.keys.digests(purpose, token)
    for digest in (*digests, *digests[:-1]):
        for row in reading.rows(statement, {"key": prefix or digest, "now": reading.now}):
            if hmac.compare_digest(digest, row[_WIDTH + 2]):
                name = row[_WIDTH]
                present = digests[0]
                if digest != present:
                    reading.observed.append(StoredAnew(kind, name, digest, present))
                return Principal(
                    UserView._make(row[:_WIDTH]),
                    Credential(
                        kind,
                        name,
                        rights(kind, row[_WIDTH + 1] or ()),
                        name if kind is CredentialKind.SESSION else None,
                    ),
                )
    raise InvalidToken


def _authenticate_jwt(reading: Reading, claims: Claims) -> Principal:
    """Find the person of a JWT whose signature is good, in one SELECT with all that can end it."""
    rows = reading.rows(
        _JWT,
        {
            "key": claims.session_id,
            "now": reading.now,
            "epoch": claims.epoch,
            "jti": claims.jti,
        },
    )
    if not rows:
        raise InvalidToken
    row = rows[0]
    user = UserView._make(row[:_WIDTH])
    if (user.user_id, user.tenant_id) != (claims.subject, claims.tenant_id):
        raise InvalidToken
    held = rights(CredentialKind.JWT, claims.scopes)
    return Principal(user, Credential(CredentialKind.JWT, claims.jti, held, claims.session_id))
