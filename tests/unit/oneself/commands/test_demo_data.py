"""The demo data: its users, and credentials that work, also after a second run."""

from datetime import timedelta
from typing import get_args

import pytest

from accounts.errors import InvalidCredentials, InvalidToken
from accounts.flows.administration.clients import disable_client, remove_client, renew_client_secret
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user, find_user_by_email
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.sign_in.sessions import list_sessions, log_in, open_session
from accounts.flows.tokens.api_keys import create_api_key, list_api_keys, revoke_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat, list_pats
from accounts.services.access_tokens import regenerate_access_token
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.principal import CredentialKind
from models import Client, wire
from oneself.commands.demo_data import has_only_real_users, make_demo
from oneself.commands.demo_spares import make_spares

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
def demo(database):
    return make_demo(database)


def _log_in(env, account):
    return env.act(
        log_in, email=account["email"], password=account["password"], user_agent=None
    ).user


def _check_credentials(env, demo):
    """Check that every credential works, and is its owner's."""
    for name in OWNERS:
        account = demo[name]
        for field, kind in KINDS.items():
            view = env.authenticate(kind, account[field]).user
            assert (view.user_id, view.tenant_id) == (account["user_id"], account["tenant_id"])
            assert (view.email, view.tenant_uuid) == (account["email"], account["tenant_uuid"])
        assert _log_in(env, account).user_id == account["user_id"]
        client = env.act(
            authenticate_client,
            ClientCredentials(account["client_id"], account["client_secret"]),
            tenant_id=account["tenant_id"],
        )
        assert set(client.scopes) == SESSION_RIGHTS
    token = demo["sso_user"]["session_token"]
    view = env.authenticate(CredentialKind.SESSION, token).user
    assert (view.user_id, view.provider) == (demo["sso_user"]["user_id"], "oidc")
    with pytest.raises(InvalidCredentials):
        _log_in(env, demo["disabled_user"])


def test_demo_has_documented_keys(demo):
    """The contract suite reads them."""
    assert {name: set(account) for name, account in demo.items()} == {
        "base": OWNER_KEYS,
        "other_tenant": OWNER_KEYS,
        "sso_user": {"tenant_id", "tenant_uuid", "user_id", "email", "session_token"},
        "disabled_user": {"email", "password"},
    }


def test_every_credential_works(env, demo):
    """Except the disabled user's correct password."""
    _check_credentials(env, demo)


def test_users_are_in_the_right_tenants(env, demo):
    alice, bruno = (env.view(demo[name]["user_id"]) for name in OWNERS)
    assert (alice.name, alice.tenant_display_name) == ("Alice Chen", "Acme Corp")
    assert (bruno.name, bruno.tenant_display_name) == ("Bruno Keller", "Globex")
    assert alice.roles == bruno.roles == ["owner"]
    assert alice.email_verified
    emil = env.act(find_user_by_email, demo["disabled_user"]["email"])
    assert {demo["sso_user"]["tenant_id"], emil.tenant_id} == {alice.tenant_id}
    assert emil.disabled_at is not None


def test_keys_and_tokens_have_all_scopes(env, demo):
    key = env.authenticate(CredentialKind.API_KEY, demo["base"]["api_key"])
    assert key.credential.rights == SESSION_RIGHTS & set(get_args(wire.ApiKeyScope))
    pat = env.authenticate(CredentialKind.PAT, demo["base"]["pat"])
    assert pat.credential.rights == SESSION_RIGHTS


def test_second_run_replaces_the_credentials(env, database, demo):
    """The old ones stop working, wherever the first output went."""
    again = make_demo(database)
    _check_credentials(env, again)
    for name in OWNERS:
        before, after = demo[name], again[name]
        kept = {"tenant_id", "tenant_uuid", "user_id", "email", "client_id", "access_token"}
        assert {field for field in before if before[field] == after[field]} == kept
        for field in ("session_token", "api_key", "pat"):
            with pytest.raises(InvalidToken):
                env.authenticate(KINDS[field], before[field])
        with pytest.raises(InvalidCredentials):
            _log_in(env, before)


def test_credentials_of_a_former_run_are_kept(env, database, demo):
    """newcomer F9: after a restart, and beside a second instance."""
    again = make_demo(database, demo)
    _check_credentials(env, demo)
    for name in OWNERS:
        changed = {field for field in demo[name] if demo[name][field] != again[name][field]}
        assert changed == {"jwt", "refresh_token"}, "they are short-lived, or used once"
    for name in ("sso_user", "disabled_user"):
        assert again[name] == demo[name]
    again = make_demo(database, {"base": dict.fromkeys(demo["base"], "sess_x")})
    _check_credentials(env, again)


def test_only_ended_credentials_are_replaced(env, database, demo):
    """newcomer F9: those that still work stay, and the password is set back."""
    alice = demo["base"]
    principal = env.authenticate(CredentialKind.SESSION, alice["session_token"])
    (key,) = env.act(list_api_keys, alice["user_id"])
    env.act(revoke_api_key, principal.user, key.id)
    env.act(disable_client, alice["client_id"])
    env.act(lambda session: renew_client_secret(session, session.get(Client, alice["client_id"])))
    env.execute("UPDATE password_record SET record = 'unusable'")
    again = make_demo(database, demo)
    _check_credentials(env, again)
    changed = {field for field in alice if alice[field] != again["base"][field]}
    assert changed == {"api_key", "client_secret", "jwt", "refresh_token"}


