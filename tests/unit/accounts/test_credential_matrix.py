"""The effect of every act on every credential: one table, and a test of each cell.

The table is credential_matrix.yaml. This module performs its rows and uses its columns, both by the
acts that a request or an operator runs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.errors import (
    InvalidClient,
    InvalidGrant,
    InvalidToken,
    PolicyDenied,
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
    WrongPassword,
)
from accounts.flows.administration.clients import (
    disable_client,
    enable_client,
    remove_client,
    renew_client_secret,
)
from accounts.flows.administration.incidents import log_out_user, mail_reset
from accounts.flows.administration.tenants import disable_tenant, enable_tenant
from accounts.flows.administration.users import change_roles, disable_user, enable_user
from accounts.flows.deletion.account_deletion import delete_account
from accounts.flows.email.email_change import (
    request_email_change,
    undo_email_change,
    validate_email_change,
)
from accounts.flows.email.email_verification import confirm_email, request_email_verification
from accounts.flows.oauth.token_exchange import exchange_refresh_token, exchange_session
from accounts.flows.oauth.token_introspection import revoke_token
from accounts.flows.password.password_change import change_password
from accounts.flows.password.password_reset import (
    mail_requested_resets,
    request_password_reset,
    reset_password,
)
from accounts.flows.sign_in.sessions import (
    log_in,
    log_out,
    open_session,
    revoke_other_sessions,
    revoke_session,
)
from accounts.flows.tokens.api_keys import create_api_key, revoke_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat, revoke_pat
from accounts.jobs.key_rotation import START, rekey_batch
from accounts.limits import Limits
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.events import EventKind
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.one_time_secrets import SecretPurpose
from accounts.services.policies.authorization import authorise
from accounts.services.policies.policy_set import Policies
from accounts.services.principal import CredentialKind
from accounts.services.signing_keys import (
    delete_retired_keys,
    ensure_signing_key,
    load_key_set,
    rotate_signing_key,
)
from handlers.exchange import COOKIE_NAME
from models import Client, User
from oneself.database import Database
from oneself.http.request.credentials import read_credential
from oneself.runtime.policy_store import schema_of
from tests.unit.conftest import COST, Clock, Env

TABLE = yaml.safe_load(Path(__file__).with_name("credential_matrix.yaml").read_text())
COLUMNS = TABLE["columns"]
CELLS = [
    (row, column, expected)
    for row, cells in TABLE["rows"].items()
    for column, expected in zip(COLUMNS, cells, strict=True)
]
ROOT, NEXT_ROOT = b"x" * 32, b"n" * 32  # the first is that of the env fixture
NEW_PASSWORD = "Silent meadow 83 lantern"
POLICIES = Path(__file__).parents[3] / "policies"

#: The refusals of a dead credential. Any other refusal is a mistake in the test.
REFUSED = (
    InvalidToken,
    InvalidGrant,
    InvalidClient,
    SecretInvalid,
    SecretUsed,
    SecretExpired,
    SecretSuperseded,
)


@dataclass(frozen=True)
class Owner:
    """A user with one credential for each column."""

    user_id: str
    identity_id: str
    tenant_id: str
    email: str
    password: str
    client_id: str
    credentials: dict[str, str]


# A user with one credential of each kind


def _mailed(env):
    """Return the secret of the last mail."""
    return env.act(unseal_parameters, env.messages()[-1])["secret"]


def _open_owner(env, email):
    """Open a user in a tenant of their own, and create each credential as its owner would."""
    user = env.user(email)
    credentials = {"session": user.token, "cookie": user.token}
    credentials["another session"] = env.act(open_session, user.user_id).token
    credentials["access token"] = env.act(reveal_access_token, user.view)
    client, credentials["client secret"] = env.client(user.view.tenant_id)
    _, credentials["API key"] = env.act(
        create_api_key,
        user.principal,
        name="Key",
        scopes=["me/profile:read"],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    _, credentials["PAT"] = env.act(
        create_pat,
        user.principal,
        name="Token",
        scopes=["me/profile:read"],
        expires_at=env.clock.now + timedelta(days=1),
        client_id=client.id,
        client_secret=credentials["client secret"],
    )
    key_set = env.act(load_key_set)
    for session, suffix in (("session", ""), ("another session", " of another session")):
        issued = env.act(
            exchange_session,
            key_set,
            client,
            subject_token=credentials[session],
            scope="me/profile:read",
            audience=None,
        )
        credentials[f"JWT{suffix}"] = issued.access_token
        credentials[f"refresh token{suffix}"] = issued.refresh_token

    identity_id = user.view.identity_id
    env.act(request_email_verification, user.view)
    env.act(confirm_email, _mailed(env))
    _, secret = env.act(request_email_change, user.view, f"new.{email}")
    credentials["secret of an undo"] = _mailed(env)
    env.act(validate_email_change, identity_id=identity_id, secret=secret)

    view = env.view(user.user_id)
    env.act(request_email_verification, view)
    credentials["secret of a verification"] = _mailed(env)
    env.act(request_password_reset, email)
    env.act(mail_requested_resets)
    credentials["secret of a reset"] = _mailed(env)
    _, credentials["secret of an email change"] = env.act(
        request_email_change, view, f"newer.{email}"
    )
    return Owner(
        user_id=view.user_id,
        identity_id=identity_id,
        tenant_id=view.tenant_id,
        email=email,
        password=user.password,
        client_id=client.id,
        credentials=credentials,
    )


@pytest.fixture(scope="module")
def seeded(storage, tmp_path_factory):
    """A database with two owners of every credential, created once and copied for each test."""
    location = storage.make(tmp_path_factory.mktemp("seeded"))
    keys, limits, clock = Keyring(ROOT), Limits(password_cost=COST), Clock()
    database = Database(location, keys=keys, limits=limits, clock=clock)
    env = Env(database, location, clock, keys, limits)
    env.act(ensure_signing_key)
    users = (_open_owner(env, "alice@example.com"), _open_owner(env, "bob@example.org"))
    database.close()
    return location, *users


@pytest.fixture
def alice(seeded):
    return seeded[1]


@pytest.fixture
def bob(seeded):
    return seeded[2]


@pytest.fixture
def location(storage, seeded, tmp_path):
    made = storage.copy(seeded[0], tmp_path)
    yield made
    storage.drop(made)


@pytest.fixture
def rotate_root():
    """Return a function that reopens an env with a new root secret."""
    opened = []

    def rotate_root(env):
        keys = Keyring(NEXT_ROOT, ROOT)
        opened.append(Database(env.location, keys=keys, limits=env.limits, clock=env.clock))
        return replace(env, database=opened[0], keys=keys)

    yield rotate_root
    for database in opened:
        database.close()


# Using each column


def _request(*headers):
    """Use a credential as a request does: read it from the headers, and authenticate."""

    def use(session, owner):
        def read_jwt(token):
            keys, issuer = load_key_set(session), session.limits.issuer
            return keys.verify(token, issuer=issuer, audience=issuer, now=session.now)

        brand = session.limits.api_key_brand
        presented, _ = read_credential(headers, brand=brand, read_jwt=read_jwt)
        assert authenticate(session, presented).user.user_id == owner.user_id

    return use


def _bearer(token):
    return _request((b"authorization", f"Bearer {token}".encode()))


def _cookie(token):
    return _request((b"cookie", f"{COOKIE_NAME}={token}".encode()))


def _api_key(token):
    return _request((b"x-api-key", token.encode()))


def _refresh_token(token):
    def use(session, owner):
        # Authenticating the client is another column.
        client = session.get_one(Client, owner.client_id)
        keys = load_key_set(session)
        exchange_refresh_token(session, keys, client, token=token, scope=None, audience=None)

    return use


def _client_secret(token):
    def use(session, owner):
        authenticate_client(session, ClientCredentials(owner.client_id, token))

    return use


def _email_change(token):
    def use(session, owner):
        validate_email_change(session, identity_id=owner.identity_id, secret=token)

    return use


def _email_verification(token):
    return lambda session, _owner: confirm_email(session, token)


def _email_undo(token):
    return lambda session, _owner: undo_email_change(session, token)


def _password_reset(token):
    return lambda session, _owner: reset_password(session, secret=token, new=NEW_PASSWORD)


USES: dict[str, Callable] = {
    "session": _bearer,
    "cookie": _cookie,
    "another session": _bearer,
    "JWT": _bearer,
    "JWT of another session": _bearer,
    "refresh token": _refresh_token,
    "refresh token of another session": _refresh_token,
    "access token": _bearer,
    "API key": _api_key,
    "PAT": _bearer,
    "client secret": _client_secret,
    "secret of an email change": _email_change,
    "secret of a verification": _email_verification,
    "secret of a reset": _password_reset,
    "secret of an undo": _email_undo,
}


def _state(env, owner, column):
    """Use a credential, and roll back, so that it can be used again."""
    try:
        with env.database.transaction(writing=True) as session:
            USES[column](owner.credentials[column])(session, owner)
            session.abandon()
    except REFUSED:
        return "dead"
    return "alive"


# Performing each row. A function returns the env to continue with, if it is another one.


def _principal(env, owner):
    return env.authenticate(CredentialKind.SESSION, owner.credentials["session"])


def _change_password(env, owner):
    env.act(change_password, _principal(env, owner), current=owner.password, new=NEW_PASSWORD)


def _fail_to_change_password(env, owner):
    with pytest.raises(WrongPassword):
        env.act(change_password, _principal(env, owner), current="Wrong", new=NEW_PASSWORD)


def _reset_password(env, owner):
    env.act(reset_password, secret=owner.credentials["secret of a reset"], new=NEW_PASSWORD)


def _change_address(env, owner):
    secret = owner.credentials["secret of an email change"]
    env.act(validate_email_change, identity_id=owner.identity_id, secret=secret)


def _verify_address(env, owner):
    env.act(confirm_email, owner.credentials["secret of a verification"])


def _undo_change(env, owner):
    env.act(undo_email_change, owner.credentials["secret of an undo"])


def _log_in_elsewhere(env, owner):
    env.act(log_in, email=owner.email, password=owner.password, user_agent=None)


def _log_out(env, owner):
    env.act(log_out, _principal(env, owner))


def _revoke_other_sessions(env, owner):
    env.act(revoke_other_sessions, _principal(env, owner))


def _revoke_another_session(env, owner):
    another = env.authenticate(CredentialKind.SESSION, owner.credentials["another session"])
    env.act(revoke_session, _principal(env, owner).user, another.credential.id)


def _disable_tenant(env, owner):
    env.act(disable_tenant, owner.tenant_id)


def _on_user(act, **options):
    def run(env, owner):
        env.act(lambda session: act(session, session.get_one(User, owner.user_id), **options))

    return run


def _on_client(act):
    def run(env, owner):
        env.act(act, owner.client_id)

    return run


def _delete_account(env, owner):
    env.act(delete_account, env.view(owner.user_id))


def _disable_and_enable(env, owner):
    for act in (disable_client, enable_client):
        env.act(act, owner.client_id)
    for act in (disable_user, enable_user):
        _on_user(act)(env, owner)
    for act in (disable_tenant, enable_tenant):
        env.act(act, owner.tenant_id)


def _remove_role(env, owner):
    assert env.view(owner.user_id).roles == ["member"]
    env.act(
        lambda session: change_roles(
            session, session.get_one(User, owner.user_id), remove=["member"]
        )
    )
    assert env.view(owner.user_id).roles == []


def _regenerate_access_token(env, owner):
    env.act(regenerate_access_token, env.view(owner.user_id))


def _revoke_api_key(env, owner):
    principal = env.authenticate(CredentialKind.API_KEY, owner.credentials["API key"])
    env.act(revoke_api_key, principal.user, principal.credential.id)


def _revoke_pat(env, owner):
    principal = env.authenticate(CredentialKind.PAT, owner.credentials["PAT"])
    env.act(revoke_pat, principal.user, principal.credential.id)


def _revoked_by_its_client(column):
    def revoke(env, owner):
        with env.database.transaction(writing=True) as session:
            client = session.get_one(Client, owner.client_id)
            revoke_token(session, load_key_set(session), client, owner.credentials[column])

    return revoke


def _use_refresh_token_twice(env, owner):
    use = USES["refresh token"](owner.credentials["refresh token"])
    env.act(use, owner)
    with pytest.raises(InvalidGrant):
        env.act(use, owner)


def _renew_client_secret(env, owner):
    env.act(lambda session: renew_client_secret(session, session.get_one(Client, owner.client_id)))


def _rotate_signing_key(env, _owner):
    """Until the last second of the JWTs, with the job that deletes retired keys."""
    former = env.act(load_key_set).signing_key(env.clock.now).kid
    env.act(rotate_signing_key)
    env.clock.move(minutes=9, seconds=59)
    env.act(delete_retired_keys)
    assert env.act(load_key_set).signing_key(env.clock.now).kid != former


@pytest.fixture
def perform(make_env, rotate_root):
    """Return a function that performs a row in a fresh copy of the database, after a callback."""

    def rotate(env, _owner):
        rotated, after = rotate_root(env), START
        while after is not None:
            after = rotated.act(rekey_batch, after).after
        assert rotated.keys.key_id != env.keys.key_id
        return rotated

    acts = {**ACTS, "the root secret rotated": rotate}

    def perform(row, owner, before=None):
        env = make_env(**RULES.get(row, {}))
        if before is not None:
            before(env)
        return acts[row](env, owner) or env

    return perform


ACTS: dict[str, Callable] = {
    "a password change": _change_password,
    "a password change ends other sessions": _change_password,
    "a failed password change": _fail_to_change_password,
    "a reset by mail": _reset_password,
    "a change of the address": _change_address,
    "a verification of the address": _verify_address,
    "a change of the address undone": _undo_change,
    "a login elsewhere": _log_in_elsewhere,
    "a logout": _log_out,
    "the other sessions revoked": _revoke_other_sessions,
    "another session revoked": _revoke_another_session,
    "the user disabled": _on_user(disable_user),
    "the account deleted": _delete_account,
    "the tenant disabled": _disable_tenant,
    "the user logged out by an operator": _on_user(log_out_user),
    "the user logged out of everything": _on_user(log_out_user, everything=True),
    "a reset mailed by an operator": _on_user(mail_reset),
    "the client disabled": _on_client(disable_client),
    "the client removed": _on_client(remove_client),
    "client, user and tenant disabled and enabled": _disable_and_enable,
    "a role removed": _remove_role,
    "the access token regenerated": _regenerate_access_token,
    "the API key revoked": _revoke_api_key,
    "the PAT revoked": _revoke_pat,
    "the JWT revoked by its client": _revoked_by_its_client("JWT"),
    "the refresh token revoked by its client": _revoked_by_its_client("refresh token"),
    "the refresh token used twice": _use_refresh_token_twice,
    "the client secret renewed": _renew_client_secret,
    "the signing key rotated": _rotate_signing_key,
}
RULES = {"a password change ends other sessions": {"password_change_ends_other_sessions": True}}


# The cells of the table


@pytest.mark.parametrize(("row", "column", "expected"), CELLS)
def test_credential_is_alive_or_dead_as_in_the_table(perform, alice, row, column, expected):
    """SE-06, SE-07, PW-12, EM-09: each is alive before."""

    def before(env):
        assert _state(env, alice, column) == "alive"

    assert _state(perform(row, alice, before), alice, column) == expected


@pytest.mark.parametrize("row", TABLE["rows"])
def test_credentials_of_another_user_stay_alive(perform, alice, bob, row):
    """SE-07: every revoking statement is limited to its user."""
    env = perform(row, alice)
    assert {column: _state(env, bob, column) for column in COLUMNS} == dict.fromkeys(
        COLUMNS, "alive"
    )


def test_cookie_and_session_columns_are_equal():
    """SE-07: they are one credential."""
    cells = {(row, column): expected for row, column, expected in CELLS}
    assert [row for row in TABLE["rows"] if cells[row, "session"] != cells[row, "cookie"]] == []


def test_cells_are_alive_or_dead():
    """SE-07."""
    assert {expected for _, _, expected in CELLS} == {"alive", "dead"}


# Completeness of the table


def _kinds():
    """Return every kind of credential, by its name in the code."""
    prefixes = [name for name, value in vars(tokens).items() if _is_prefix(name, value)]
    return {
        *(f"CredentialKind.{kind.name}" for kind in CredentialKind),
        # The secret of a restoration exists only after the row of the deletion.
        *(f"SecretPurpose.{each.name}" for each in SecretPurpose if each != "account_restoration"),
        *(f"tokens.{name}" for name in prefixes),
    }


def _is_prefix(name, value):
    return name.isupper() and isinstance(value, str) and value.endswith("_")


def test_each_kind_of_credential_has_a_column():
    """SE-07: a new kind, purpose or prefix fails here until it has a column."""
    columns = {kind for kinds in COLUMNS.values() for kind in kinds}
    assert sorted(_kinds() - columns) == []
    assert sorted(columns - _kinds()) == []


def test_each_kind_of_event_has_a_row():
    """SE-07: a new kind of event fails here until it has a row, or a reason for none."""
    kinds = {str(kind) for kind in EventKind}
    named = [*TABLE["events"], *TABLE["events_without_a_row"]]
    assert sorted(kinds.symmetric_difference(named)) == []
    assert len(named) == len(kinds)


@pytest.mark.parametrize(("kind", "row"), TABLE["events"].items())
def test_row_records_its_event(perform, alice, kind, row):
    """SE-07."""

    def count(env):
        return [event["kind"] for event in env.rows("security_event")].count(kind)

    counted = []
    env = perform(row, alice, lambda env: counted.append(count(env)))
    assert count(env) == counted[0] + 1


# Rights by role


DOCUMENT = {
    "paths": {
        f"/{name}": {
            "get": {
                "operationId": name,
                "tags": [name.partition(".")[0]],
                "x-scope": scope,
                "security": [{"personalAccessToken": []}],
                "responses": {},
            }
        }
        for name, scope in (
            ("scaikey.getProfile", "me/profile:read"),
            ("scaikey.changePassword", "me/auth:write"),
        )
    }
}
MEMBERS_ONLY = """
@id("members-only") forbid (principal, action in Action::"me/profile:read", resource)
unless { principal.roles.contains("member") };
"""


def test_removed_role_is_effective_at_the_next_request(env, alice):
    """TK-12: the rights of a token are its scopes within those of its user at each request."""
    default = (POLICIES / "default.cedar").read_text()
    policies = Policies.parse(
        {"default.cedar": default, "members.cedar": MEMBERS_ONLY}, schema_of(DOCUMENT)
    )

    def read_profile():
        authorise(
            env.authenticate(CredentialKind.PAT, alice.credentials["PAT"]),
            policies.decide,
            action="scaikey.getProfile",
            accepted=frozenset({CredentialKind.PAT}),
            scope="me/profile:read",
            read_address=lambda: None,
            now=datetime.now(UTC),
        )

    read_profile()
    _remove_role(env, alice)
    with pytest.raises(PolicyDenied):
        read_profile()
