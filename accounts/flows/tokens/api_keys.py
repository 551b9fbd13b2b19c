"""API keys: made, listed, revoked."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, select
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, LimitReached, ScopeNotHeld
from accounts.services.credentials import API_KEY, is_live, revoke
from accounts.services.database import AccountSession, columns_of, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.notifications import post_notification
from accounts.services.outbox import MessageKind
from accounts.services.principal import CredentialKind, Principal
from accounts.services.user_views import UserView
from accounts.values import names
from accounts.values.identifiers import new_id
from models import ApiKey

__all__ = ["ListedApiKey", "create_api_key", "list_api_keys", "revoke_api_key"]


class ListedApiKey(NamedTuple):
    """A live API key, as its owner sees it."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    dataset_access_mode: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


_LIVE = (
    select(*columns_of(ApiKey, ListedApiKey))
    .where(col(ApiKey.user_id) == bindparam("user_id"), is_live(ApiKey, bindparam("now")))
    .order_by(col(ApiKey.created_at).desc(), col(ApiKey.id))
)


def create_api_key(
    session: AccountSession,
    principal: Principal,
    *,
    name: str,
    scopes: Iterable[str],
    dataset_access_mode: str,
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Make an API key; the second of the pair is the key itself, known here and never again.

    A key made with another key is narrower: it has scopes of that key only, and expires no later,
    so that a thief with one key gains no right by it, and no time beyond the end of that key
    (TK-11). It lives on if that key is revoked: whoever revokes one looks at the list.

    Raises:
        InvalidRequest: The name or the expiry breaks a rule.
        ScopeNotHeld: The key that makes it lacks a scope, or expires sooner.
        LimitReached: The user has as many keys as one may have.
    """
    latest = session.now + session.limits.api_key_lifetime
    if expires_at is not None and not session.now < expires_at <= latest:
        days = session.limits.api_key_lifetime.days
        raise InvalidRequest.of("expires_at", f"must be in the future and at most {days} days away")
    lock_account(session, principal.user.user_id)
    if principal.credential.kind is CredentialKind.API_KEY:
        maker = session.get_one(ApiKey, principal.credential.id)
        latest = min(latest, maker.expires_at)
        if not set(scopes) <= set(maker.scopes) or (expires_at or latest) > latest:
            raise ScopeNotHeld
    if len(list_api_keys(session, principal.user.user_id)) >= session.limits.max_api_keys:
        raise LimitReached
    key, prefix = tokens.mint_api_key(session.limits.api_key_brand)
    made = ApiKey(
        id=new_id("key_"),
        user_id=principal.user.user_id,
        name=names.clean_name(name, "name"),
        prefix=prefix,
        key_digest=session.keys.digest(Purpose.API_KEY, key),
        key_id=session.keys.key_id,
        scopes=list(scopes),
        dataset_access_mode=dataset_access_mode,
        created_at=session.now,
        expires_at=expires_at or latest,
    )
    session.add(made)
    record_event(
        session,
        EventKind.TOKEN_CREATED,
        principal.user,
        credential=API_KEY.name,
        credential_id=made.id,
    )
    post_notification(session, MessageKind.API_KEY_CREATED, principal.user, name=made.name)
    return made, key


def list_api_keys(session: AccountSession, user_id: str) -> Sequence[ListedApiKey]:
    """The live API keys of a user, newest first."""
    found = session.rows(_LIVE, {"user_id": user_id, "now": session.now})
    return [ListedApiKey._make(row) for row in found]


def revoke_api_key(session: AccountSession, user: UserView, api_key_id: str) -> None:
    """Revoke one of the person's API keys.

    Raises:
        NotFound: The person has no live key of this id.
    """
    revoke(session, user, API_KEY, api_key_id)