def test_former_credentials_of_another_user_or_with_fewer_scopes_are_replaced(env, database, demo):
    """newcomer F9: a kept file cannot turn one user's credential into another's."""
    env.execute("""UPDATE personal_access_token SET scopes = '["me/profile:read"]'""")
    swapped = {**demo, "base": {**demo["base"], "api_key": demo["other_tenant"]["api_key"]}}
    again = make_demo(database, swapped)
    _check_credentials(env, again)
    assert again["base"]["api_key"] not in {each["api_key"] for each in map(demo.get, OWNERS)}
    assert again["base"]["pat"] != demo["base"]["pat"]


def test_former_password_that_breaks_a_new_rule_is_replaced(make_env):
    """newcomer F9."""
    make = make_env()
    former = make_demo(make.database)
    stricter = make_env(password_min_length=64)
    assert make_demo(stricter.database, former)["base"]["password"] != former["base"]["password"]


def test_removed_client_is_added_again(env, database, demo):
    """newcomer F8, F9."""
    env.act(remove_client, demo["base"]["client_id"])
    again = make_demo(database, demo)
    _check_credentials(env, again)
    assert again["base"]["client_id"] != demo["base"]["client_id"]


def test_database_of_real_users_is_recognised(env, database):
    """newcomer F9: `serve --demo` adds no demo users to it."""
    assert not env.act(has_only_real_users)
    env.user("real@example.org")
    assert env.act(has_only_real_users)
    make_demo(database)
    assert not env.act(has_only_real_users)


def test_spare_users_have_tenants_and_clients_of_their_own(env, database, demo):
    """contract F2: what users who sign up over HTTP have not."""
    spares = make_spares(database, 2, {})
    assert [*spares] == ["spare_1", "spare_2"]
    assert len({each["tenant_id"] for each in spares.values()} | {demo["base"]["tenant_id"]}) == 3
    for spare in spares.values():
        assert not _log_in(env, spare).email_verified
        for prefix in ("", "other_", "narrow_", "audience_"):
            client = env.act(
                authenticate_client,
                ClientCredentials(spare[f"{prefix}client_id"], spare[f"{prefix}client_secret"]),
                tenant_id=spare["tenant_id"],
            )
            assert (set(client.scopes) == SESSION_RIGHTS) == (prefix != "narrow_")
            assert (client.audiences != []) == (prefix == "audience_")
        public = {name for name in spare if name.startswith(("public_", "narrow_public_"))}
        assert public == {"public_client_id", "narrow_public_client_id"}
    again = make_spares(database, 2, spares)
    assert again == spares
    assert make_spares(database, 0, spares) == {}


def test_repeated_runs_add_no_rows(env, database, demo):
    for _ in range(3):
        make_demo(database)
    user_id = demo["base"]["user_id"]
    assert len(env.act(list_sessions, user_id)) == 1
    assert len(env.act(list_api_keys, user_id)) == 1
    assert len(env.act(list_pats, user_id)) == 1
    assert [env.count(table) for table in ("tenant", "user", "client")] == [2, 4, 2]


def test_credentials_of_other_names_are_kept(env, database, demo):
    alice = demo["base"]
    principal = env.authenticate(CredentialKind.SESSION, alice["session_token"])
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
    env.authenticate(CredentialKind.API_KEY, key)
    env.authenticate(CredentialKind.PAT, pat)
    env.authenticate(CredentialKind.SESSION, token)


def test_changes_made_in_a_trial_are_undone(env, database, demo):
    """A disabled user or tenant, and a regenerated access token."""
    alice = demo["base"]
    env.act(regenerate_access_token, env.view(alice["user_id"]))
    env.act(lambda session: disable_user(session, find_user_by_email(session, alice["email"])))
    env.act(disable_tenant, demo["other_tenant"]["tenant_id"])
    _check_credentials(env, make_demo(database))


@pytest.mark.parametrize("is_mailed", [False, True])
def test_changed_address_is_restored(env, database, demo, is_mailed):
    """It is only claimed, or owned and can still be undone."""
    view = env.view(demo["base"]["user_id"])
    _, secret = env.act(request_email_change, view, "elsewhere@example.org")
    env.execute("UPDATE one_time_secret SET is_mailed = ?", is_mailed)
    env.act(validate_email_change, identity_id=view.identity_id, secret=secret)
    again = make_demo(database)
    assert again["base"]["user_id"] == view.user_id
    assert again["base"]["tenant_id"] == demo["base"]["tenant_id"]
    assert env.view(view.user_id).email == view.email
    _check_credentials(env, again)


def test_real_tenant_of_the_same_name_is_not_used(env, database):
    real = env.tenant("Acme Corp")
    demo = make_demo(database)
    assert demo["base"]["tenant_id"] != real.id


def test_passwords_meet_the_configured_rules(make_env):
    """And differ between two runs."""
    database = make_env(password_min_length=64).database
    passwords = {make_demo(database)["base"]["password"] for _ in range(2)}
    assert len(passwords) == 2
    assert all(len(password) >= 64 for password in passwords)
