"""API keys: creating, listing and revoking."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, LimitReached, NotFound, ScopeNotHeld
from accounts.flows.tokens.token_lists import ACTIVE, TokenFilter, find_tokens
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


class ApiKeyLimits(NamedTuple):
    """The largest and the present number of keys, and the latest expiry of a new one."""

    maximum: int
    active: int
    latest_expiry: datetime


_LIVE = select_live(API_KEY, ListedApiKey)
_ONE = _LIVE.where(col(ApiKey.id) == bindparam("id"))


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


def find_api_key_limits(session: AccountSession, principal: Principal) -> ApiKeyLimits:
    """Return the limits of new keys, so that programs can read them before a refusal."""
    latest = session.now + session.limits.api_key_lifetime
    if principal.credential.kind is CredentialKind.API_KEY:
        latest = min(latest, find_own_api_key(session, principal).expires_at)
    active = len(list_api_keys(session, principal.user.user_id))
    return ApiKeyLimits(session.limits.max_api_keys, active, latest)


def list_api_keys(
    session: AccountSession, user_id: str, selection: TokenFilter = ACTIVE
) -> Sequence[ListedApiKey]:
    """List the API keys of a user, newest first; the live ones by default."""
    if selection != ACTIVE:
        return find_tokens(session, API_KEY, ListedApiKey, user_id, selection)
    rows = session.rows(_LIVE, {"user_id": user_id, "now": session.now})
    return [ListedApiKey._make(row) for row in rows]


def find_own_api_key(session: AccountSession, principal: Principal) -> ListedApiKey:
    """Return the key that authenticates the request.

    Raises:
        NotFound: It has ended since.
    """
    key = {"user_id": principal.user.user_id, "now": session.now, "id": principal.credential.id}
    rows = session.rows(_ONE, key)
    if not rows:
        raise NotFound
    return ListedApiKey._make(rows[0])


def revoke_api_key(session: AccountSession, user: UserView, api_key_id: str) -> None:
    """Revoke one of the user's API keys.

    Raises:
        NotFound: The user has no live key of this id.
    """
    revoke(session, user, API_KEY, api_key_id)
