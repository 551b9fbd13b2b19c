"""Verifying that a user reads the mail of their address."""

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
    request_email_verification,
    resend_verification,
)
from accounts.limits import RateLimit
from accounts.services.mail.outbox import unseal_parameters


def _mailed(env):
    """Return the mailed secrets in the order of their messages."""
    return [env.act(unseal_parameters, message)["secret"] for message in env.messages()]


@pytest.fixture
def secret(env, alice):
    env.act(request_email_verification, alice.view)
    return _mailed(env)[0]


def test_secret_is_mailed_and_not_returned(env, alice):
    """EM-03: only a reader of the mail has it."""
    assert env.act(request_email_verification, alice.view) is None
    (message,) = env.messages()
    assert (message.kind, message.recipient) == ("email_verification", alice.view.email)


def test_mailed_secret_verifies_the_address(env, alice, clock, secret):
    """The time of verification is recorded."""
    assert not env.view(alice.user_id).email_verified
    clock.move(hours=1)
    env.act(confirm_email, secret)
    assert env.view(alice.user_id).email_verified_at == clock.now


def test_verified_address_is_not_mailed_again(env, alice, secret):
    """A repeated request is no error."""
    env.act(confirm_email, secret)
    env.act(request_email_verification, env.view(alice.user_id))
    assert env.count("outbox_message") == 1


def test_second_request_supersedes_the_first_secret(env, alice, secret):
    """EM-09: the earlier secret is superseded, ten minutes after its mail."""
    env.clock.move(minutes=10)
    env.act(request_email_verification, alice.view)
    earlier, later = _mailed(env)
    assert earlier == secret
    with pytest.raises(SecretSuperseded):
        env.act(confirm_email, secret)
    env.act(confirm_email, later)


def test_request_within_ten_minutes_keeps_the_secret(env, alice, clock, secret):
    """EM-14, attack finding 18: a repeated request is no error, and mails nothing."""
    for _ in range(20):
        clock.move(seconds=29)
        env.act(request_email_verification, alice.view)
    assert _mailed(env) == [secret]
    env.act(confirm_email, secret)


def test_owner_of_the_address_is_not_flooded(env, alice, clock, secret):
    """EM-14, attack finding 18: another person may have signed up with the address."""
    assert secret
    for _ in range(24 * 6):
        env.act(request_email_verification, alice.view)
        clock.move(minutes=10)
    mailed = _mailed(env)
    assert len(mailed) <= 12
    env.act(confirm_email, mailed[-1])


def test_secret_verifies_once(env, secret):
    """EM-07: the second use is reported as such."""
    env.act(confirm_email, secret)
    with pytest.raises(SecretUsed):
        env.act(confirm_email, secret)


def test_secret_expires_after_a_day(env, clock, secret):
    """EM-05: expiry is checked at use."""
    clock.move(hours=24)
    with pytest.raises(SecretExpired):
        env.act(confirm_email, secret)


def test_email_change_secret_verifies_nothing(env, alice):
    """EM-08: the secret that the client gets must not verify the address."""
    _, change_secret = env.act(request_email_change, alice.view, "new@example.com")
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, change_secret)


def test_secret_of_a_former_address_verifies_nothing(env, secret):
    """EM-08: it is bound to the address that it was mailed to."""
    env.execute("UPDATE \"user\" SET email_canonical = 'other@example.com'")
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, secret)
    assert env.rows("one_time_secret")[0]["used_at"] is None


def test_disabled_user_cannot_verify(env, secret):
    """EM-09, SE-06: disabling a user ends pending verifications."""
    env.execute('UPDATE "user" SET disabled_at = created_at')
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, secret)


def test_user_of_disabled_tenant_cannot_verify(env, alice, secret):
    """AZ-15: the tenant is checked, not only the user."""
    env.act(disable_tenant, alice.view.tenant_id)
    with pytest.raises(SecretInvalid):
        env.act(confirm_email, secret)


def _mailed_secret(env):
    return env.act(unseal_parameters, env.messages()[-1])["secret"]


def test_expired_secret_can_be_requested_again(env, alice, clock):
    """It goes to the same address; the old secret shows that its holder reads the mail there."""
    env.act(request_email_verification, alice.view)
    old = _mailed_secret(env)
    clock.move(days=2)
    env.act(resend_verification, old)
    assert env.messages()[-1].recipient == alice.view.email
    env.act(confirm_email, _mailed_secret(env))
    assert env.view(alice.user_id).email_verified


def test_no_new_secret_is_mailed_to_a_verified_address(env, alice):
    """There is nothing left to verify."""
    env.act(request_email_verification, alice.view)
    secret = _mailed_secret(env)
    env.act(confirm_email, secret)
    count_before = env.count("outbox_message")
    env.act(resend_verification, secret)
    assert env.count("outbox_message") == count_before


def test_no_new_secret_is_mailed_for_a_wrong_secret_or_disabled_tenant(env, alice):
    """EM-08, SE-06: the refusal does not reveal the owner."""
    env.act(request_email_verification, alice.view)
    secret = _mailed_secret(env)
    env.act(disable_tenant, alice.view.tenant_id)
    for wrong in (secret, tokens.mint(tokens.ONE_TIME_SECRET)):
        with pytest.raises(SecretInvalid):
            env.act(resend_verification, wrong)


def test_requests_of_one_source_are_rate_limited(make_env):
    """EM-14: all of its users together."""
    env = make_env(source_budget=RateLimit(3, 600))
    users = [env.user(f"person{number}@example.com") for number in range(4)]
    for user in users[:3]:
        env.act(request_email_verification, user.view)
    with pytest.raises(TooManyAttempts):
        env.act(request_email_verification, users[3].view)
