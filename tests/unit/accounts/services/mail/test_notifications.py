"""Email notifications about an account."""

from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.services.mail.outbox import MessageKind, post_notification


def _recipients(env, kind):
    return [message.recipient for message in env.messages() if message.kind == kind]


def _change_address(env, user, email):
    _, secret = env.act(request_email_change, user.view, email)
    env.act(validate_email_change, identity_id=user.view.identity_id, secret=secret)
    return env.view(user.user_id)


def test_only_the_owned_address_is_notified(env, alice):
    """EM-02, EM-14: an attacker may claim the address of a person who must not be flooded."""
    changed_view = _change_address(env, alice, "thief@example.org")
    for kind in (MessageKind.API_KEY_CREATED, MessageKind.PAT_CREATED):
        env.act(post_notification, kind, changed_view, name="A key")
        assert _recipients(env, kind) == [alice.view.email]


def test_notifications_are_rate_limited(env, alice, bob, clock):
    """EM-14: the address may belong to another person, who must not be flooded."""
    for _ in range(20):
        env.act(post_notification, MessageKind.API_KEY_CREATED, alice.view, name="A key")
    assert _recipients(env, "api_key_created") == [alice.view.email] * 5
    # Other kinds, other users and later mails have their own limit.
    env.act(post_notification, MessageKind.PASSWORD_CHANGED, alice.view)
    env.act(post_notification, MessageKind.API_KEY_CREATED, bob.view, name="A key")
    clock.move(hours=1)
    env.act(post_notification, MessageKind.API_KEY_CREATED, alice.view, name="A key")
    assert _recipients(env, "password_changed") == [alice.view.email]
    assert _recipients(env, "api_key_created")[5:] == [bob.view.email, alice.view.email]
