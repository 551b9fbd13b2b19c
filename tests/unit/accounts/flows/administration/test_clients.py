"""Clients: programs that a tenant knows."""

import pytest
from sqlalchemy import event

from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.errors import InvalidClient, InvalidRequest, TooManyAttempts
from accounts.flows.administration.clients import add_client, renew_client_secret
from accounts.limits import RateLimit
from accounts.origin import Origin
from accounts.services.clients import ClientCredentials, authenticate_client, find_public_client
from models import Client, Tenant
from oneself.database import Database


@pytest.fixture
def tenant(env):
    return env.tenant()


def _add(env, tenant, **changed):
    with env.database.transaction(writing=True) as session:
        owner = session.get_one(Tenant, tenant.id)
        return add_client(
            session, owner, **({"name": "Program", "scopes": ["keys:read"]} | changed)
        )


def _authenticate(env, client, secret, **more):
    return env.act(authenticate_client, ClientCredentials(client.id, secret), **more)


def _good(env, client, secret):
    try:
        _authenticate(env, client, secret)
    except InvalidClient:
        return False
    return True


# Adding one


def test_a_client_proves_itself_by_its_secret(env, tenant):
    """SE-01: the secret is known once, and stored as a digest."""
    client, secret = _add(env, tenant)
    assert secret.startswith("cls_")
    found = _authenticate(env, client, secret)
    assert found.scopes == ["keys:read"]
    assert not found.is_public
    assert secret not in [str(value) for value in env.rows("client")[0].values()]


def test_scopes_are_kept_once_and_in_order(env, tenant):
    """Naming a scope twice is naming it."""
    client, _ = _add(env, tenant, scopes=["me/pat:read", "keys:read", "me/pat:read"])
    assert client.scopes == ["keys:read", "me/pat:read"]


def test_a_scope_that_does_not_exist_is_refused(env, tenant):
    """The refusal says which there are."""
    with pytest.raises(InvalidRequest) as refused:
        _add(env, tenant, scopes=["keys:read", "keys:burn"])
    (violation,) = refused.value.violations
    assert violation.field == ("scopes",)
    assert "keys:write" in violation.rule
    assert "keys:burn" not in violation.rule


def test_a_name_that_breaks_its_rule_is_refused(env, tenant):
    """Nothing is added then."""
    with pytest.raises(InvalidRequest):
        _add(env, tenant, name="")
    assert env.count("client") == 0


def test_audiences_are_kept_once_and_in_their_order(env, tenant):
    """JW-03: the first is what a public client gets."""
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
def test_an_audience_that_breaks_its_rule_is_refused(env, tenant, audiences):
    """JW-03: it has to fit into a token, and is compared letter by letter."""
    with pytest.raises(InvalidRequest) as refused:
        _add(env, tenant, audiences=audiences)
    (violation,) = refused.value.violations
    assert violation.field == ("audiences",)
    assert audiences[-1] not in violation.rule or not audiences[-1]
    assert env.count("client") == 0


def test_as_many_and_as_long_audiences_as_there_may_be_are_kept(env, tenant):
    """JW-03: 20 of 1,024 characters."""
    audiences = [f"https://{number:02}.example.com/".ljust(1024, "a") for number in range(20)]
    assert _add(env, tenant, audiences=audiences)[0].audiences == audiences


# Proving to be one


def test_wrong_ids_wrong_secrets_and_other_tenants_are_refused_alike(env, tenant):
    """TK-02: nothing tells which of the three it was."""
    client, secret = _add(env, tenant)
    other = env.tenant("Other")
    theirs, their_secret = _add(env, other)
    for tenant_id, client_id, tried in (
        (tenant.id, "cli_000000000000", secret),
        (tenant.id, "", secret),
        (tenant.id, client.id, secret[:-1]),
        (tenant.id, client.id, tokens.mint("cls_")),
        (tenant.id, client.id, their_secret),
        (tenant.id, client.id, "\ud800"),
        (tenant.id, client.id, ""),
        (tenant.id, client.id, None),
        (tenant.id, theirs.id, their_secret),
        (other.id, client.id, secret),
    ):
        with pytest.raises(InvalidClient) as refused:
            env.act(authenticate_client, ClientCredentials(client_id, tried), tenant_id=tenant_id)
        assert refused.value.args == InvalidClient().args
    assert _authenticate(env, client, secret, tenant_id=tenant.id).id == client.id


def test_a_client_of_a_disabled_tenant_is_refused(env, tenant):
    """SE-06: at the next request, as whatever else belongs to the tenant."""
    client, secret = _add(env, tenant)
    public, _ = _add(env, tenant, public=True)
    env.execute("UPDATE tenant SET disabled_at = created_at")
    assert not _good(env, client, secret)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, public.id)


def test_a_secret_of_the_wrong_form_costs_nothing(env, tenant):
    """TK-01: neither a statement nor an attempt."""
    client, secret = _add(env, tenant)
    said = []

    def say(_connection, _cursor, statement, *_rest):
        said.append(statement)

    with env.database.transaction(writing=True) as session:
        event.listen(session.core, "before_cursor_execute", say)
        try:
            for tried in (secret[:-1], f"{secret}\n", secret.swapcase(), "", None):
                with pytest.raises(InvalidClient):
                    authenticate_client(session, ClientCredentials(client.id, tried))
        finally:
            event.remove(session.core, "before_cursor_execute", say)
    assert said == []
    assert env.count("attempt_budget") == 0


