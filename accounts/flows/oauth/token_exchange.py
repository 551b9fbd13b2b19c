"""The token endpoint: exchanging a session or a refresh token for a short-lived JWT."""

from contextlib import suppress
from typing import NamedTuple

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims, KeySet
from accounts.errors import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    InvalidToken,
    UnsupportedGrantType,
)
from accounts.flows.oauth.refresh_tokens import (
    authentication_of,
    begin_family,
    rotate_refresh_token,
)
from accounts.services.authentication import authenticate, write_uses
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.principal import Authentication, CredentialKind, Presented
from accounts.services.throttling import Writer, consume_write
from accounts.values.authentication_methods import PASSWORD, level_of
from accounts.values.identifiers import new_uuid
from models import Client, LoginSession, User

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_REFRESH = "refresh_token"

#: The supported grant types (RFC 8693 section 2.1, RFC 6749 section 6).
GRANT_TYPES = (_EXCHANGE, _REFRESH)


class IssuedToken(NamedTuple):
    """The tokens for a client. `seconds` is the lifetime of the access token."""

    access_token: str
    seconds: int
    scopes: frozenset[str]
    refresh_token: str


def issue_token(
    session: AccountSession,
    key_set: KeySet,
    client: Client,
    *,
    grant_type: str,
    subject_token: str | None,
    subject_token_type: str | None,
    refresh_token: str | None,
    scope: str | None,
    audience: str | None,
    resource: str | None,
    actor_token: str | None,
) -> IssuedToken:
    """Issue tokens for a token request (RFC 6749 section 3.2).

    `audience` and `resource` are two names for the same thing here: the audience of the JWT.

    Raises:
        TooManyAttempts: Clients have been issued too many tokens for the user.
        UnsupportedGrantType: The grant type is not supported.
        InvalidRequest: A required field is missing, the subject token is invalid, or there is an
            actor token.
        InvalidGrant: The refresh token is invalid.
        InvalidScope, InvalidTarget: The scopes or the audience cannot be granted.
        Forbidden: A policy forbids it to the user of the subject or refresh token.
    """
    if actor_token is not None:
        raise InvalidRequest.of("actor_token", "is not supported")
    if None not in {audience, resource} and audience != resource:
        raise InvalidTarget  # a JWT has one audience
    audience = audience or resource
    if grant_type == _REFRESH:
        token = _require(refresh_token, "refresh_token")
        return exchange_refresh_token(
            session, key_set, client, token=token, scope=scope, audience=audience
        )
    if grant_type == _EXCHANGE:
        subject = _require(subject_token, "subject_token")
        _require(subject_token_type, "subject_token_type")
        return exchange_session(
            session, key_set, client, subject_token=subject, scope=scope, audience=audience
        )
    raise UnsupportedGrantType


def _require(value: str | None, name: str) -> str:
    if value is None:
        raise InvalidRequest.of(name, "is required")
    return value


def exchange_session(
    session: AccountSession,
    key_set: KeySet,
    client: Client,
    *,
    subject_token: str,
    scope: str | None,
    audience: str | None,
) -> IssuedToken:
    """Exchange a session of the client's tenant for a JWT and a first refresh token (RFC 8693).

    Only sessions are accepted: a credential with fewer rights or a fixed end must not be exchanged
    for one with more rights or a later end (TK-11).

    Raises:
        InvalidRequest: The subject token is not a live session of a user of the client's tenant.
        InvalidGrant: The session ends within this second.
        InvalidScope: A scope does not exist, or none of the requested scopes can be granted.
        InvalidTarget: The client may not request tokens for this audience.
    """
    principal = None
    if tokens.is_well_formed(subject_token, tokens.SESSION):
        with suppress(InvalidToken):
            principal = authenticate(session, Presented(CredentialKind.SESSION, subject_token))
    if principal is None or principal.user.tenant_id != client.tenant_id:
        raise InvalidRequest.of("subject_token", "must be a live session of the client's tenant")
    authentication = principal.credential.authentication
    session.authorise_public(principal.user, CredentialKind.SESSION, authentication)
    granted = _grantable(scope, frozenset(client.scopes) & principal.credential.rights)
    target = _target(session, client, audience)
    login = session.get_one(LoginSession, principal.credential.id)
    authentication = authentication or _at_login(login)
    claims = _claims(session, client, login, authentication, scopes=granted, audience=target)
    # In events, this session is the credential of the request.
    session.origin = session.origin._replace(
        credential_kind=CredentialKind.SESSION.value, credential_id=login.id
    )
    _record_use(session, login)
    next_token = begin_family(
        session, login, client, authentication, scopes=granted, audience=target
    )
    consume_write(session, Writer.CLIENT, principal.user.user_id)
    record_event(
        session, EventKind.TOKEN_CREATED, principal.user, credential="jwt", client_id=client.id
    )
    return _sign(session, key_set, claims, next_token)


