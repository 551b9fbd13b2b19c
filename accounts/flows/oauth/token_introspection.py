"""Token introspection and revocation by clients (RFC 7662, RFC 7009)."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims, KeySet, looks_like_jwt
from accounts.errors import InvalidToken
from accounts.flows.oauth.client_methods import require_secret
from accounts.flows.oauth.refresh_tokens import find_refresh_token, revoke_family
from accounts.services.authentication import authenticate
from accounts.services.credentials import PAT, REFRESH_TOKEN, revoke
from accounts.services.database import AccountSession
from accounts.services.events import EventKind, record_event
from accounts.services.principal import CredentialKind, Presented, Principal
from accounts.services.user_views import find_user_view
from accounts.values.clock_skew import KEEP_AFTER_EXPIRY
from models import Client, PersonalAccessToken, RevokedJwt


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """The introspection result of a live token, with the present state of its user."""

    client_id: str
    subject: str
    email_verified: bool
    scopes: frozenset[str]
    issued_at: datetime
    expires_at: datetime
    audience: str | None = None
    jti: str | None = None
    bearer: bool = True


def introspect_token(
    session: AccountSession, key_set: KeySet, client: Client, token: str
) -> ActiveToken | None:
    """Introspect a live token of the client's tenant; returns None for any other token.

    It covers the tokens that are issued through clients: JWTs, refresh tokens and personal access
    tokens. A client learns no more about a token than it could by using it.

    Raises:
        InvalidClient: The client is public.
    """
    require_secret(client)
    if looks_like_jwt(token):
        return _active_jwt(session, key_set, client, token)
    if tokens.is_well_formed(token, tokens.PAT):
        return _active_pat(session, client, token)
    row = find_refresh_token(session, token)
    if row is None:
        return None
    user = find_user_view(session, row.user_id)
    if user.tenant_id != client.tenant_id:
        return None
    return ActiveToken(
        client_id=row.client_id,
        subject=row.user_id,
        email_verified=user.email_verified,
        scopes=frozenset(row.scopes),
        issued_at=row.created_at,
        expires_at=row.expires_at,
        audience=row.audience,
        bearer=False,
    )


def revoke_token(session: AccountSession, key_set: KeySet, client: Client, token: str) -> None:
    """Revoke a token that was issued through this client; with a refresh token its whole family.

    Any other token is treated as unknown, which is not an error (RFC 7009 section 2.2): it is of no
    use to this client, as requested.
    """
    if looks_like_jwt(token):
        claims = _claims(session, key_set, token)
        if claims is None or claims.client_id != client.id:
            return
        session.lock(f"jwt {claims.jti}")
        if session.get(RevokedJwt, claims.jti) is not None:
            return  # a repeated revocation records no event
        session.add(RevokedJwt(jti=claims.jti, expires_at=claims.expires_at))
        user_id, credential = claims.subject, "jwt"
    elif tokens.is_well_formed(token, tokens.PAT):
        principal = _principal(session, Presented(CredentialKind.PAT, token))
        if principal is None:
            return
        pat = session.get_one(PersonalAccessToken, principal.credential.id)
        if pat.client_id == client.id:
            revoke(session, principal.user, PAT, pat.id)
        return
    else:
        row = find_refresh_token(session, token)
        if row is None or row.client_id != client.id:
            return
        revoke_family(session, row.family_id)
        user_id, credential = row.user_id, REFRESH_TOKEN.name
    user = find_user_view(session, user_id)
    record_event(session, EventKind.TOKEN_REVOKED, user, credential=credential)


def delete_expired_jwts(session: AccountSession) -> int:
    """Delete the records of revoked JWTs that expired a day ago; returns how many.

    Not at once: if the clock is ahead for some hours and then corrected, those JWTs would be valid
    again.
    """
    return session.core.execute(
        delete(RevokedJwt).where(col(RevokedJwt.expires_at) <= session.now - KEEP_AFTER_EXPIRY)
    ).rowcount


def _active_jwt(
    session: AccountSession, key_set: KeySet, client: Client, token: str
) -> ActiveToken | None:
    claims = _claims(session, key_set, token)
    principal = claims and _principal(session, Presented(CredentialKind.JWT, token, claims))
    if claims is None or principal is None or claims.tenant_id != client.tenant_id:
        return None
    return ActiveToken(
        client_id=claims.client_id,
        subject=claims.subject,
        email_verified=principal.user.email_verified,
        scopes=principal.credential.rights,
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
        audience=claims.audience,
        jti=claims.jti,
    )


def _active_pat(session: AccountSession, client: Client, token: str) -> ActiveToken | None:
    principal = _principal(session, Presented(CredentialKind.PAT, token))
    if principal is None or principal.user.tenant_id != client.tenant_id:
        return None
    pat = session.get_one(PersonalAccessToken, principal.credential.id)
    return ActiveToken(
        client_id=pat.client_id,
        subject=pat.user_id,
        email_verified=principal.user.email_verified,
        scopes=principal.credential.rights,
        issued_at=pat.created_at,
        expires_at=pat.expires_at,
    )


def _claims(session: AccountSession, key_set: KeySet, token: str) -> Claims | None:
    with suppress(InvalidToken):
        return key_set.verify(token, issuer=session.limits.issuer, audience=None, now=session.now)
    return None


def _principal(session: AccountSession, presented: Presented) -> Principal | None:
    with suppress(InvalidToken):
        return authenticate(session, presented)
    return None
