"""Telling a person by mail what was done in their account."""

from accounts.flows.email_change import request_email_change, validate_email_change
from accounts.services.notifications import post_notice
from accounts.services.outbox import MessageKind


def _told(house, kind):
    return [message.recipient for message in house.messages() if message.kind == kind]


def _change_address(house, resident, email):
    _, secret = house.act(request_email_change, resident.person, email)
    house.act(validate_email_change, identity_id=resident.person.identity_id, secret=secret)
    return house.person(resident.user_id)


def test_whoever_has_one_address_is_told_once(house, alice):
    house.act(post_notice, MessageKind.API_KEY_CREATED, alice.person, name="A key")
    assert _told(house, "api_key_created") == [alice.person.email]


def test_the_owner_is_told_though_the_address_was_changed(house, alice):
    """EM-02: a thief may have changed it, and makes a key that outlasts the session."""
    thief = _change_address(house, alice, "thief@example.org")
    for kind in (MessageKind.API_KEY_CREATED, MessageKind.PAT_CREATED):
        house.act(post_notice, kind, thief, name="A key")
        assert _told(house, kind) == ["thief@example.org", alice.person.email]


def test_nobody_is_told_without_end(house, alice, bob, clock):
    """EM-14: the address may be a stranger's, who is not to be mailed for each of any number."""
    for _ in range(20):
        house.act(post_notice, MessageKind.API_KEY_CREATED, alice.person, name="A key")
    assert _told(house, "api_key_created") == [alice.person.email] * 5
    # Of another kind, to another person, and later on there is more to tell.
    house.act(post_notice, MessageKind.PASSWORD_CHANGED, alice.person)
    house.act(post_notice, MessageKind.API_KEY_CREATED, bob.person, name="A key")
    clock.move(hours=1)
    house.act(post_notice, MessageKind.API_KEY_CREATED, alice.person, name="A key")
    assert _told(house, "password_changed") == [alice.person.email]
    assert _told(house, "api_key_created")[5:] == [bob.person.email, alice.person.email]
