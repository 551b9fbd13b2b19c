"""Verifying that a person reads the mail of their address."""

import pytest

from accounts.crypto import tokens
from accounts.errors import (
    SecretExpired,
    SecretInvalid,
    SecretSuperseded,
    SecretUsed,
    TooManyAttempts,
)
from accounts.flows.email_change import request_email_change
from accounts.flows.email_verification import (
    confirm_email,
    request_again,
    request_email_verification,
)
from accounts.flows.tenants import disable_tenant
from accounts.services.outbox import open_parameters


def _mailed(house):
    """The secrets that were mailed, in the order of their messages."""
    return [house.act(open_parameters, message)["secret"] for message in house.messages()]


@pytest.fixture
def secret(house, alice):
    house.act(request_email_verification, alice.person)
    return _mailed(house)[0]


def test_the_secret_is_mailed_and_not_returned(house, alice):
    """Only whoever reads the mail has it (EM-03)."""
    assert house.act(request_email_verification, alice.person) is None
    (message,) = house.messages()
    assert (message.kind, message.recipient) == ("email_verification", alice.person.email)


def test_the_mailed_secret_verifies_the_address(house, alice, clock, secret):
    """When it was verified is written down."""
    assert not house.person(alice.user_id).email_verified
    clock.move(hours=1)
    house.act(confirm_email, secret)
    assert house.person(alice.user_id).email_verified_at == clock.now


def test_a_verified_address_is_not_mailed_again(house, alice, secret):
    """Asking again does nothing, and is no error."""
    house.act(confirm_email, secret)
    house.act(request_email_verification, house.person(alice.user_id))
    assert house.count("outbox_message") == 1


def test_asking_twice_leaves_the_later_secret(house, alice, secret):
    """The earlier one is superseded (EM-09)."""
    house.clock.move(minutes=1)
    house.act(request_email_verification, alice.person)
    earlier, later = _mailed(house)
    assert earlier == secret
    with pytest.raises(SecretSuperseded):
        house.act(confirm_email, secret)
    house.act(confirm_email, later)


def test_a_secret_verifies_once(house, secret):
    """The second use is told as one (EM-07)."""
    house.act(confirm_email, secret)
    with pytest.raises(SecretUsed):
        house.act(confirm_email, secret)


def test_a_secret_verifies_for_a_day(house, clock, secret):
    """Its time is judged when it is used (EM-05)."""
    clock.move(hours=24)
    with pytest.raises(SecretExpired):
        house.act(confirm_email, secret)


def test_a_secret_for_a_change_verifies_nothing(house, alice):
    """The one that the client gets must not verify the address (EM-08)."""
    _, changing = house.act(request_email_change, alice.person, "new@example.com")
    with pytest.raises(SecretInvalid):
        house.act(confirm_email, changing)


def test_a_secret_for_an_address_that_was_left_verifies_nothing(house, secret):
    """It is bound to the address that it was mailed to (EM-08)."""
    house.execute("UPDATE \"user\" SET email_canonical = 'other@example.com'")
    with pytest.raises(SecretInvalid):
        house.act(confirm_email, secret)
    assert house.rows("one_time_secret")[0]["used_at"] is None


def test_a_disabled_user_verifies_nothing(house, secret):
    """Being disabled ends what was pending (EM-09, SE-06)."""
    house.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(SecretInvalid):
        house.act(confirm_email, secret)


def test_nobody_of_a_disabled_tenant_verifies_anything(house, alice, secret):
    """The tenant is looked at, not only the user (AZ-15)."""
    house.act(disable_tenant, alice.person.tenant_id)
    with pytest.raises(SecretInvalid):
        house.act(confirm_email, secret)


def _mailed_secret(house):
    return house.act(open_parameters, house.messages()[-1])["secret"]


def test_another_secret_is_mailed_for_one_that_is_over(house, alice, clock):
    """To the same address; whoever has the old one has read the mail there."""
    house.act(request_email_verification, alice.person)
    old = _mailed_secret(house)
    clock.move(days=2)
    house.act(request_again, old)
    assert house.messages()[-1].recipient == alice.person.email
    house.act(confirm_email, _mailed_secret(house))
    assert house.person(alice.user_id).email_verified


def test_no_other_secret_is_mailed_to_an_address_that_is_verified(house, alice):
    """There is nothing to verify."""
    house.act(request_email_verification, alice.person)
    secret = _mailed_secret(house)
    house.act(confirm_email, secret)
    before = house.count("outbox_message")
    house.act(request_again, secret)
    assert house.count("outbox_message") == before


def test_no_other_secret_is_mailed_for_a_wrong_one_or_of_a_disabled_tenant(house, alice):
    """EM-08, SE-06: nobody learns by it whose it was."""
    house.act(request_email_verification, alice.person)
    secret = _mailed_secret(house)
    house.act(disable_tenant, alice.person.tenant_id)
    for wrong in (secret, tokens.mint(tokens.ONE_TIME_SECRET)):
        with pytest.raises(SecretInvalid):
            house.act(request_again, wrong)


def test_an_address_is_verified_by_so_many_mails_an_hour(house, alice):
    """EM-14: whoever is logged in cannot fill a stranger's inbox either."""
    for _ in range(5):
        house.act(request_email_verification, alice.person)
    with pytest.raises(TooManyAttempts):
        house.act(request_email_verification, alice.person)
