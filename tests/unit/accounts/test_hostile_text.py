"""Text that would be harmful if it were interpolated into a statement."""

import pytest

from accounts.errors import InvalidCredentials, InvalidToken, NotFound
from accounts.flows.profile.profile import change_profile
from accounts.flows.profile.settings import change_settings, find_settings
from accounts.flows.sign_in.sessions import list_sessions, log_in, open_session, revoke_session
from accounts.flows.tokens.api_keys import create_api_key, list_api_keys
from accounts.flows.tokens.personal_access_tokens import find_pat, revoke_pat
from accounts.services.principal import CredentialKind

HOSTILE = [
    "'; DROP TABLE user_settings; --",
    "' OR '1'='1",
    '" OR ""="',
    '\\\'; DELETE FROM "user" WHERE 1=1; --',
    "%' AND 1=1 --",
    "100%s %(name)s %%",
    "$1 :name ? ?1 @name {0} {name}",
    "/* */ UNION SELECT token_digest FROM login_session",
    "%_",
]

hostile = pytest.mark.parametrize("text", HOSTILE)


@pytest.fixture
def bob(env, alice):  # noqa: ARG001 # a second user
    return env.user("bob@example.com")


@hostile
def test_hostile_text_is_stored_unchanged(env, alice, bob, text):
    """DB-16: in text columns, in JSON, and in the event of the change."""
    other_view = env.view(bob.user_id)
    env.act(change_profile, alice.view, {"display_name": text, "first_name": text})
    env.act(change_settings, alice.user_id, {text: text})
    env.act(open_session, alice.user_id, user_agent=text)
    env.act(
        create_api_key,
        alice.principal,
        name=text,
        scopes=["keys:read"],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    view = env.view(alice.user_id)
    assert (view.display_name, view.first_name) == (text, text)
    assert env.act(find_settings, alice.user_id) == {text: text}
    assert text in [listed.user_agent for listed in env.act(list_sessions, alice.user_id)]
    assert [listed.name for listed in env.act(list_api_keys, alice.user_id)] == [text]
    assert env.view(bob.user_id) == other_view
    assert env.act(find_settings, bob.user_id) == {}


@hostile
def test_hostile_text_finds_nothing(env, alice, bob, text):
    """DB-16: neither a row of another user, nor more than one."""
    with pytest.raises(InvalidCredentials):
        env.act(log_in, email=f"{text}@example.com", password=text, user_agent=None)
    with pytest.raises(NotFound):
        env.act(revoke_session, alice.view, text)
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, alice.view, text)
    for kind in (CredentialKind.SESSION, CredentialKind.PAT, CredentialKind.ACCESS_TOKEN):
        with pytest.raises(InvalidToken):
            env.authenticate(kind, text)
    assert len(env.act(list_sessions, bob.user_id)) == 1
    assert env.count("user") == 2
