"""From a credential to the person whom it stands for."""

from typing import Any

from sqlalchemy import Executable, bindparam, null, select
from sqlmodel import SQLModel, col

from accounts import tokens
from accounts.database import AccountSession
from accounts.errors import InvalidToken
from accounts.keyring import Purpose
from accounts.people import PERSON_COLUMNS, Person
from accounts.principal import Credential, CredentialKind, Presented, Principal
from accounts.rights import rights
from models import AccessToken, ApiKey, LoginSession, PersonalAccessToken, Tenant, User

__all__ = ["authenticate"]


def _statement(table: type[SQLModel], key: Any, *columns: Any, where: Any = True) -> Executable:
    """One SELECT that reads a live credential with its enabled user in its enabled tenant.

    Built once: building it for each request costs ten times what running it does. What is
    revoked, expired or disabled is judged in it, at every request, since nothing is cached.
    """
    return (
        select(*PERSON_COLUMNS, *columns)
        .select_from(table)
        .join(User, col(User.id) == table.user_id)  # type: ignore[attr-defined] # each has one
        .join(Tenant, col(Tenant.id) == col(User.tenant_id))
        .where(
            key == bindparam("key"),
            where,
            col(User.disabled_at).is_(None),
            col(Tenant.disabled_at).is_(None),
        )
    )


def _live(table: type[LoginSession | ApiKey | PersonalAccessToken]) -> Any:
    return col(table.revoked_at).is_(None) & (col(table.expires_at) > bindparam("now"))


_WIDTH = len(PERSON_COLUMNS)

# Each statement reads, after the person: the credential's id, its scopes, its digest.
_STATEMENTS: dict[CredentialKind, tuple[Purpose, Executable]] = {
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


def authenticate(session: AccountSession, presented: Presented) -> Principal:
    """Find whose credential this is, if it is anybody's and live.

    Raises:
        InvalidToken: Unknown, revoked or expired, or its user or tenant is disabled; all alike.
    """
    purpose, statement = _STATEMENTS[presented.kind]
    digest = session.keys.digest(purpose, presented.token)
    key: bytes | str | None = digest
    if presented.kind is CredentialKind.API_KEY:
        # Two keys can share a prefix; it narrows the search, and the digest decides (TK-09).
        key = tokens.api_key_prefix(presented.token, session.rules.api_key_brand)
    for row in session.core.execute(statement, {"key": key, "now": session.now}):
        if session.keys.matches(purpose, presented.token, row[_WIDTH + 2]):
            return Principal(
                Person._make(row[:_WIDTH]),
                Credential(
                    presented.kind, row[_WIDTH], rights(presented.kind, row[_WIDTH + 1] or ())
                ),
            )
    raise InvalidToken