def exchange_refresh_token(
    session: AccountSession,
    key_set: KeySet,
    client: Client,
    *,
    token: str,
    scope: str | None,
    audience: str | None,
) -> IssuedToken:
    """Exchange a refresh token for a JWT, of the same or fewer scopes, and the next token.

    Raises:
        InvalidGrant: The token cannot be exchanged; a second use revokes its family.
        InvalidScope: A scope does not exist, or none of the requested scopes can be granted.
        InvalidTarget: The family is for another audience.
    """
    if scope is not None:
        _grantable(scope, SESSION_RIGHTS)  # before the token is used up
    row, next_token = rotate_refresh_token(session, client, token)
    consume_write(session, Writer.CLIENT, row.user_id)
    # The client may have lost scopes since the family began.
    granted = _grantable(scope, frozenset(row.scopes) & frozenset(client.scopes))
    if audience not in {None, row.audience}:
        raise InvalidTarget
    login = session.get_one(LoginSession, row.session_id)
    authentication = authentication_of(row) or _at_login(login)
    claims = _claims(session, client, login, authentication, scopes=granted, audience=row.audience)
    _record_use(session, login)
    return _sign(session, key_set, claims, next_token)


def _at_login(login: LoginSession) -> Authentication:
    """Return the authentication of rows from earlier releases, which do not tell theirs."""
    return Authentication(login.created_at, (PASSWORD,))


def _record_use(session: AccountSession, login: LoginSession) -> None:
    """Record that a session was used, by one of its tokens: it is not idle."""
    write_uses(session, {(CredentialKind.SESSION, login.id): session.now})


def _grantable(scope: str | None, available: frozenset[str]) -> frozenset[str]:
    """Return the requested scopes that can be granted, or all of them if none was requested."""
    requested = available if scope is None else frozenset(scope.split(" "))
    if not requested <= SESSION_RIGHTS or not requested & available:
        raise InvalidScope
    return requested & available


def _target(session: AccountSession, client: Client, audience: str | None) -> str:
    """Return the audience of the JWT: this service, or one that the client is registered for.

    A public client, which any program can impersonate, is limited to its registered audiences.
    """
    allowed = [session.limits.issuer, *client.audiences]
    if client.is_public and client.audiences:
        allowed = client.audiences
    if audience is None:
        return allowed[0]
    if audience not in allowed:
        raise InvalidTarget
    return audience


def _claims(
    session: AccountSession,
    client: Client,
    login: LoginSession,
    authentication: Authentication,
    *,
    scopes: frozenset[str],
    audience: str,
) -> Claims:
    user = session.get_one(User, login.user_id)
    issued_at = session.now.replace(microsecond=0)
    ends_at = login.expires_at.replace(microsecond=0)
    if ends_at <= issued_at:
        raise InvalidGrant  # the last second of the session
    return Claims(
        subject=user.id,
        session_id=login.id,
        client_id=client.id,
        tenant_id=user.tenant_id,
        audience=audience,
        scopes=scopes,
        epoch=user.credential_epoch,
        jti=new_uuid(),
        issued_at=issued_at,
        expires_at=min(issued_at + session.limits.jwt_lifetime, ends_at),
        authenticated_at=authentication.at.replace(microsecond=0),
        amr=authentication.amr,
        acr=level_of(authentication.amr).value,
        # Of the address that profiles show: a claimed one is not verified.
        email_verified=user.email_verified_at is not None and user.claimed_email is None,
    )


def _sign(session: AccountSession, key_set: KeySet, claims: Claims, next_token: str) -> IssuedToken:
    seconds = int((claims.expires_at - claims.issued_at).total_seconds())
    access_token = key_set.sign(claims, issuer=session.limits.issuer)
    return IssuedToken(access_token, seconds, claims.scopes, next_token)
