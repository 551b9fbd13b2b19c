"""The access token of a user, which can be shown again."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts.errors import InvalidToken, NotFound, TokenUnreadable
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.events import EventKind
from accounts.services.principal import CredentialKind
from tests.support.deadlines import patient

KIND = CredentialKind.ACCESS_TOKEN


def _swap(env, column):
    """Swap a column of two rows, as an attacker with database access could."""
    first, second = env.rows("access_token")
    env.execute("UPDATE access_token SET token_digest = CAST(user_id AS BLOB)")  # it is unique
    for row, source in ((first, second), (second, first)):
        values = row | {column: source[column]}
        env.execute(
            "UPDATE access_token SET token_digest = ?, token_sealed = ? WHERE user_id = ?",
            values["token_digest"],
            values["token_sealed"],
            row["user_id"],
        )


def test_access_token_is_the_same_each_time(env, alice):
    """It is the token that the user was opened with."""
    token = env.act(reveal_access_token, alice.view)
    assert env.act(reveal_access_token, alice.view) == token
    assert env.authenticate(KIND, token).user == alice.view


def test_access_token_of_unknown_user_is_not_found(env, alice):
    """The refusal is NotFound."""
    with pytest.raises(NotFound):
        env.act(reveal_access_token, alice.view._replace(user_id="usr_000000000000"))


def test_regenerated_token_replaces_the_old_one(env, alice):
    """TK-15: the old one stops working at once."""
    old = env.act(reveal_access_token, alice.view)
    new = env.act(regenerate_access_token, alice.view)
    with pytest.raises(InvalidToken):
        env.authenticate(KIND, old)
    assert env.act(reveal_access_token, alice.view) == new
    assert env.authenticate(KIND, new).user == alice.view


def test_regenerating_keeps_tokens_of_other_users(env, alice, bob):
    """Only the token of the caller is replaced."""
    stored = env.act(reveal_access_token, bob.view)
    env.act(regenerate_access_token, alice.view)
    env.authenticate(KIND, stored)


def test_token_is_sealed_differently_each_time(env, alice):
    """TK-06: a nonce is never reused."""
    seals = {env.rows("access_token")[0]["token_sealed"]}
    for _ in range(20):
        env.act(regenerate_access_token, alice.view)
        seals.add(env.rows("access_token")[0]["token_sealed"])
    assert len(seals) == 21


@pytest.mark.usefixtures("bob")
def test_sealed_token_is_unreadable_in_the_row_of_another_user(env, alice):
    """TK-05: write access to the database does not reveal tokens of other users."""
    _swap(env, "token_sealed")
    with env.database.transaction(writing=False) as session:
        with pytest.raises(TokenUnreadable):
            reveal_access_token(session, alice.view)
        assert [observed_event.kind for observed_event in session.observed] == [
            EventKind.DECRYPT_FAIL
        ]


def test_swapped_digests_do_not_reveal_tokens(env, alice, bob):
    """TK-05: a token authenticates the user of its row, and the seal binds it to that row."""
    token = env.act(reveal_access_token, alice.view)
    _swap(env, "token_digest")
    assert env.authenticate(KIND, token).user.user_id == bob.user_id
    assert env.act(reveal_access_token, alice.view) == token


def test_concurrent_regeneration_leaves_one_valid_token(env, alice):
    """TK-14: the valid token is the one that is shown."""
    racers = 2
    for _ in range(20):
        ready = threading.Barrier(racers)

        def race(_, ready=ready):
            ready.wait(patient(30))
            return env.act(regenerate_access_token, alice.view)

        with ThreadPoolExecutor(racers) as threads:
            created = list(threads.map(race, range(racers)))
        token = env.act(reveal_access_token, alice.view)
        (revoked,) = set(created) - {token}
        assert env.authenticate(KIND, token).user == alice.view
        with pytest.raises(InvalidToken):
            env.authenticate(KIND, revoked)


def test_revealing_a_token_is_an_event(env, alice):
    """TK-04: the act records it, and a job writes it with others."""
    with env.database.transaction(writing=False) as session:
        reveal_access_token(session, alice.view)
        assert [observed_event.kind for observed_event in session.observed] == [
            EventKind.SENSITIVE_READ
        ]
