"""Demo data: users in two tenants, with one credential of every kind."""

import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple, get_args

from sqlalchemy import delete
from sqlmodel import col, select

from accounts.crypto.keyring import Purpose
from accounts.crypto.password_hashing import hash_password
from accounts.errors import InvalidToken, TokenUnreadable, WeakPassword
from accounts.flows.administration import clients, tenants
from accounts.flows.administration.users import disable_user
from accounts.flows.oauth import token_exchange
from accounts.flows.sign_in import sessions
from accounts.flows.tokens import api_keys, personal_access_tokens
from accounts.limits import Limits
from accounts.services import access_tokens, users
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.services.principal import CredentialKind, Presented, Principal
from accounts.services.recovery_address import mark_verified
from accounts.services.signing_keys import ensure_signing_key, load_key_set
from accounts.services.user_views import UserView, find_user_view
from accounts.values.password_strength import validate
from models import Client, PasswordRecord, RecoveryCode, Tenant, TotpFactor, User, wire
from oneself.database import Database

#: The name of every credential created here; the next run revokes credentials of this name.
_LABEL = "demo"
_API_KEY_SCOPES = frozenset(get_args(wire.ApiKeyScope)) & SESSION_RIGHTS

#: The ids and credentials of a user, by name, as `python -m oneself demo --json` prints them.
Account = dict[str, str]


class DemoUser(NamedTuple):
    """A user to create, with its tenant and role."""

    email: str
    name: str
    tenant_name: str
    role: str = "member"


_ALICE = DemoUser("alice.chen@example.com", "Alice Chen", "Acme Corp", "owner")
_BRUNO = DemoUser("bruno.keller@example.com", "Bruno Keller", "Globex", "owner")
_DORA = DemoUser("dora.lindt@example.com", "Dora Lindt", "Acme Corp")
_EMIL = DemoUser("emil.novak@example.com", "Emil Novak", "Acme Corp")
_ACME = (_ALICE, _DORA, _EMIL)


def make_demo(
    database: Database, former: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Account]:
    """Find or create the demo users, and give them passwords and credentials.

    The passwords and credentials of `former`, an earlier result, are kept where they still work.
    All others of an earlier run are revoked. Passwords are hashed before the one transaction.

    Raises:
        LimitReached: A demo user already has the maximum number of keys or tokens.
    """
    base, other_tenant, sso_user, disabled_user = (
        (former or {}).get(name, {})
        for name in ("base", "other_tenant", "sso_user", "disabled_user")
    )
    with database.transaction(writing=False) as session:
        keys, limits = session.keys, session.limits
    passwords = {
        demo_user: choose_password(demo_user, account.get("password"), limits)
        for demo_user, account in ((_ALICE, base), (_BRUNO, other_tenant), (_EMIL, disabled_user))
    }
    records = {
        demo_user: hash_password(password, keys, limits)
        for demo_user, password in passwords.items()
    }
    with database.transaction(writing=True) as session:
        ensure_signing_key(session)
    with database.transaction(writing=True) as session:
        acme = find_or_open_tenant(session, _ACME)
        globex = find_or_open_tenant(session, (_BRUNO,))
        alice, dora, emil = (
            find_or_open_user(session, acme, demo_user, records.get(demo_user))
            for demo_user in _ACME
        )
        bruno = find_or_open_user(session, globex, _BRUNO, records[_BRUNO])
        disable_user(session, emil)
        return {
            "base": _owner_account(session, acme, alice, passwords[_ALICE], base),
            "other_tenant": _owner_account(session, globex, bruno, passwords[_BRUNO], other_tenant),
            "sso_user": session_account(session, acme, dora, sso_user),
            "disabled_user": {"email": emil.email, "password": passwords[_EMIL]},
        }


def has_only_real_users(session: AccountSession) -> bool:
    """Return whether the database has users, and none of the demo users among them."""
    demo_users = (*_ACME, _BRUNO)
    return session.exec(select(User.id).limit(1)).first() is not None and not any(
        users.find_holder(session, demo_user.email) for demo_user in demo_users
    )


def choose_password(demo_user: DemoUser, former: str | None, limits: Limits) -> str:
    """Return the former password if it keeps the rules, or a new one."""
    if former is not None:
        with suppress(WeakPassword):  # the rules can have changed
            return validate(former, limits=limits, own_words=demo_user)
    while True:
        password = secrets.token_urlsafe(limits.password_min_length + 10)
        with suppress(WeakPassword):  # random text can lack a digit
            return validate(password, limits=limits, own_words=demo_user)


def find_or_open_tenant(session: AccountSession, demo_users: Iterable[DemoUser]) -> Tenant:
    """Find the tenant of the first of these users that exists, or open a new one.

    Never by name, since a real tenant can have the same name.
    """
    for demo_user in demo_users:
        user = users.find_holder(session, demo_user.email)
        if user is not None:
            tenant = tenants.find_tenant(session, user.tenant_id)
            tenant.disabled_at = None
            return tenant
    return users.open_tenant(session, demo_user.tenant_name)


