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
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.email.email_change import request_email_change
from accounts.flows.email.email_verification import (
    confirm_email,
    request_again,
    request_email_verification,
)
from accounts.services.outbox import open_parameters


def _mailed(env):
    """The secrets that were mailed, in the order of their messages."""
    return [env.act(open_parameters, message)["secret"] for message in env.messages()]


@pytest.fixture
def secret(env, alice):
    env.act(request_email_verification, alice.view)
    return _mailed(env)[0]


def test_the_secret_is_mailed_and_not_returned(env, alice):
    """Only whoever reads the mail has it (EM-03)."""
    assert env.act(request_email_verification, alice.view) is None
    (message,) = env.messages()
    assert (message.kind, message.recipient) == ("email_verification", alice.view.email)


def test_the_mailed_secret_verifies_the_address(env, alice, clock, secret):
    """When it was verified is written down."""
    assert not env.view(alice.user_id).email_verified
    clock.move(hours=1)
    env.act(confirm_email, secret)
    assert env.view(alice.user_id).email_verified_at == clock.now


def test_a_verified_address_is_not_mailed_again(env, alice, secret):
    """Asking again does nothing, and is no error."""
    env.act(confirm_email, secret)
    env.act(request_email_verification, env.view(alice.user_id))
    assert env.count("outbox_message") == 1


def test_asking_twice_leaves_the_later_secret(env, alice, secret):
    """The earlier one is superseded (EM-09)."""
    env.clock.move(minutes=1)
    env.act(request_email_verification, alice.view)
    earlier, later = _mailed(env)
    assert earlier == secret
    with pytest.raises(SecretSuperseded):
        env.act(confirm_email, secret)
    env.act(confirm_email, later)


def test_a_secret_verifies_once(env, secret):
    """The second use is told as one (EM-07)."""
    env.act(confirm_email, secret)
    with pytest.raises(SecretUsed):
        env.act(confirm_email, secret)


def test_a_secret_verifies_for_a_day(env, clock, secret):
    """Its time is judged when it is used (EM-05)."""
    clock.move(hours=24)
    with pytest.raises(SecretExpired):
        env.act(confirm_email, secret)


def test_a_secret_for_a_change_verifies_nothing(env, alice):
    """The one that the client gets must not verify the address (EM-08)."""
    _, changing = env.act(request_email_change, alice.view, "new@example.com")
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, changing)


def test_a_secret_for_an_address_that_was_left_verifies_nothing(env, secret):
    """It is bound to the address that it was mailed to (EM-08)."""
    env.execute("UPDATE \"user\" SET email_canonical = 'other@example.com'")
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, secret)
    assert env.rows("one_time_secret")[0]["used_at"] is None


def test_a_disabled_user_verifies_nothing(env, secret):
    """Being disabled ends what was pending (EM-09, SE-06)."""
    env.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, secret)


def test_nobody_of_a_disabled_tenant_verifies_anything(env, alice, secret):
    """The tenant is looked at, not only the user (AZ-15)."""
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, secret)


def _mailed_secret(env):
    return env.act(open_parameters, env.messages()[-1])["secret"]


def test_another_secret_is_mailed_for_one_that_is_over(env, alice, clock):
    """To the same address; whoever has the old one has read the mail there."""
    env.act(request_email_verification, alice.view)
    old = _mailed_secret(env)
    clock.move(days=2)
    env.act(request_again, old)
    assert env.messages()[-1].recipient == alice.view.email
    env.act(confirm_email, _mailed_secret(env))
    assert env.view(alice.user_id).email_verified


def test_no_other_secret_is_mailed_to_an_address_that_is_verified(env, alice):
    """There is nothing to verify."""
    env.act(request_email_verification, alice.view)
    secret = _mailed_secret(env)
    env.act(confirm_email, secret)
    before = env.count("outbox_message")
    env.act(request_again, secret)
    assert env.count("outbox_message") == before


def test_no_other_secret_is_mailed_for_a_wrong_one_or_of_a_disabled_tenant(env, alice):
    """EM-08, SE-06: nobody learns by it whose it was."""
    env.act(request_email_verification, alice.view)
    secret = _mailed_secret(env)
    env.act(disable_tenant, alice.view.tenant_id)
    for wrong in (secret, tokens.mint(tokens.ONE_TIME_SECRET)):
        with pytest.raises(SecretInvalid):
            env.act(request_again, wrong)


def test_an_address_is_verified_by_so_many_mails_an_hour(env, alice):
    """EM-14: whoever is logged in cannot fill a stranger's inbox either."""
    for _ in range(5):
        env.act(request_email_verification, alice.view)
    with pytest.raises(TooManyAttempts):
        env.act(request_email_verification, alice.view)
