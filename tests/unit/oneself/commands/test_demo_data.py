"""The demo data: whom it makes, and that what it gives out works, also the second time."""

from datetime import timedelta
from typing import get_args

import pytest

from accounts.errors import InvalidCredentials, InvalidToken
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user, find_user_by_email
from accounts.flows.sign_in.sessions import list_sessions, log_in, open_session
from accounts.flows.tokens.api_keys import create_api_key, list_api_keys
from accounts.flows.tokens.personal_access_tokens import create_pat, list_pats
from accounts.services.access_tokens import regenerate_access_token
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.principal import CredentialKind
from models import wire
from oneself.commands.demo_data import make_demo

KINDS = {
    "session_token": CredentialKind.SESSION,
    "api_key": CredentialKind.API_KEY,
    "access_token": CredentialKind.ACCESS_TOKEN,
    "pat": CredentialKind.PAT,
}
OWNERS = ("base", "other_tenant")
OWNER_KEYS = {
    *("tenant_id", "tenant_uuid", "user_id", "email", "password", "session_token"),
    *("api_key", "access_token", "pat", "client_id", "client_secret", "jwt", "refresh_token"),
}


@pytest.fixture
def made(database):
    return make_demo(database)


def _log_in(env, account):
    return env.act(
        log_in, email=account["email"], password=account["password"], user_agent=None
    ).user


def _check_all(env, made):
    """Every credential of the data is its owner's, and works."""
    for name in OWNERS:
        account = made[name]
        for field, kind in KINDS.items():
            person = env.recognise(kind, account[field]).user
            assert (person.user_id, person.tenant_id) == (account["user_id"], account["tenant_id"])
            assert (person.email, person.tenant_uuid) == (account["email"], account["tenant_uuid"])
        assert _log_in(env, account).user_id == account["user_id"]
        client = env.act(
            authenticate_client,
            ClientCredentials(account["client_id"], account["client_secret"]),
            tenant_id=account["tenant_id"],
        )
        assert set(client.scopes) == SESSION_RIGHTS
    token = made["sso_user"]["session_token"]
    person = env.recognise(CredentialKind.SESSION, token).user
    assert (person.user_id, person.provider) == (made["sso_user"]["user_id"], "oidc")
    with pytest.raises(InvalidCredentials):
        _log_in(env, made["disabled_user"])


def test_the_data_has_these_names(made):
    """The contract suite and others read them."""
    assert {name: set(account) for name, account in made.items()} == {
        "base": OWNER_KEYS,
        "other_tenant": OWNER_KEYS,
        "sso_user": {"tenant_id", "tenant_uuid", "user_id", "email", "session_token"},
        "disabled_user": {"email", "password"},
    }


def test_every_credential_works(env, made):
    """All but the disabled user's, whose password is right and does not help."""
    _check_all(env, made)


def test_the_people_are_in_the_tenants_that_they_should_be(env, made):
    """Two tenants, and the users of the first in the first."""
    alice, bruno = (env.view(made[name]["user_id"]) for name in OWNERS)
    assert (alice.name, alice.tenant_display_name) == ("Alice Chen", "Acme Corp")
    assert (bruno.name, bruno.tenant_display_name) == ("Bruno Keller", "Globex")
    assert alice.roles == bruno.roles == ["owner"]
    assert alice.email_verified
    emil = env.act(find_user_by_email, made["disabled_user"]["email"])
    assert {made["sso_user"]["tenant_id"], emil.tenant_id} == {alice.tenant_id}
    assert emil.disabled_at is not None


def test_programs_get_all_the_scopes_that_there_are(env, made):
    """An API key those of the account that API keys may have, a token all."""
    key = env.recognise(CredentialKind.API_KEY, made["base"]["api_key"])
    assert key.credential.rights == SESSION_RIGHTS & set(get_args(wire.ApiKeyScope))
    pat = env.recognise(CredentialKind.PAT, made["base"]["pat"])
    assert pat.credential.rights == SESSION_RIGHTS


def test_a_second_run_gives_the_same_people_new_credentials(env, database, made):
    """The old ones are dead, so that none lies about where the first output went."""
    again = make_demo(database)
    _check_all(env, again)
    for name in OWNERS:
        before, after = made[name], again[name]
        kept = {"tenant_id", "tenant_uuid", "user_id", "email", "client_id", "access_token"}
        assert {field for field in before if before[field] == after[field]} == kept
        for field in ("session_token", "api_key", "pat"):
            with pytest.raises(InvalidToken):
                env.recognise(KINDS[field], before[field])
        with pytest.raises(InvalidCredentials):
            _log_in(env, before)


def test_runs_do_not_pile_up(env, database, made):
    """One of each, and as many people as before."""
    for _ in range(3):
        make_demo(database)
    user_id = made["base"]["user_id"]
    assert len(env.act(list_sessions, user_id)) == 1
    assert len(env.act(list_api_keys, user_id)) == 1
    assert len(env.act(list_pats, user_id)) == 1
    assert [env.count(table) for table in ("tenant", "user", "client")] == [2, 4, 2]


def test_what_the_people_made_themselves_is_left_alone(env, database, made):
    """Only what is called demo is the demo's."""
    alice = made["base"]
    principal = env.recognise(CredentialKind.SESSION, alice["session_token"])
    own = {"name": "mine", "scopes": ["me/profile:read"]}
    _, key = env.act(
        create_api_key, principal, dataset_access_mode="all_available", expires_at=None, **own
    )
    _, pat = env.act(
        create_pat,
        principal,
        expires_at=env.clock.now + timedelta(days=1),
        client_id=alice["client_id"],
        client_secret=alice["client_secret"],
        **own,
    )
    token = env.act(open_session, alice["user_id"]).token
    make_demo(database)
    env.recognise(CredentialKind.API_KEY, key)
    env.recognise(CredentialKind.PAT, pat)
    env.recognise(CredentialKind.SESSION, token)


def test_what_was_tried_out_is_mended(env, database, made):
    """A disabled owner or tenant, and an access token that was regenerated."""
    alice = made["base"]
    env.act(regenerate_access_token, env.view(alice["user_id"]))
    env.act(lambda session: disable_user(session, find_user_by_email(session, alice["email"])))
    env.act(disable_tenant, made["other_tenant"]["tenant_id"])
    _check_all(env, make_demo(database))


def test_an_owner_who_left_is_brought_back(env, database, made):
    """Whoever tried a change of the address finds the demo whole all the same."""
    env.execute(
        'UPDATE "user" SET email = ?, email_canonical = ? WHERE id = ?',
        "elsewhere@example.org",
        "elsewhere@example.org",
        made["base"]["user_id"],
    )
    again = make_demo(database)
    assert again["base"]["user_id"] == made["base"]["user_id"]
    assert again["base"]["tenant_id"] == made["base"]["tenant_id"]
    _check_all(env, again)


def test_a_tenant_of_real_people_is_left_alone(env, database):
    """Although it has the name of the demo's."""
    real = env.tenant("Acme Corp")
    made = make_demo(database)
    assert made["base"]["tenant_id"] != real.id


def test_passwords_meet_the_rules_of_the_house(open_house):
    """However long they have to be; and no two runs give the same."""
    database = open_house(password_min_length=64).database
    passwords = {make_demo(database)["base"]["password"] for _ in range(2)}
    assert len(passwords) == 2
    assert all(len(password) >= 64 for password in passwords)