#: What can stand in a Basic header after it is decoded, and is no id of a client's.
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
def test_an_id_that_cannot_be_one_is_an_unknown_one(env, tenant, client_id):
    """TK-02, HT-04: no database is asked for it, which might not even take it."""
    secret = _add(env, tenant)[1]
    asked = []

    def say(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    with env.database.transaction(writing=True) as session:
        event.listen(session.core, "before_cursor_execute", say)
        try:
            with pytest.raises(InvalidClient) as refused:
                authenticate_client(session, ClientCredentials(client_id, secret))
            with pytest.raises(InvalidClient):
                find_public_client(session, client_id)
        finally:
            event.remove(session.core, "before_cursor_execute", say)
    assert refused.value.args == InvalidClient().args
    assert [statement for statement in asked if "client" in statement] == []


# A public one


def test_a_public_client_has_no_secret(env, tenant):
    """RFC 6749 section 2.1: it could not keep one."""
    client, secret = _add(env, tenant, public=True)
    assert secret is None
    assert env.act(find_public_client, client.id).id == client.id


def test_a_public_client_cannot_prove_itself(env, tenant):
    """TK-02: even if a secret of its row were known."""
    client, _ = _add(env, tenant, public=True)
    secret = env.act(
        lambda session: renew_client_secret(session, session.get_one(Client, client.id))
    )
    assert not _good(env, client, secret)


@pytest.mark.parametrize("client_id", ["cli_000000000000", "", "%", "' OR 1=1 --"])
def test_an_unknown_public_client_is_refused(env, tenant, client_id):
    """TK-02: as one that is not public."""
    _add(env, tenant, public=True)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, client_id)


def test_a_client_with_a_secret_is_no_public_one(env, tenant):
    """RFC 6749 section 3.2.1: who knows its id is not it."""
    client, _ = _add(env, tenant)
    with pytest.raises(InvalidClient):
        env.act(find_public_client, client.id)


# A new secret


def test_a_new_secret_takes_the_place_of_the_old_one(env, tenant):
    """SE-07: at the next request, and of this client only."""
    client, old = _add(env, tenant)
    other, kept = _add(env, tenant)
    new = env.act(lambda session: renew_client_secret(session, session.get_one(Client, client.id)))
    assert [_good(env, client, secret) for secret in (old, new)] == [False, True]
    assert _good(env, other, kept)


def test_a_secret_is_stored_anew_when_it_is_used_after_a_rotation(env, tenant):
    """TK-07: from then on the former root is not needed for it."""
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


def test_a_wrong_secret_stores_nothing_anew(env, tenant):
    """TK-07: after a rotation as before it."""
    client, _ = _add(env, tenant)
    before = env.rows("client")
    rotated = Database(
        env.location,
        keys=Keyring(b"n" * 32, b"x" * 32),
        limits=env.limits,
        clock=env.clock,
    )
    with (
        pytest.raises(InvalidClient),
        rotated.transaction(writing=True) as session,
    ):
        authenticate_client(session, ClientCredentials(client.id, tokens.mint("cls_")))
    rotated.close()
    assert env.rows("client") == before


# Attempts


def _from(env, address, client, secret):
    with env.database.transaction(writing=True, origin=Origin(address=address)) as session:
        authenticate_client(session, ClientCredentials(client.id, secret))


def test_wrong_secrets_are_counted(open_house):
    """LG-04: and past the budget the right one is refused as well, from that source."""
    env = open_house(account_and_source_budget=RateLimit(3, 300))
    client, secret = _add(env, env.tenant())
    for _ in range(3):
        with pytest.raises(InvalidClient):
            _from(env, "192.0.2.1", client, tokens.mint("cls_"))
    with pytest.raises(TooManyAttempts):
        _from(env, "192.0.2.1", client, secret)
    _from(env, "192.0.2.2", client, secret)


def test_a_right_secret_is_not_counted(open_house):
    """LG-17: a program may ask as often as it has to."""
    env = open_house(account_and_source_budget=RateLimit(3, 300), source_budget=RateLimit(3, 300))
    client, secret = _add(env, env.tenant())
    for _ in range(10):
        _from(env, "192.0.2.1", client, secret)


@pytest.mark.parametrize("client_id", ["a\0b", "cli_000000000000"])
def test_ids_that_nobody_has_are_counted_by_their_source(open_house, client_id):
    """LG-04, LG-08: whether they could be somebody's or not; what cannot is no way past it."""
    env = open_house(source_budget=RateLimit(3, 300))
    client, secret = _add(env, env.tenant())
    nobody = Client(id=client_id)
    for _ in range(3):
        with pytest.raises(InvalidClient):
            _from(env, "192.0.2.1", nobody, tokens.mint("cls_"))
    for each in (nobody, client):
        with pytest.raises(TooManyAttempts):
            _from(env, "192.0.2.1", each, secret)
    _from(env, "192.0.2.2", client, secret)