def find_or_open_user(
    session: AccountSession,
    tenant: Tenant,
    demo_user: DemoUser,
    record: str | None,
    *,
    is_verified: bool = True,
) -> User:
    """Find a user, undo what a trial of the service may have changed, or create it."""
    provider = "local" if record else "oidc"
    user = users.find_holder(session, demo_user.email)
    if user is None:
        user = users.open_user(
            session,
            tenant,
            email=demo_user.email,
            display_name=demo_user.name,
            record=record,
            provider=provider,
            roles=(demo_user.role,),
        )
    else:
        # Undo what a trial of the service may have changed.
        user.tenant_id, user.provider = tenant.id, provider
        user.disabled_at = user.deletion_due_at = None
        for table in (TotpFactor, RecoveryCode):
            session.core.execute(delete(table).where(col(table.user_id) == user.id))
        user.email = user.email_canonical = demo_user.email
        if record is not None:
            session.merge(PasswordRecord(user_id=user.id, record=record, changed_at=session.now))
    if is_verified:
        mark_verified(user, session.now)
    session.flush()  # the views below are read by statements that bypass the session
    return user


def session_account(
    session: AccountSession, tenant: Tenant, user: User, former: Mapping[str, str]
) -> Account:
    """Return the ids of a user with a session, which is kept if it is valid."""
    token = _still_valid(
        session, CredentialKind.SESSION, former.get("session_token"), user.id, SESSION_RIGHTS
    )
    return {
        "tenant_id": tenant.id,
        "tenant_uuid": tenant.uuid,
        "user_id": user.id,
        "email": user.email,
        "session_token": token or _new_session(session, user.id),
    }


def _owner_account(
    session: AccountSession, tenant: Tenant, user: User, password: str, former: Mapping[str, str]
) -> Account:
    account = session_account(session, tenant, user, former)
    principal = authenticate(session, Presented(CredentialKind.SESSION, account["session_token"]))
    client, new_secret = find_or_add_client(session, tenant, former.get("client_secret"))
    secret = new_secret or ""  # of a client that is not public
    api_key = _still_valid(
        session, CredentialKind.API_KEY, former.get("api_key"), user.id, _API_KEY_SCOPES
    )
    pat = _still_valid(session, CredentialKind.PAT, former.get("pat"), user.id, SESSION_RIGHTS)
    issued = token_exchange.exchange_session(
        session,
        load_key_set(session),
        client,
        subject_token=account["session_token"],
        scope=None,
        audience=None,
    )
    return {
        **account,
        "password": password,
        "api_key": api_key or _new_api_key(session, principal),
        "access_token": _access_token(session, principal.user),
        "pat": pat or _new_pat(session, principal, ClientCredentials(client.id, secret)),
        "client_id": client.id,
        "client_secret": secret,
        "jwt": issued.access_token,
        "refresh_token": issued.refresh_token,
    }


def _still_valid(
    session: AccountSession,
    kind: CredentialKind,
    token: str | None,
    user_id: str,
    scopes: frozenset[str],
) -> str | None:
    """Return a token of an earlier run if it is live, of this user, and has all these scopes."""
    if token is None:
        return None
    try:
        principal = authenticate(session, Presented(kind, token))
    except InvalidToken:
        return None
    is_same = principal.user.user_id == user_id and principal.credential.rights >= scopes
    return token if is_same else None


def _new_session(session: AccountSession, user_id: str) -> str:
    view = find_user_view(session, user_id)
    for row in sessions.list_sessions(session, user_id):
        if row.user_agent == _LABEL:
            sessions.revoke_session(session, view, row.id)
    return sessions.open_session(session, user_id, user_agent=_LABEL).token


def _new_api_key(session: AccountSession, principal: Principal) -> str:
    for key in api_keys.list_api_keys(session, principal.user.user_id):
        if key.name == _LABEL:
            api_keys.revoke_api_key(session, principal.user, key.id)
    _, api_key = api_keys.create_api_key(
        session,
        principal,
        name=_LABEL,
        scopes=sorted(_API_KEY_SCOPES),
        dataset_access_mode="all_available",
        expires_at=None,
    )
    return api_key


def _new_pat(session: AccountSession, principal: Principal, client: ClientCredentials) -> str:
    for token in personal_access_tokens.list_pats(session, principal.user.user_id):
        if token.name == _LABEL:
            personal_access_tokens.revoke_pat(session, principal.user, token.id)
    _, pat = personal_access_tokens.create_pat(
        session,
        principal,
        name=_LABEL,
        scopes=sorted(SESSION_RIGHTS),
        expires_at=session.now + timedelta(days=90),
        client_id=client.client_id,
        client_secret=client.secret or "",
    )
    return pat


def _access_token(session: AccountSession, view: UserView) -> str:
    try:
        return access_tokens.reveal_access_token(session, view)
    except TokenUnreadable:
        return access_tokens.regenerate_access_token(session, view)


def find_or_add_client(
    session: AccountSession,
    tenant: Tenant,
    former: str | None,
    *,
    name: str = _LABEL,
    scopes: frozenset[str] = SESSION_RIGHTS,
    **settings: Any,
) -> tuple[Client, str | None]:
    """Find or add a demo client; renew its secret unless that of an earlier run is valid."""
    client = session.exec(
        select(Client).where(
            col(Client.tenant_id) == tenant.id,
            col(Client.name) == name,
            col(Client.removed_at).is_(None),
        )
    ).first()
    if client is None:
        client, _ = clients.add_client(session, tenant, name=name, scopes=scopes, **settings)
    client.disabled_at = None
    digest = client.secret_digest
    if client.is_public:
        former = None
    elif former is None or not session.keys.matches(Purpose.CLIENT_SECRET, former, digest):
        former = clients.renew_client_secret(session, client)
    session.flush()
    return client, former
