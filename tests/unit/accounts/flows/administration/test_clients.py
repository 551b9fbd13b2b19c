"""Client programs of a tenant."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import event

from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.errors import InvalidClient, InvalidRequest, InvalidToken, NotFound, TooManyAttempts
from accounts.flows.administration.clients import (
    add_client,
    disable_client,
    enable_client,
    find_confidential_client,
    list_clients,
    remove_client,
    renew_client_secret,
)
from accounts.flows.oauth.token_exchange import exchange_session
from accounts.flows.oauth.token_introspection import introspect_token
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.clients import ClientCredentials, authenticate_client, find_public_client
from accounts.services.principal import CredentialKind
from accounts.services.signing_keys import ensure_signing_key, load_key_set
from models import Client, Tenant
from oneself.database import Database


@pytest.fixture
def tenant(env):
    return env.tenant()


def _add(env, tenant, **overrides):
    with env.database.transaction(writing=True) as session:
        owner = session.get_one(Tenant, tenant.id)
        return add_client(
            session, owner, **({"name": "Program", "scopes": ["keys:read"]} | overrides)
        )


def _authenticate(env, client, secret, **options):
    return env.act(authenticate_client, ClientCredentials(client.id, secret), **options)


def _is_accepted(env, client, secret):
    try:
        _authenticate(env, client, secret)
    except InvalidClient:
        return False
    return True


# Adding a client


def test_client_authenticates_with_its_secret(env, tenant):
    """SE-01: the secret is shown once, and stored as a digest."""
    client, secret = _add(env, tenant)
    assert secret.startswith("cls_")
    authenticated = _authenticate(env, client, secret)
    assert authenticated.scopes == ["keys:read"]
    assert not authenticated.is_public
    assert secret not in [str(value) for value in env.rows("client")[0].values()]


def test_scopes_are_deduplicated_and_sorted(env, tenant):
    """Repeated scopes are merged."""
    client, _ = _add(env, tenant, scopes=["me/pat:read", "keys:read", "me/pat:read"])
    assert client.scopes == ["keys:read", "me/pat:read"]


def test_unknown_scope_is_rejected(env, tenant):
    """The refusal lists the known scopes."""
    with pytest.raises(InvalidRequest) as caught:
        _add(env, tenant, scopes=["keys:read", "keys:burn"])
    (violation,) = caught.value.violations
    assert violation.field == ("scopes",)
    assert "keys:write" in violation.rule
    assert "keys:burn" not in violation.rule


def test_invalid_name_is_rejected(env, tenant):
    """Nothing is added."""
    with pytest.raises(InvalidRequest):
        _add(env, tenant, name="")
    assert env.count("client") == 0


def test_audiences_are_deduplicated_in_order(env, tenant):
    """JW-03: the first one is the default of a public client."""
    audiences = ["https://b.example.com", "https://a.example.com", "https://b.example.com"]
    client, _ = _add(env, tenant, audiences=audiences)
    assert client.audiences == ["https://b.example.com", "https://a.example.com"]
    assert _add(env, tenant)[0].audiences == []


@pytest.mark.parametrize(
    "audiences",
    [
        [""],
        ["https://b\u00fccher.example"],
        ["https://a.example\n"],
        ["https://a.example https://b.example"],
        ["https://a.example", "\0"],
        ["a" * 1025],
        [f"https://{number}.example.com" for number in range(21)],
    ],
    ids=range(7),
)
def test_invalid_audience_is_rejected(env, tenant, audiences):
    """JW-03: it must fit into a token, and is compared character by character."""
    with pytest.raises(InvalidRequest) as caught:
        _add(env, tenant, audiences=audiences)
    (violation,) = caught.value.violations
    assert violation.field == ("audiences",)
    assert audiences[-1] not in violation.rule or not audiences[-1]
    assert env.count("client") == 0


def test_audiences_of_maximum_number_and_length_are_stored(env, tenant):
    """JW-03: 20 audiences of 1,024 characters."""
    audiences = [f"https://{number:02}.example.com/".ljust(1024, "a") for number in range(20)]
    assert _add(env, tenant, audiences=audiences)[0].audiences == audiences


# Authentication


def test_wrong_id_secret_and_tenant_are_rejected_alike(env, tenant):
    """TK-02: the refusal does not reveal which of the three was wrong."""
    client, secret = _add(env, tenant)
    other_tenant = env.tenant("Other")
    other_client, other_secret = _add(env, other_tenant)
    for tenant_id, client_id, wrong_secret in (
        (tenant.id, "cli_000000000000", secret),
        (tenant.id, "", secret),
        (tenant.id, client.id, secret[:-1]),
        (tenant.id, client.id, tokens.mint("cls_")),
        (tenant.id, client.id, other_secret),
        (tenant.id, client.id, "\ud800"),
        (tenant.id, client.id, ""),
        (tenant.id, client.id, None),
        (tenant.id, other_client.id, other_secret),
        (other_tenant.id, client.id, secret),
    ):
        with pytest.raises(InvalidClient) as caught:
            env.act(
                authenticate_client, ClientCredentials(client_id, wrong_secret), tenant_id=tenant_id
            )
        assert caught.value.args == InvalidClient().args
    assert _authenticate(env, client, secret, tenant_id=tenant.id).id == client.id


def test_client_of_disabled_tenant_is_rejected(env, tenant):
    """SE-06: at the next request, like everything else of the tenant."""
    client, secret = _add(env, tenant)
    public, _ = _add(env, tenant, public=True)
    env.execute("UPDATE tenant SET disabled_at = created_at")
    assert not _is_accepted(env, client, secret)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, public.id)


def test_malformed_secret_costs_nothing(env, tenant):
    """TK-01: neither a statement nor an attempt."""
    client, secret = _add(env, tenant)
    statements = []

    def record(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    with env.database.transaction(writing=True) as session:
        event.listen(session.core, "before_cursor_execute", record)
        try:
            for malformed in (secret[:-1], f"{secret}\n", secret.swapcase(), "", None):
                with pytest.raises(InvalidClient):
                    authenticate_client(session, ClientCredentials(client.id, malformed))
        finally:
            event.remove(session.core, "before_cursor_execute", record)
    assert statements == []
    assert env.count("attempt_budget") == 0


#: Texts that a decoded Basic header can contain and that are no id of a client.
MALFORMED = [
    "",
    "a\0b",
    "cli_00000000000\0",
    "cli_000000000000\0",
    "cli_000000000000\n",
    "cli_00000000000",
    "cli_0000000000000",
    "CLI_000000000000",
    "cli_00000000000A",
    "cli_00000000000g",
    "cli_00000000000\u0661",
    "usr_000000000000",
    "x" * 64,
]


@pytest.mark.parametrize("client_id", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_client_id_is_rejected_as_unknown(env, tenant, client_id):
    """TK-02, HT-04: the database is not queried for it, and might not even accept it."""
    secret = _add(env, tenant)[1]
    statements = []

    def record(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    with env.database.transaction(writing=True) as session:
        event.listen(session.core, "before_cursor_execute", record)
        try:
            with pytest.raises(InvalidClient) as caught:
                authenticate_client(session, ClientCredentials(client_id, secret))
            with pytest.raises(InvalidClient):
                find_public_client(session, client_id)
        finally:
            event.remove(session.core, "before_cursor_execute", record)
    assert caught.value.args == InvalidClient().args
    assert [statement for statement in statements if "client" in statement] == []


# Public clients


def test_public_client_has_no_secret(env, tenant):
    """RFC 6749 section 2.1: it could not keep one."""
    client, secret = _add(env, tenant, public=True)
    assert secret is None
    assert env.act(find_public_client, client.id).id == client.id


def test_public_client_cannot_authenticate(env, tenant):
    """TK-02: not even with a known secret of its row."""
    client, _ = _add(env, tenant, public=True)
    secret = env.act(
        lambda session: renew_client_secret(session, session.get_one(Client, client.id))
    )
    assert not _is_accepted(env, client, secret)


@pytest.mark.parametrize("client_id", ["cli_000000000000", "", "%", "' OR 1=1 --"])
def test_unknown_public_client_is_rejected(env, tenant, client_id):
    """TK-02: as with a client that is not public."""
    _add(env, tenant, public=True)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, client_id)


def test_confidential_client_is_not_found_as_public(env, tenant):
    """RFC 6749 section 3.2.1: knowing its id does not authenticate it."""
    client, _ = _add(env, tenant)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, client.id)


# A new secret


def test_new_secret_replaces_the_old_one(env, tenant):
    """SE-07: at the next request, and for this client only."""
    client, old = _add(env, tenant)
    other_client, other_secret = _add(env, tenant)
    new = env.act(lambda session: renew_client_secret(session, session.get_one(Client, client.id)))
    assert [_is_accepted(env, client, secret) for secret in (old, new)] == [False, True]
    assert _is_accepted(env, other_client, other_secret)


def test_used_secret_is_restored_under_the_new_root_after_rotation(env, tenant):
    """TK-07: after that the previous root secret is not needed for it."""
    client, secret = _add(env, tenant)
    digest = env.rows("client")[0]["secret_digest"]
    keys = Keyring(b"n" * 32, b"x" * 32)
    rotated = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    only_new = Database(env.location, keys=Keyring(b"n" * 32), limits=env.limits, clock=env.clock)
    credentials = ClientCredentials(client.id, secret)
    try:
        with rotated.transaction(writing=True) as session:
            authenticate_client(session, credentials)
        (row,) = env.rows("client")
        assert row["key_id"] == keys.key_id
        assert row["secret_digest"] != digest
        with only_new.transaction(writing=True) as session:
            assert authenticate_client(session, credentials).id == client.id
    finally:
        rotated.close()
        only_new.close()


def test_wrong_secret_changes_no_stored_secret(env, tenant):
    """TK-07: neither before nor after a rotation."""
    client, _ = _add(env, tenant)
    rows_before = env.rows("client")
    rotated = Database(
        env.location, keys=Keyring(b"n" * 32, b"x" * 32), limits=env.limits, clock=env.clock
    )
    with pytest.raises(InvalidClient), rotated.transaction(writing=True) as session:
        authenticate_client(session, ClientCredentials(client.id, tokens.mint("cls_")))
    rotated.close()
    assert env.rows("client") == rows_before


# Attempts


def _authenticate_from(env, address, client, secret):
    with env.database.transaction(writing=True, origin=Origin(address=address)) as session:
        authenticate_client(session, ClientCredentials(client.id, secret))


def test_wrong_secrets_are_rate_limited(make_env):
    """LG-04: beyond the limit the right secret is rejected too, from that source."""
    env = make_env(account_and_source_budget=RateLimit(3, 300))
    client, secret = _add(env, env.tenant())
    for _ in range(3):
        with pytest.raises(InvalidClient):
            _authenticate_from(env, "192.0.2.1", client, tokens.mint("cls_"))
    with pytest.raises(TooManyAttempts):
        _authenticate_from(env, "192.0.2.1", client, secret)
    _authenticate_from(env, "192.0.2.2", client, secret)


def test_right_secrets_are_not_rate_limited(make_env):
    """LG-17: a program may authenticate as often as it needs to."""
    env = make_env(account_and_source_budget=RateLimit(3, 300), source_budget=RateLimit(3, 300))
    client, secret = _add(env, env.tenant())
    for _ in range(10):
        _authenticate_from(env, "192.0.2.1", client, secret)


@pytest.mark.parametrize("client_id", ["a\0b", "cli_000000000000"])
def test_unknown_client_ids_are_rate_limited_by_source(make_env, client_id):
    """LG-04, LG-08: well-formed or not; malformed ids do not bypass the limit."""
    env = make_env(source_budget=RateLimit(3, 300))
    client, secret = _add(env, env.tenant())
    unknown = Client(id=client_id)
    for _ in range(3):
        with pytest.raises(InvalidClient):
            _authenticate_from(env, "192.0.2.1", unknown, tokens.mint("cls_"))
    for candidate in (unknown, client):
        with pytest.raises(TooManyAttempts):
            _authenticate_from(env, "192.0.2.1", candidate, secret)
    _authenticate_from(env, "192.0.2.2", client, secret)


# Disabling and removing a client


def _acts(env):
    return [
        (row["tenant_id"], row["user_id"], json.loads(row["details"]))
        for row in env.rows("security_event")
        if row["kind"] == "authz_admin"
    ]


def _create_pat(env, alice, client, secret):
    return env.act(
        create_pat,
        alice.principal,
        name="A token",
        scopes=["me/profile:read"],
        expires_at=env.clock.now + timedelta(days=1),
        client_id=client.id,
        client_secret=secret,
    )[1]


def test_disabled_client_is_rejected_until_it_is_enabled(env, tenant):
    """SE-06, attack finding 10: confidential or public; each change is one event."""
    client, secret = _add(env, tenant)
    public, _ = _add(env, tenant, public=True)
    for _ in range(2):
        env.act(disable_client, client.id)
        env.act(disable_client, public.id)
    assert not _is_accepted(env, client, secret)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, public.id)
    for _ in range(2):
        env.act(enable_client, client.id)
    assert _is_accepted(env, client, secret)
    assert _acts(env) == [
        (tenant.id, None, {"act": act, "client_id": each.id})
        for act, each in (
            ("client_disabled", client),
            ("client_disabled", public),
            ("client_enabled", client),
        )
    ]


def test_tokens_of_a_disabled_client_are_inactive_to_other_clients(env, alice):
    """TK-18, attack finding 10: introspection says what authentication says."""
    env.act(ensure_signing_key)
    client, secret = env.client(alice.view.tenant_id)
    other, _ = env.client(alice.view.tenant_id)
    key_set = env.act(load_key_set)
    issued = env.act(
        exchange_session,
        key_set,
        client,
        subject_token=alice.token,
        scope="me/profile:read",
        audience=None,
    )
    issued_tokens = (
        issued.access_token,
        issued.refresh_token,
        _create_pat(env, alice, client, secret),
    )

    def active():
        return [
            env.act(introspect_token, key_set, other, token) is not None for token in issued_tokens
        ]

    assert active() == [True] * 3
    env.act(disable_client, client.id)
    assert active() == [False] * 3
    env.act(enable_client, client.id)
    assert active() == [True] * 3


def test_removed_client_and_its_tokens_are_gone(env, alice, bob):
    """TK-02, attack finding 10: the owner of each token has an event; others keep theirs."""
    client, secret = env.client(alice.view.tenant_id)
    other, other_secret = env.client(alice.view.tenant_id)
    pat = _create_pat(env, alice, client, secret)
    kept = _create_pat(env, alice, other, other_secret)
    assert env.act(remove_client, client.id) == 1
    assert env.act(remove_client, client.id) == 0
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.PAT, pat)
    assert env.authenticate(CredentialKind.PAT, kept).user == alice.view
    [event] = [row for row in env.rows("security_event") if row["kind"] == "authn_token_revoked"]
    assert (event["user_id"], event["tenant_id"]) == (alice.user_id, alice.view.tenant_id)
    assert json.loads(event["details"])["credential"] == "pat"
    assert _acts(env) == [
        (alice.view.tenant_id, None, {"act": "client_removed", "client_id": client.id})
    ]
    assert not _is_accepted(env, client, secret)
    assert bob


def test_removed_client_is_not_found(env, tenant):
    """It cannot be enabled again, and gets no other secret."""
    client, _ = _add(env, tenant)
    env.act(remove_client, client.id)
    for act in (disable_client, enable_client, find_confidential_client):
        with pytest.raises(NotFound):
            env.act(act, client.id)
    with pytest.raises(NotFound):
        env.act(remove_client, "cli_000000000000")
    assert env.act(list_clients, tenant.id, limit=10) == []


def test_clients_are_searched(env, tenant):
    """By name or id, at most as many as asked for."""
    first, _ = _add(env, tenant, name="Reports")
    second, _ = _add(env, tenant, name="Nightly build")

    def find(search=None, limit=10):
        clients = env.act(list_clients, tenant.id, search=search, limit=limit)
        return {client.id for client in clients}

    assert find() == {first.id, second.id}
    assert find("nightly") == find(second.id) == {second.id}
    assert find("%") == set()
    assert len(find(limit=1)) == 1
