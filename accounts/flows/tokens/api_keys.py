"""API keys: creating, listing and revoking."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, LimitReached, ScopeNotHeld
from accounts.services.credentials import API_KEY, revoke, select_live
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.principal import CredentialKind, Principal
from accounts.services.user_views import UserView
from accounts.values import names
from accounts.values.identifiers import new_id
from models import ApiKey


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


_LIVE = select_live(API_KEY, ListedApiKey)


def create_api_key(
    session: AccountSession,
    principal: Principal,
    *,
    name: str,
    scopes: Iterable[str],
    dataset_access_mode: str,
    expires_at: datetime | None,
) -> tuple[ApiKey, str]:
    """Create an API key; returns its row and the key itself, which cannot be read again.

    A key that is created with another key is narrower: its scopes are among those of that key, and
    it expires no later, so that an attacker with a stolen key gains neither rights nor time
    (TK-11). It stays valid if that key is revoked: users who revoke a key should look at the list.

    Raises:
        InvalidRequest: The name or the expiry breaks a rule.
        ScopeNotHeld: The key that authenticates the request lacks a scope, or expires sooner.
        LimitReached: The user has the largest number of keys.
    """
    latest = session.now + session.limits.api_key_lifetime
    if expires_at is not None and not session.now < expires_at <= latest:
        days = session.limits.api_key_lifetime.days
        raise InvalidRequest.of("expires_at", f"must be in the future and at most {days} days away")
    lock_account(session, principal.user.user_id)
    if principal.credential.kind is CredentialKind.API_KEY:
        parent = session.get_one(ApiKey, principal.credential.id)
        latest = min(latest, parent.expires_at)
        if not set(scopes) <= set(parent.scopes) or (expires_at or latest) > latest:
            raise ScopeNotHeld
    if len(list_api_keys(session, principal.user.user_id)) >= session.limits.max_api_keys:
        raise LimitReached
    key, prefix = tokens.mint_api_key(session.limits.api_key_brand)
    api_key = ApiKey(
        id=new_id("key_"),
        user_id=principal.user.user_id,
        name=names.normalize_name(name, "name"),
        prefix=prefix,
        key_digest=session.keys.digest(Purpose.API_KEY, key),
        key_id=session.keys.key_id,
        scopes=list(scopes),
        dataset_access_mode=dataset_access_mode,
        created_at=session.now,
        expires_at=expires_at or latest,
    )
    session.add(api_key)
    record_event(
        session,
        EventKind.TOKEN_CREATED,
        principal.user,
        credential=API_KEY.name,
        credential_id=api_key.id,
    )
    post_notification(session, MessageKind.API_KEY_CREATED, principal.user, name=api_key.name)
    return api_key, key


def list_api_keys(session: AccountSession, user_id: str) -> Sequence[ListedApiKey]:
    """List the live API keys of a user, newest first."""
    rows = session.rows(_LIVE, {"user_id": user_id, "now": session.now})
    return [ListedApiKey._make(row) for row in rows]


def revoke_api_key(session: AccountSession, user: UserView, api_key_id: str) -> None:
    """Revoke one of the user's API keys.

    Raises:
        NotFound: The user has no live key of this id.
    """
    revoke(session, user, API_KEY, api_key_id)
