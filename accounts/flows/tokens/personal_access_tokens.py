"""Personal access tokens: made, found, listed, revoked."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, LimitReached, NotFound, ScopeNotHeld
from accounts.services import clients
from accounts.services.clients import ClientCredentials
from accounts.services.credentials import PAT, is_live, revoke
from accounts.services.database import AccountSession, columns_of, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.notifications import post_notification
from accounts.services.outbox import MessageKind
from accounts.services.principal import Principal
from accounts.services.user_views import UserView
from accounts.values import names
from accounts.values.identifiers import new_uuid
from models import PersonalAccessToken

__all__ = ["ListedPat", "create_pat", "find_pat", "list_pats", "revoke_pat"]


class ListedPat(NamedTuple):
    """An active token, as its owner sees it."""

    id: str
    name: str
    scopes: list[str]
    client_id: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


_ACTIVE = (
    select(*columns_of(PersonalAccessToken, ListedPat))
    .where(
        col(PersonalAccessToken.user_id) == bindparam("user_id"),
        is_live(PersonalAccessToken, bindparam("now")),
    )
    .order_by(col(PersonalAccessToken.created_at).desc(), col(PersonalAccessToken.id))
)
_ONE = _ACTIVE.where(col(PersonalAccessToken.id) == bindparam("id"))


def create_pat(
    session: AccountSession,
    principal: Principal,
    *,
    name: str,
    scopes: Iterable[str],
    expires_at: datetime,
    client_id: str,
    client_secret: str,
) -> tuple[PersonalAccessToken, str]:
    """Make a token; the second of the pair is the token itself, known here and never again.

    Raises:
        InvalidRequest: The name or the expiry breaks a rule.
        TooManyAttempts: The client or the source has failed too often.
        InvalidClient: The user's tenant has no client of this id and secret.
        ScopeNotHeld: The user or the client lacks a scope.
        LimitReached: The user has as many tokens as one may have.
    """
    if not session.now < expires_at <= _a_year_after(session.now):
        raise InvalidRequest.of("expires_at", "must be in the future and at most one year away")
    lock_account(session, principal.user.user_id)
    client = clients.authenticate_client(
        session,
        ClientCredentials(client_id, client_secret),
        tenant_id=principal.user.tenant_id,
    )
    wanted = set(scopes)
    if not wanted <= principal.credential.rights or not wanted <= set(client.scopes):
        raise ScopeNotHeld
    if len(list_pats(session, principal.user.user_id)) >= session.limits.max_pats:
        raise LimitReached
    token = tokens.mint(tokens.PAT)
    made = PersonalAccessToken(
        id=new_uuid(),
        user_id=principal.user.user_id,
        client_id=client.id,
        name=names.clean_name(name, "name"),
        token_digest=session.keys.digest(Purpose.PAT, token),
        key_id=session.keys.key_id,
        scopes=list(scopes),
        created_at=session.now,
        expires_at=expires_at,
    )
    session.add(made)
    record_event(
        session, EventKind.TOKEN_CREATED, principal.user, credential=PAT.name, credential_id=made.id
    )
    post_notification(session, MessageKind.PAT_CREATED, principal.user, name=made.name)
    return made, token


def _a_year_after(moment: datetime) -> datetime:
    """The same time on the same day of the next year, or on 28 February for the 29th (TK-13)."""
    try:
        return moment.replace(year=moment.year + 1)
    except ValueError:
        return moment.replace(year=moment.year + 1, day=28)


def list_pats(session: AccountSession, user_id: str) -> Sequence[ListedPat]:
    """The active tokens of a user, newest first."""
    found = session.rows(_ACTIVE, {"user_id": user_id, "now": session.now})
    return [ListedPat._make(row) for row in found]


def find_pat(session: AccountSession, user: UserView, pat_id: str) -> ListedPat:
    """Find one of the person's active tokens.

    Raises:
        NotFound: The person has no active token of this id.
    """
    key = {"user_id": user.user_id, "now": session.now, "id": pat_id.lower()}
    found = session.rows(_ONE, key)
    if not found:
        raise NotFound
    return ListedPat._make(found[0])


def revoke_pat(session: AccountSession, user: UserView, pat_id: str) -> None:
    """Revoke one of the person's tokens.

    Raises:
        NotFound: The person has no active token of this id.
    """
    revoke(session, user, PAT, pat_id.lower())
