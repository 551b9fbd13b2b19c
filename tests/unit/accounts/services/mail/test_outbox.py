"""The outbox of messages waiting to be sent."""

from datetime import timedelta

import pytest

from accounts.crypto.keyring import SealBroken
from accounts.errors import NotFound
from accounts.origin import Origin
from accounts.services.mail.outbox import (
    MessageKind,
    measure_outbox,
    post_message,
    unseal_parameters,
)


def _post(env, view, **parameters):
    env.act(post_message, MessageKind.EMAIL_VERIFICATION, view, **parameters)


def test_message_goes_to_the_stored_address(env, alice):
    """EM-17: with the user's locale and the time of the act."""
    _post(env, alice.view._replace(locale="de-DE"), secret="a secret")
    (message,) = env.messages()
    assert (message.recipient, message.locale) == ("alice@example.com", "de-DE")
    assert (message.created_at, message.delivered_at) == (env.clock.now, None)
    assert env.act(unseal_parameters, message) == {"secret": "a secret"}


@pytest.mark.parametrize(
    ("kind", "ip_address"),
    [
        (MessageKind.PASSWORD_CHANGED, "192.0.2.7"),
        (MessageKind.EMAIL_CHANGE_NOTICE, "192.0.2.7"),
        (MessageKind.API_KEY_CREATED, "192.0.2.7"),
        (MessageKind.PAT_CREATED, "192.0.2.7"),
        (MessageKind.EMAIL_VERIFICATION, None),
        (MessageKind.EMAIL_CHANGE_CONFIRMATION, None),
        (MessageKind.EMAIL_ALREADY_IN_USE, None),
        (MessageKind.PASSWORD_RESET, None),
    ],
)
def test_message_has_the_client_address_only_for_the_owner_of_the_account(
    env, alice, kind, ip_address
):
    with env.database.transaction(writing=True, origin=Origin(address="192.0.2.7")) as session:
        post_message(session, kind, alice.view)
    [message] = env.messages()
    assert env.act(unseal_parameters, message).get("ip_address") == ip_address


def test_message_parameters_are_sealed(env, alice):
    """TK-08: a dump of the database shows no mailed secret."""
    _post(env, alice.view, secret="a secret")
    assert b"a secret" not in env.messages()[0].parameters_sealed


def test_sealed_message_is_unreadable_under_another_id(env, alice):
    """TK-05: swapping rows does not reveal secrets of other users."""
    for secret in ("one", "two"):
        _post(env, alice.view, secret=secret)
    first, second = env.messages()
    second.parameters_sealed = first.parameters_sealed
    with pytest.raises(SealBroken):
        env.act(unseal_parameters, second)


def test_refused_act_mails_nothing(env, alice):
    """EM-18: a message is written in the transaction of its act."""

    def post_and_refuse(session):
        post_message(session, MessageKind.EMAIL_ALREADY_IN_USE, alice.view)
        session.flush()
        raise NotFound

    with pytest.raises(NotFound):
        env.act(post_and_refuse)
    assert env.messages() == []


def test_undelivered_messages_are_measured(env, alice):
    """OP-11: the number of waiting messages, since when, and the number given up."""
    assert env.act(measure_outbox) == (0, None, 0)
    start = env.clock.now
    for _ in range(4):
        _post(env, alice.view)
        env.clock.move(minutes=1)
    oldest, delivered, given_up, _ = env.messages()
    env.execute("UPDATE outbox_message SET delivered_at = due_at WHERE id = ?", delivered.id)
    env.execute("UPDATE outbox_message SET gave_up_at = due_at WHERE id = ?", given_up.id)
    assert env.act(measure_outbox) == (2, start, 1)
    env.execute("UPDATE outbox_message SET delivered_at = due_at WHERE id = ?", oldest.id)
    assert env.act(measure_outbox) == (1, start + timedelta(minutes=3), 1)
