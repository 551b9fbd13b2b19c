"""The access token of a user, which can be shown again."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from accounts.errors import InvalidToken, NotFound, TokenUnreadable
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.events import EventKind
from accounts.services.principal import CredentialKind

KIND = CredentialKind.ACCESS_TOKEN


def _swap(env, column):
    """Exchange one column of the two rows, as somebody with the database could."""
    first, second = env.rows("access_token")
    env.execute("UPDATE access_token SET token_digest = CAST(user_id AS BLOB)")  # it is unique
    for row, other in ((first, second), (second, first)):
        values = row | {column: other[column]}
        env.execute(
            "UPDATE access_token SET token_digest = ?, token_sealed = ? WHERE user_id = ?",
            values["token_digest"],
            values["token_sealed"],
            row["user_id"],
        )


def test_the_same_token_is_shown_each_time(env, alice):
    """It is the one that the user was opened with."""
    shown = env.act(reveal_access_token, alice.view)
    assert env.act(reveal_access_token, alice.view) == shown
    assert env.recognise(KIND, shown).user == alice.view


def test_nobody_has_no_token(env, alice):
    """An unknown user is not found."""
    with pytest.raises(NotFound):
        env.act(reveal_access_token, alice.view._replace(user_id="usr_000000000000"))


def test_a_new_token_takes_the_place_of_the_old(env, alice):
    """The old one is dead at once, and the new one is what is shown (TK-15)."""
    old = env.act(reveal_access_token, alice.view)
    new = env.act(regenerate_access_token, alice.view)
    with pytest.raises(InvalidToken):
        env.recognise(KIND, old)
    assert env.act(reveal_access_token, alice.view) == new
    assert env.recognise(KIND, new).user == alice.view


def test_another_user_keeps_their_token(env, alice, bob):
    """Regenerating is for one user."""
    kept = env.act(reveal_access_token, bob.view)
    env.act(regenerate_access_token, alice.view)
    env.recognise(KIND, kept)


def test_a_token_is_sealed_differently_each_time(env, alice):
    """A nonce is never used again (TK-06)."""
    seals = {env.rows("access_token")[0]["token_sealed"]}
    for _ in range(20):
        env.act(regenerate_access_token, alice.view)
        seals.add(env.rows("access_token")[0]["token_sealed"])
    assert len(seals) == 21


@pytest.mark.usefixtures("bob")
def test_a_sealed_token_does_not_open_in_the_row_of_another_user(env, alice):
    """Whoever can write the database cannot have somebody else's token shown to them (TK-05)."""
    _swap(env, "token_sealed")
    with env.database.transaction(writing=False) as session:
        with pytest.raises(TokenUnreadable):
            reveal_access_token(session, alice.view)
        assert [seen.kind for seen in session.observed] == [EventKind.DECRYPT_FAIL]


def test_swapped_digests_only_show_whose_row_it_is(env, alice, bob):
    """A digest finds its row, which says whose token it is: the seal is what binds it (TK-05)."""
    shown = env.act(reveal_access_token, alice.view)
    _swap(env, "token_digest")
    assert env.recognise(KIND, shown).user.user_id == bob.user_id
    assert env.act(reveal_access_token, alice.view) == shown


def test_regenerating_at_once_leaves_one_token_that_lives(env, alice):
    """It is the one that is shown, and one of those that were given out (TK-14)."""
    racers = 2
    for _ in range(20):
        ready = threading.Barrier(racers)

        def race(_, ready=ready):
            ready.wait(30)
            return env.act(regenerate_access_token, alice.view)

        with ThreadPoolExecutor(racers) as threads:
            given = list(threads.map(race, range(racers)))
        shown = env.act(reveal_access_token, alice.view)
        (dead,) = set(given) - {shown}
        assert env.recognise(KIND, shown).user == alice.view
        with pytest.raises(InvalidToken):
            env.recognise(KIND, dead)


def test_showing_a_token_is_an_event(env, alice):
    """TK-04: observed by the act, and written with others by the job."""
    with env.database.transaction(writing=False) as session:
        reveal_access_token(session, alice.view)
        assert [seen.kind for seen in session.observed] == [EventKind.SENSITIVE_READ]
