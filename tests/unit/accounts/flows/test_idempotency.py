"""Retrying a request with an idempotency key."""

import pytest
from sqlmodel import select

from accounts.crypto.keyring import SealBroken
from accounts.errors import IdempotencyKeyReused
from accounts.flows.idempotency import (
    Attempt,
    delete_expired_responses,
    find_response,
    store_response,
)
from models import IdempotencyRecord

ATTEMPT = Attempt("ipto.createApiKey\nsession ses_1", "0b7ad1a2", '{"name":"CI"}')
ANSWER = '[201,{},{"key":"ipto_secret"}]'


@pytest.fixture
def stored(env):
    """The environment with one stored response."""
    env.act(store_response, ATTEMPT, ANSWER)
    return env


def test_retried_request_gets_the_same_response(stored):
    """HT-18: any number of times."""
    assert [stored.act(find_response, ATTEMPT) for _ in range(3)] == [ANSWER] * 3


@pytest.mark.parametrize(
    "change", [{"key": "0b7ad1a3"}, {"whose": "ipto.createApiKey\nsession ses_2"}]
)
def test_other_key_or_other_caller_is_new(stored, change):
    """HT-18: two callers with the same key are independent."""
    assert stored.act(find_response, ATTEMPT._replace(**change)) is None


def test_different_request_with_the_same_key_is_rejected(stored):
    """HT-18: it is not executed, and the stored response is not revealed."""
    with pytest.raises(IdempotencyKeyReused):
        stored.act(find_response, ATTEMPT._replace(request='{"name":"CD"}'))
    assert stored.act(find_response, ATTEMPT) == ANSWER


def test_response_is_kept_for_a_day(stored):
    """HT-18: then the key is new, even if the row still exists."""
    stored.clock.move(hours=23, minutes=59)
    assert stored.act(find_response, ATTEMPT) == ANSWER
    assert stored.act(delete_expired_responses) == 0
    stored.clock.move(minutes=1)
    assert stored.act(find_response, ATTEMPT) is None
    stored.act(store_response, ATTEMPT, "another")
    assert stored.act(find_response, ATTEMPT) == "another"


def test_expired_responses_are_deleted(stored):
    """DB-17, OP-10: a day later, since the clock may turn out to have been ahead."""
    stored.clock.move(hours=12)
    stored.act(store_response, ATTEMPT._replace(key="another"), ANSWER)
    stored.clock.move(hours=35)
    assert stored.act(delete_expired_responses) == 0
    stored.clock.move(hours=1)
    assert stored.act(delete_expired_responses) == 1
    assert len(stored.rows("kept_answer")) == 1


def test_stored_row_reveals_nothing_of_the_request(stored):
    """HT-19: a dump of the database shows that a request was made, and no more."""
    [row] = stored.rows("kept_answer")
    content = b"".join(
        value if isinstance(value, bytes) else str(value).encode() for value in row.values()
    )
    for secret in (ATTEMPT.key, ATTEMPT.request, "ses_1", "createApiKey", "ipto_secret"):
        assert secret.encode() not in content


def test_response_is_unreadable_in_another_row(stored):
    """HT-19: write access to the database does not reveal responses of other users."""
    other_attempt = ATTEMPT._replace(whose="somebody else's")
    stored.act(store_response, other_attempt, "theirs")
    with stored.database.transaction(writing=True) as session:
        first, second = session.exec(select(IdempotencyRecord)).all()
        first.answer_sealed, second.answer_sealed = second.answer_sealed, first.answer_sealed
        session.add_all((first, second))
    with pytest.raises(SealBroken):
        stored.act(find_response, ATTEMPT)
