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


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize("kind", MessageKind)
def test_message_has_client_address_and_device_only_for_the_owner_of_the_account(env, alice, kind):
    """Newcomer F21."""
    origin = Origin(address="192.0.2.7", user_agent=FIREFOX)
    with env.database.transaction(writing=True, origin=origin) as session:
        post_message(session, kind, alice.view)
    [message] = env.messages()
    is_alert = kind in {
        *(MessageKind.PASSWORD_CHANGED, MessageKind.EMAIL_CHANGE_NOTICE, MessageKind.NEW_LOGIN),
        *(MessageKind.API_KEY_CREATED, MessageKind.PAT_CREATED),
        *(MessageKind.PAT_REUSED, MessageKind.ACCOUNT_DELETED, MessageKind.RECOVERY_CODE_USED),
        *(MessageKind.SECOND_FACTOR_ADDED, MessageKind.SECOND_FACTOR_REMOVED),
    }
    expected = {"ip_address": "192.0.2.7", "program": "Firefox, Linux"} if is_alert else {}
    assert env.act(unseal_parameters, message) == expected


@pytest.mark.parametrize("user_agent", [None, "", "Bcc: all@example.com\r\n https://evil.example"])
def test_message_has_no_device_that_is_not_known(env, alice, user_agent):
    """EM-15, EM-16: the header itself is text of the client."""
    origin = Origin(address="192.0.2.7", user_agent=user_agent)
    with env.database.transaction(writing=True, origin=origin) as session:
        post_message(session, MessageKind.PASSWORD_CHANGED, alice.view)
    [message] = env.messages()
    assert env.act(unseal_parameters, message) == {"ip_address": "192.0.2.7"}


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
