"""Deleting an account, and restoring it within the time of grace."""

from datetime import timedelta

import orjson
import pytest

from accounts.crypto.keyring import Purpose
from accounts.errors import (
    InvalidCredentials,
    InvalidToken,
    NotFound,
    SecretExpired,
    SecretSuperseded,
    SecretUsed,
)
from accounts.flows.administration.users import disable_user
from accounts.flows.deletion.account_deletion import delete_account, restore_account, restore_user
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.password.password_reset import mail_requested_resets, request_password_reset
from accounts.flows.sign_in.sessions import log_in
from accounts.services.principal import CredentialKind
from models import User


def _secrets(env, kind="account_deleted"):
    """Return the secret mailed to each address."""
    return {
        message.recipient: orjson.loads(
            env.keys.open(Purpose.OUTBOX, message.parameters_sealed, message.id)
        )["secret"]
        for message in env.messages()
        if message.kind == kind
    }


def _log_in(env, user):
    return env.act(log_in, email=user.view.email, password=user.password, user_agent=None)


def test_deletion_ends_sessions_and_logins(env, alice):
    """AD-01."""
    due_at = env.act(delete_account, alice.view)
    assert due_at == env.clock.now + timedelta(days=14)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    with pytest.raises(InvalidCredentials):
        _log_in(env, alice)


def test_deletion_ends_pending_links_and_mails_no_reset(env, alice):
    """AD-01: the mailbox restores the account, and does not enter it otherwise."""
    env.act(request_password_reset, alice.view.email)
    env.act(mail_requested_resets)
    env.act(delete_account, alice.view)
    env.act(request_password_reset, alice.view.email)
    env.clock.move(minutes=30)
    env.act(mail_requested_resets)
    pending = [
        row
        for row in env.rows("one_time_secret")
        if row["purpose"] == "password_reset" and row["superseded_at"] is None
    ]
    assert pending == []
    assert len(_secrets(env, "password_reset")) == 1


def test_second_deletion_does_not_move_the_erasure(env, alice):
    """AD-01: nor does it end the link that was mailed."""
    due_at = env.act(delete_account, alice.view)
    env.clock.move(days=1)
    assert env.act(delete_account, alice.view) == due_at
    [secret] = _secrets(env).values()
    env.act(restore_account, secret)


def test_mailed_secret_restores_the_account_once(env, alice):
    """AD-02: the password is valid again, and the former session is not."""
    env.act(delete_account, alice.view)
    [secret] = _secrets(env).values()
    env.act(restore_account, secret)
    _log_in(env, alice)
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)
    with pytest.raises(SecretUsed):
        env.act(restore_account, secret)


def test_secret_expires_with_the_time_of_grace(env, alice):
    """AD-02."""
    env.act(delete_account, alice.view)
    [secret] = _secrets(env).values()
    env.clock.move(days=14)
    with pytest.raises(SecretExpired):
        env.act(restore_account, secret)


def test_secret_of_an_earlier_deletion_is_superseded(env, alice):
    """AD-02: an operator restored the account, and it was deleted again."""
    env.act(delete_account, alice.view)
    [first] = _secrets(env).values()
    env.act(restore_user, alice.user_id)
    env.act(delete_account, alice.view, at_once=True)
    with pytest.raises(SecretSuperseded):
        env.act(restore_account, first)


def test_restoration_does_not_enable_a_disabled_user(env, alice):
    """AD-02: an operator disabled the account before or after its deletion."""
    env.act(delete_account, alice.view)
    [secret] = _secrets(env).values()
    with env.database.transaction(writing=True) as session:
        disable_user(session, session.get_one(User, alice.user_id))
    env.act(restore_account, secret)
    with pytest.raises(InvalidCredentials):
        _log_in(env, alice)


def test_former_address_can_restore_an_account_that_was_taken(env, alice):
    """AD-03: an attacker who moves the address and deletes the account has won nothing."""
    _, secret = env.act(request_email_change, alice.view, "mallory@example.com")
    env.act(validate_email_change, identity_id=alice.view.identity_id, secret=secret)
    with env.database.transaction(writing=True) as session:
        # As if the new address was verified as well.
        user = session.get_one(User, alice.user_id)
        user.email, user.email_canonical = "mallory@example.com", "mallory@example.com"
        user.claimed_email = user.claimed_email_canonical = None
    env.act(delete_account, env.view(alice.user_id))
    assert set(_secrets(env)) == {"alice@example.com", "mallory@example.com"}


def test_operator_deletes_at_once_without_a_link(env, alice):
    """AD-01."""
    assert env.act(delete_account, alice.view, at_once=True) == env.clock.now
    assert _secrets(env) == {}


def test_operator_restores_only_a_deleted_account(env, alice):
    """AD-02."""
    with pytest.raises(NotFound):
        env.act(restore_user, alice.user_id)
