"""Telling a person by mail what was done in their account."""

from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.services.notifications import post_notification
from accounts.services.outbox import MessageKind


def _told(env, kind):
    return [message.recipient for message in env.messages() if message.kind == kind]


def _change_address(env, user, email):
    _, secret = env.act(request_email_change, user.view, email)
    env.act(validate_email_change, identity_id=user.view.identity_id, secret=secret)
    return env.view(user.user_id)


def test_whoever_has_one_address_is_told_once(env, alice):
    env.act(post_notification, MessageKind.API_KEY_CREATED, alice.view, name="A key")
    assert _told(env, "api_key_created") == [alice.view.email]


def test_the_owner_is_told_though_the_address_was_changed(env, alice):
    """EM-02: a thief may have changed it, and makes a key that outlasts the session."""
    thief = _change_address(env, alice, "thief@example.org")
    for kind in (MessageKind.API_KEY_CREATED, MessageKind.PAT_CREATED):
        env.act(post_notification, kind, thief, name="A key")
        assert _told(env, kind) == ["thief@example.org", alice.view.email]


def test_nobody_is_told_without_end(env, alice, bob, clock):
    """EM-14: the address may be a stranger's, who is not to be mailed for each of any number."""
    for _ in range(20):
        env.act(post_notification, MessageKind.API_KEY_CREATED, alice.view, name="A key")
    assert _told(env, "api_key_created") == [alice.view.email] * 5
    # Of another kind, to another person, and later on there is more to tell.
    env.act(post_notification, MessageKind.PASSWORD_CHANGED, alice.view)
    env.act(post_notification, MessageKind.API_KEY_CREATED, bob.view, name="A key")
    clock.move(hours=1)
    env.act(post_notification, MessageKind.API_KEY_CREATED, alice.view, name="A key")
    assert _told(env, "password_changed") == [alice.view.email]
    assert _told(env, "api_key_created")[5:] == [bob.view.email, alice.view.email]
