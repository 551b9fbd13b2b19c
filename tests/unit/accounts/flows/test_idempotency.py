"""A request that is sent again because its answer was lost."""

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
def kept(env):
    """The house, where one answer is kept."""
    env.act(store_response, ATTEMPT, ANSWER)
    return env


def test_the_same_request_has_the_same_answer(kept):
    """HT-18: again and again."""
    assert [kept.act(find_response, ATTEMPT) for _ in range(3)] == [ANSWER] * 3


@pytest.mark.parametrize(
    "other", [{"key": "0b7ad1a3"}, {"whose": "ipto.createApiKey\nsession ses_2"}]
)
def test_another_key_and_the_key_of_another_are_new(kept, other):
    """HT-18: two who send the same key do not mean the same."""
    assert kept.act(find_response, ATTEMPT._replace(**other)) is None


def test_another_request_with_the_same_key_is_refused(kept):
    """HT-18: neither is it done, nor is what was asked before told."""
    with pytest.raises(IdempotencyKeyReused):
        kept.act(find_response, ATTEMPT._replace(request='{"name":"CD"}'))
    assert kept.act(find_response, ATTEMPT) == ANSWER


def test_an_answer_is_kept_for_a_day(kept):
    """HT-18: then the key is a new one, whether the row was deleted yet or not."""
    kept.clock.move(hours=23, minutes=59)
    assert kept.act(find_response, ATTEMPT) == ANSWER
    assert kept.act(delete_expired_responses) == 0
    kept.clock.move(minutes=1)
    assert kept.act(find_response, ATTEMPT) is None
    kept.act(store_response, ATTEMPT, "another")
    assert kept.act(find_response, ATTEMPT) == "another"


def test_what_is_over_is_deleted(kept):
    """DB-17, OP-10: a day later, since until then the clock may turn out to have been ahead."""
    kept.clock.move(hours=12)
    kept.act(store_response, ATTEMPT._replace(key="another"), ANSWER)
    kept.clock.move(hours=35)
    assert kept.act(delete_expired_responses) == 0
    kept.clock.move(hours=1)
    assert kept.act(delete_expired_responses) == 1
    assert len(kept.rows("kept_answer")) == 1


def test_neither_the_key_nor_the_request_nor_the_answer_can_be_read_from_the_row(kept):
    """HT-19: a dump of the database shows that somebody asked for something, and no more."""
    [row] = kept.rows("kept_answer")
    stored = b"".join(
        value if isinstance(value, bytes) else str(value).encode() for value in row.values()
    )
    for secret in (ATTEMPT.key, ATTEMPT.request, "ses_1", "createApiKey", "ipto_secret"):
        assert secret.encode() not in stored


def test_an_answer_is_not_opened_in_another_row(kept):
    """HT-19: whoever can write to the database is not shown what somebody else has made."""
    other = ATTEMPT._replace(whose="somebody else's")
    kept.act(store_response, other, "theirs")
    with kept.database.transaction(writing=True) as session:
        first, second = session.exec(select(IdempotencyRecord)).all()
        first.answer_sealed, second.answer_sealed = second.answer_sealed, first.answer_sealed
        session.add_all((first, second))
    with pytest.raises(SealBroken):
        kept.act(find_response, ATTEMPT)
