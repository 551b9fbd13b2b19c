"""Personal access tokens: creating, finding, listing and revoking."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, LimitReached, NotFound, ScopeNotHeld
from accounts.flows.tokens.token_lists import ACTIVE, TokenFilter, find_tokens
from accounts.services import clients
from accounts.services.clients import ClientCredentials
from accounts.services.credentials import PAT, record_revocations, revoke, select_live
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.mail.outbox import MessageKind, post_notification
from accounts.services.principal import Principal
from accounts.services.user_views import UserView
from accounts.values import names
from accounts.values.identifiers import new_uuid
from models import PersonalAccessToken


class ListedPat(NamedTuple):
    """A live token, as its owner sees it."""

    id: str
    name: str
    scopes: list[str]
    client_id: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


class PatLimits(NamedTuple):
    """The largest and the present number of tokens, and the latest expiry of a new one."""

    maximum: int
    active: int
    latest_expiry: datetime


_ALL_LIVE = select_live(PAT, ListedPat)
#: A replaced token is not listed during its grace, and does not count; it can be found by its id.
_LIVE = _ALL_LIVE.where(col(PersonalAccessToken.rotated_at).is_(None))
_ONE = _ALL_LIVE.where(col(PersonalAccessToken.id) == bindparam("id"))


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
    """Create a token; returns its row and the token itself, which cannot be read again.

    Raises:
        InvalidRequest: The name or the expiry breaks a rule.
        TooManyAttempts: The client or the source has failed too often.
        InvalidClient: The user's tenant has no client with this id and secret.
        ScopeNotHeld: The user or the client lacks a scope.
        LimitReached: The user has the largest number of tokens.
    """
    if not session.now < expires_at <= latest_expiry(session.now):
        raise InvalidRequest.of("expires_at", "must be in the future and at most one year away")
    lock_account(session, principal.user.user_id)
    client = clients.authenticate_client(
        session, ClientCredentials(client_id, client_secret), tenant_id=principal.user.tenant_id
    )
    if not set(scopes) <= principal.credential.rights & set(client.scopes):
        raise ScopeNotHeld
    if len(list_pats(session, principal.user.user_id)) >= session.limits.max_pats:
        raise LimitReached
    token = tokens.mint(tokens.PAT)
    pat = PersonalAccessToken(
        id=new_uuid(),
        user_id=principal.user.user_id,
        client_id=client.id,
        name=names.normalize_name(name, "name"),
        token_digest=session.keys.digest(Purpose.PAT, token),
        key_id=session.keys.key_id,
        scopes=list(scopes),
        created_at=session.now,
        expires_at=expires_at,
    )
    session.add(pat)
    record_event(
        session, EventKind.TOKEN_CREATED, principal.user, credential=PAT.name, credential_id=pat.id
    )
    post_notification(session, MessageKind.PAT_CREATED, principal.user, name=pat.name)
    return pat, token


def latest_expiry(start: datetime) -> datetime:
    """Return the same day and time a year later, and 28 February for the 29th (TK-13)."""
    try:
        return start.replace(year=start.year + 1)
    except ValueError:
        return start.replace(year=start.year + 1, day=28)


def find_pat_limits(session: AccountSession, user_id: str) -> PatLimits:
    """Return the limits of new tokens, so that programs can read them before a refusal."""
    active = len(list_pats(session, user_id))
    return PatLimits(session.limits.max_pats, active, latest_expiry(session.now))


def list_pats(
    session: AccountSession, user_id: str, selection: TokenFilter = ACTIVE
) -> Sequence[ListedPat]:
    """List the tokens of a user, newest first; the live ones by default."""
    if selection != ACTIVE:
        return find_tokens(session, PAT, ListedPat, user_id, selection)
    rows = session.rows(_LIVE, {"user_id": user_id, "now": session.now})
    return [ListedPat._make(row) for row in rows]


def find_pat(session: AccountSession, user: UserView, pat_id: str) -> ListedPat:
    """Return one of the user's live tokens.

    Raises:
        NotFound: The user has no live token of this id.
    """
    key = {"user_id": user.user_id, "now": session.now, "id": pat_id.lower()}
    rows = session.rows(_ONE, key)
    if not rows:
        raise NotFound
    return ListedPat._make(rows[0])


def revoke_pat(session: AccountSession, user: UserView, pat_id: str) -> None:
    """Revoke one of the user's tokens, with those that it has replaced or that have replaced it.

    The user may know a token by an id that has just been replaced: what replaced it ends as well.

    Raises:
        NotFound: The user has no live token of this id, and none that has replaced it.
    """
    lock_account(session, user.user_id)
    pat_id = pat_id.lower()
    row = session.get(PersonalAccessToken, pat_id)
    family_id = None if row is None or row.revoked_at is not None else row.family_id
    if family_id is None:
        revoke(session, user, PAT, pat_id)
    elif not end_family(session, user, family_id):
        raise NotFound


def end_family(session: AccountSession, user: UserView, family_id: str) -> bool:
    """Revoke every token of a family; returns False if none was live.

    Expired ones are revoked too, so that another use of them is not looked into again.
    """
    pat = PersonalAccessToken
    revoked = session.core.execute(
        update(pat)
        .where(
            col(pat.family_id) == family_id,
            col(pat.user_id) == user.user_id,
            col(pat.revoked_at).is_(None),
        )
        .values(revoked_at=session.now)
        .returning(col(pat.id), col(pat.expires_at) > session.now)
    )
    ended = [id_ for id_, was_live in revoked if was_live]
    record_revocations(session, user, PAT, ended)
    return bool(ended)
