"""Ending the sessions of a user under attack, and mailing a reset link."""

import json

import pytest

from accounts.errors import InvalidCredentials, InvalidToken, NotLocalUser, SecretSuperseded
from accounts.flows.administration.incidents import log_out_user, mail_reset
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.password.password_reset import reset_password
from accounts.flows.sign_in.sessions import log_in, open_session
from accounts.flows.tokens.api_keys import create_api_key
from accounts.services.access_tokens import reveal_access_token
from accounts.services.credentials import count_live
from accounts.services.mail.outbox import unseal_parameters
from accounts.services.principal import CredentialKind
from models import User

NEW_PASSWORD = "Silent meadow 83 lantern"


def _on(env, user, act, **options):
    return env.act(lambda session: act(session, session.get_one(User, user.user_id), **options))


def _acts(env):
    return [
        json.loads(row["details"])["act"]
        for row in env.rows("security_event")
        if row["kind"] == "authz_admin"
    ]


def _secret(env):
    return env.act(unseal_parameters, env.messages()[-1])["secret"]


def _key(env, user):
    options = {"scopes": ["me/profile:read"], "dataset_access_mode": "all_available"}
    return env.act(create_api_key, user.principal, name="Key", expires_at=None, **options)[1]


def test_logout_ends_sessions_and_tells_what_remains(env, alice, bob):
    """SE-07, attack finding 10: the effects on each kind are in the table of credentials."""
    env.act(open_session, alice.user_id)
    key = _key(env, alice)
    logout = _on(env, alice, log_out_user)
    assert logout.ended == {"session": 2, "apiKey": 0, "pat": 0}
    assert logout.remaining == {"session": 0, "apiKey": 1, "pat": 0}
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    assert env.authenticate(CredentialKind.API_KEY, key).user.user_id == alice.user_id
    assert env.authenticate(CredentialKind.SESSION, bob.token).user == bob.view


def test_logout_of_everything_ends_keys_and_replaces_the_access_token(env, alice):
    """SE-07, attack finding 10."""
    key = _key(env, alice)
    token = env.act(reveal_access_token, alice.view)
    logout = _on(env, alice, log_out_user, everything=True)
    assert logout.ended == {"session": 1, "apiKey": 1, "pat": 0}
    assert set(logout.remaining.values()) == {0}
    for kind, dead in ((CredentialKind.API_KEY, key), (CredentialKind.ACCESS_TOKEN, token)):
        with pytest.raises(InvalidToken):
            env.authenticate(kind, dead)


def test_logout_can_be_repeated(env, alice):
    """The second one finds nothing, and ends sessions that were opened since."""
    for ended in (1, 0):
        assert _on(env, alice, log_out_user).ended["session"] == ended
    env.act(open_session, alice.user_id)
    assert _on(env, alice, log_out_user).ended["session"] == 1
    assert _acts(env) == ["user_logged_out"] * 3


def test_live_credentials_are_counted(env, alice, clock):
    """Expired and revoked ones are not."""
    assert env.act(count_live, alice.user_id) == {"session": 1, "apiKey": 0, "pat": 0}
    clock.move(days=31)
    assert set(env.act(count_live, alice.user_id).values()) == {0}


def test_reset_is_mailed_to_the_recovery_address(env, alice):
    """EM-02, attack finding 10: a thief may have changed the current one."""
    _, secret = env.act(request_email_change, alice.view, "thief@example.org")
    env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)
    assert _on(env, alice, mail_reset) == alice.view.email
    message = env.messages()[-1]
    assert (message.kind, message.recipient) == ("password_reset", alice.view.email)
    env.act(reset_password, secret=_secret(env), new=NEW_PASSWORD)
    assert env.view(alice.user_id).email == alice.view.email
    assert _acts(env) == ["password_reset_mailed"]


def test_second_reset_supersedes_the_first(env, alice):
    """EM-07: there is one valid link."""
    _on(env, alice, mail_reset)
    first = _secret(env)
    _on(env, alice, mail_reset)
    with pytest.raises(SecretSuperseded):
        env.act(reset_password, secret=first, new=NEW_PASSWORD)
    env.act(reset_password, secret=_secret(env), new=NEW_PASSWORD)


@pytest.mark.parametrize("expired", [False, True])
def test_present_password_works_until_the_reset_unless_it_is_expired(env, alice, expired):
    """PW-12: an attacker may know it; the link works in either case."""
    _on(env, alice, mail_reset, expire_password=expired)
    secret = _secret(env)
    try:
        env.act(log_in, email=alice.view.email, password=alice.password, user_agent=None)
    except InvalidCredentials:
        assert expired
    else:
        assert not expired
    env.act(reset_password, secret=secret, new=NEW_PASSWORD)
    env.act(log_in, email=alice.view.email, password=NEW_PASSWORD, user_agent=None)


def test_user_of_an_identity_provider_gets_no_reset(env):
    """There is no password here."""
    user = env.user("carol@example.com", provider="oidc")
    with pytest.raises(NotLocalUser):
        _on(env, user, mail_reset)
    assert env.messages() == []
