"""Data to try the service with: people in two tenants, and one credential of every kind."""

import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple, get_args

from sqlmodel import col, select

from accounts.crypto.password_hashing import hash_password
from accounts.errors import TokenUnreadable, WeakPassword
from accounts.flows.administration import clients, tenants
from accounts.flows.administration.users import disable_user
from accounts.flows.oauth import token_exchange
from accounts.flows.sign_in import sessions
from accounts.flows.tokens import api_keys, personal_access_tokens
from accounts.limits import Limits
from accounts.services import access_tokens, users
from accounts.services.authentication import authenticate
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.services.principal import CredentialKind, Presented
from accounts.services.recovery_address import mark_verified
from accounts.services.signing_keys import ensure_signing_key, load_key_set
from accounts.services.user_views import UserView, find_user_view
from accounts.values.password_strength import validate
from models import Client, PasswordRecord, Tenant, User, wire
from oneself.database import Database

__all__ = ["Account", "make_demo"]

#: What every credential that is made here is called, and so what the next run revokes.
_LABEL = "demo"

#: What there is to know of one person, by name, as `python -m oneself demo --json` prints it.
Account = dict[str, str]


class _Part(NamedTuple):
    email: str
    name: str
    tenant_name: str
    role: str = "member"


_ALICE = _Part("alice.chen@example.com", "Alice Chen", "Acme Corp", "owner")
_BRUNO = _Part("bruno.keller@example.com", "Bruno Keller", "Globex", "owner")
_DORA = _Part("dora.lindt@example.com", "Dora Lindt", "Acme Corp")
_EMIL = _Part("emil.novak@example.com", "Emil Novak", "Acme Corp")
_ACME = (_ALICE, _DORA, _EMIL)


def make_demo(database: Database) -> dict[str, Account]:
    """Find or make the people of the demo, and give them new passwords and new credentials.

    Those of an earlier run are revoked. All of it is one transaction, after the hashes.

    Raises:
        LimitReached: One of them has made as many keys or tokens as one may have.
    """
    with database.transaction(writing=False) as session:
        keys, limits = session.keys, session.limits
    passwords = {part: _new_password(part, limits) for part in (_ALICE, _BRUNO, _EMIL)}
    records = {
        part: hash_password(password, keys, limits.password_cost)
        for part, password in passwords.items()
    }
    with database.transaction(writing=True) as session:
        ensure_signing_key(session)
    with database.transaction(writing=True) as session:
        acme = _find_or_open_tenant(session, _ACME)
        globex = _find_or_open_tenant(session, (_BRUNO,))
        alice, dora, emil = (
            _find_or_open_user(session, acme, part, records.get(part)) for part in _ACME
        )
        bruno = _find_or_open_user(session, globex, _BRUNO, records[_BRUNO])
        disable_user(session, emil)
        return {
            "base": _owner(session, acme, alice, passwords[_ALICE]),
            "other_tenant": _owner(session, globex, bruno, passwords[_BRUNO]),
            "sso_user": _logged_in(session, acme, dora),
            "disabled_user": {"email": emil.email, "password": passwords[_EMIL]},
        }


def _new_password(part: _Part, limits: Limits) -> str:
    while True:
        entered = secrets.token_urlsafe(limits.password_min_length + 10)
        with suppress(WeakPassword):  # a random text can lack a digit
            return validate(entered, limits=limits, own_words=part)


def _find_or_open_tenant(session: AccountSession, parts: Iterable[_Part]) -> Tenant:
    """The tenant that the first of these people is in, or a new one.

    Not one of this name: an organisation of real people can be called so too.
    """
    for part in parts:
        user = users.find_claimant(session, part.email)
        if user is not None:
            tenant = tenants.find_tenant(session, user.tenant_id)
            tenant.disabled_at = None
            return tenant
    return users.open_tenant(session, part.tenant_name)


def _find_or_open_user(
    session: AccountSession, tenant: Tenant, part: _Part, record: str | None
) -> User:
    provider = "local" if record else "oidc"
    user = users.find_claimant(session, part.email)
    if user is None:
        user = users.open_user(
            session,
            tenant,
            email=part.email,
            display_name=part.name,
            record=record,
            provider=provider,
            roles=(part.role,),
        )
    else:
        # Whoever tried the service may have moved or disabled them, or changed their address.
        user.tenant_id, user.provider, user.disabled_at = tenant.id, provider, None
        user.email = user.email_canonical = part.email
        if record is not None:
            session.merge(PasswordRecord(user_id=user.id, record=record, changed_at=session.now))
    mark_verified(user, session.now)
    session.flush()  # what follows reads with statements of its own
    return user


def _logged_in(session: AccountSession, tenant: Tenant, user: User) -> Account:
    person = find_user_view(session, user.id)
    for row in sessions.list_sessions(session, user.id):
        if row.user_agent == _LABEL:
            sessions.revoke_session(session, person, row.id)
    opened = sessions.open_session(session, user.id, user_agent=_LABEL)
    return {
        "tenant_id": tenant.id,
        "tenant_uuid": tenant.uuid,
        "user_id": user.id,
        "email": user.email,
        "session_token": opened.token,
    }


def _owner(session: AccountSession, tenant: Tenant, user: User, password: str) -> Account:
    logged_in = _logged_in(session, tenant, user)
    principal = authenticate(session, Presented(CredentialKind.SESSION, logged_in["session_token"]))
    client, client_secret = _client(session, tenant)
    for key in api_keys.list_api_keys(session, user.id):
        if key.name == _LABEL:
            api_keys.revoke_api_key(session, principal.user, key.id)
    for token in personal_access_tokens.list_pats(session, user.id):
        if token.name == _LABEL:
            personal_access_tokens.revoke_pat(session, principal.user, token.id)
    _, api_key = api_keys.create_api_key(
        session,
        principal,
        name=_LABEL,
        scopes=[scope for scope in get_args(wire.ApiKeyScope) if scope in SESSION_RIGHTS],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    _, pat = personal_access_tokens.create_pat(
        session,
        principal,
        name=_LABEL,
        scopes=sorted(SESSION_RIGHTS),
        expires_at=session.now + timedelta(days=90),
        client_id=client.id,
        client_secret=client_secret,
    )
    issued = token_exchange.exchange_session(
        session,
        load_key_set(session),
        client,
        subject_token=logged_in["session_token"],
        scope=None,
        audience=None,
    )
    return {
        **logged_in,
        "password": password,
        "api_key": api_key,
        "access_token": _access_token(session, principal.user),
        "pat": pat,
        "client_id": client.id,
        "client_secret": client_secret,
        "jwt": issued.access_token,
        "refresh_token": issued.refresh_token,
    }


def _access_token(session: AccountSession, person: UserView) -> str:
    try:
        return access_tokens.reveal_access_token(session, person)
    except TokenUnreadable:
        return access_tokens.regenerate_access_token(session, person)


def _client(session: AccountSession, tenant: Tenant) -> tuple[Client, str]:
    """The tenant's demo client with a new secret: clients cannot be revoked, and would pile up."""
    client = session.exec(
        select(Client).where(col(Client.tenant_id) == tenant.id, col(Client.name) == _LABEL)
    ).first()
    if client is None:
        client, _ = clients.add_client(session, tenant, name=_LABEL, scopes=SESSION_RIGHTS)
    secret = clients.renew_client_secret(session, client)
    session.flush()
    return client, secret
