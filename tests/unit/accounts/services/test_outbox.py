"""Mail that waits to be sent."""

from datetime import timedelta

import pytest

from accounts.crypto.keyring import SealBroken
from accounts.errors import NotFound
from accounts.services.outbox import MessageKind, measure_outbox, open_parameters, post_message


def _post(env, view, **parameters):
    env.act(post_message, MessageKind.EMAIL_VERIFICATION, view, **parameters)


def test_a_message_goes_to_the_stored_address(env, alice):
    """It bears the person's language and the moment of the act (EM-17)."""
    _post(env, alice.view._replace(locale="de-DE"), secret="a secret")
    (message,) = env.messages()
    assert (message.recipient, message.locale) == ("alice@example.com", "de-DE")
    assert (message.created_at, message.delivered_at) == (env.clock.now, None)
    assert env.act(open_parameters, message) == {"secret": "a secret"}


def test_what_a_message_says_is_sealed(env, alice):
    """A dump of the database shows no secret that was mailed (TK-08)."""
    _post(env, alice.view, secret="a secret")
    assert b"a secret" not in env.messages()[0].parameters_sealed


def test_a_sealed_message_does_not_open_under_another_id(env, alice):
    """Nobody gets the secret of somebody else by exchanging rows (TK-05)."""
    for secret in ("one", "two"):
        _post(env, alice.view, secret=secret)
    first, second = env.messages()
    second.parameters_sealed = first.parameters_sealed
    with pytest.raises(SealBroken):
        env.act(open_parameters, second)


def test_an_act_that_is_refused_mails_nothing(env, alice):
    """A message is in the transaction of its act (EM-18)."""

    def refused(session):
        post_message(session, MessageKind.EMAIL_ALREADY_IN_USE, alice.view)
        session.flush()
        raise NotFound

    with pytest.raises(NotFound):
        env.act(refused)
    assert env.messages() == []


def test_what_is_not_delivered_is_measured(env, alice):
    """OP-11: what waits, since when, and what was given up."""
    assert env.act(measure_outbox) == (0, None, 0)
    began = env.clock.now
    for _ in range(4):
        _post(env, alice.view)
        env.clock.move(minutes=1)
    oldest, delivered, given_up, _ = env.messages()
    env.execute("UPDATE outbox_message SET delivered_at = due_at WHERE id = ?", delivered.id)
    env.execute("UPDATE outbox_message SET gave_up_at = due_at WHERE id = ?", given_up.id)
    assert env.act(measure_outbox) == (2, began, 1)
    env.execute("UPDATE outbox_message SET delivered_at = due_at WHERE id = ?", oldest.id)
    assert env.act(measure_outbox) == (1, began + timedelta(minutes=3), 1)
