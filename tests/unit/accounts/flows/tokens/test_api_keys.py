"""API keys: made, listed, revoked."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from accounts.errors import InvalidRequest, InvalidToken, LimitReached, NotFound, ScopeNotHeld
from accounts.flows.tokens.api_keys import create_api_key, list_api_keys, revoke_api_key
from accounts.services.principal import CredentialKind

KIND = CredentialKind.API_KEY
YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)


def _create(env, principal, **changed):
    given = {
        "name": "Backups",
        "scopes": ["keys:read", "keys:write"],
        "dataset_access_mode": "all_available",
        "expires_at": None,
    }
    return env.act(create_api_key, principal, **(given | changed))


@pytest.fixture
def maker(env, alice):
    """A key that may make keys, and ends in thirty days."""
    _, key = _create(env, alice.principal, expires_at=env.clock.now + timedelta(days=30))
    return env.recognise(KIND, key)


def test_a_key_is_shown_once_and_found_by_its_prefix(env, alice):
    """What is stored of it is the prefix and a digest (TK-03)."""
    made, key = _create(env, alice.principal, dataset_access_mode="allow_list")
    assert key.startswith(f"ipto_{made.prefix}_")
    row = env.rows("api_key")[0]
    assert (row["name"], row["dataset_access_mode"]) == ("Backups", "allow_list")
    assert key not in [str(value) for value in row.values()]
    assert env.recognise(KIND, key).user == alice.view


def test_the_brand_of_the_keys_is_a_rule(open_house):
    """Another operator's keys begin with another word."""
    env = open_house(api_key_brand="acme")
    alice = env.user("alice@example.com")
    _, key = _create(env, alice.principal)
    assert key.startswith("acme_")
    env.recognise(KIND, key)


def test_a_key_without_an_end_gets_the_latest_there_is(env, alice, clock):
    """Nothing lasts for ever (TK-13)."""
    made, _ = _create(env, alice.principal)
    assert made.expires_at == clock.now + YEAR


@pytest.mark.parametrize("away", [SECOND, YEAR - SECOND, YEAR])
def test_a_key_may_end_within_a_year(env, alice, clock, away):
    """The last moment of the year is within it (TK-13)."""
    made, _ = _create(env, alice.principal, expires_at=clock.now + away)
    assert made.expires_at == clock.now + away


@pytest.mark.parametrize("away", [-SECOND, 0 * SECOND, YEAR + SECOND])
def test_a_key_ends_neither_in_the_past_nor_after_a_year(env, alice, clock, away):
    """The refusal names the field and the limit (TK-13)."""
    with pytest.raises(InvalidRequest) as refused:
        _create(env, alice.principal, expires_at=clock.now + away)
    (violation,) = refused.value.violations
    assert violation.field == ("expires_at",)
    assert "365 days" in violation.rule


def test_a_name_that_breaks_its_rule_is_refused(env, alice):
    """Nothing is made then (HT-06)."""
    with pytest.raises(InvalidRequest):
        _create(env, alice.principal, name="two\nlines")
    assert env.count("api_key") == 0


def test_a_key_makes_a_narrower_key(env, maker):
    """Some of its scopes, and an end no later than its own (TK-11)."""
    own_end = env.clock.now + timedelta(days=30)
    _, key = _create(env, maker, scopes=["keys:read"], expires_at=own_end)
    assert env.recognise(KIND, key).credential.rights == {"keys:read"}


def test_a_key_makes_no_wider_key(env, maker):
    """Neither a scope that it lacks, nor its own with another beside them (TK-11)."""
    soon = env.clock.now + timedelta(days=1)
    for scopes in (["me/profile:read"], ["keys:read", "me/profile:read"]):
        with pytest.raises(ScopeNotHeld):
            _create(env, maker, scopes=scopes, expires_at=soon)


def test_a_key_makes_no_longer_key(env, maker):
    """A stolen key does not outlive itself by its children (TK-11)."""
    later = env.clock.now + timedelta(days=30) + SECOND
    with pytest.raises(ScopeNotHeld):
        _create(env, maker, scopes=["keys:read"], expires_at=later)


def test_a_key_without_an_end_made_by_a_key_ends_with_it(env, maker):
    """To ask for no end is to ask for the latest there is, which is the maker's own (TK-11)."""
    made, _ = _create(env, maker, scopes=["keys:read"])
    assert made.expires_at == env.clock.now + timedelta(days=30)


def test_a_revoked_maker_makes_nothing(env, alice, maker):
    """Whoever is refused at the door does not come to the act."""
    _, key = _create(env, alice.principal)
    revoked = env.recognise(KIND, key)
    env.act(revoke_api_key, alice.view, revoked.credential.id)
    with pytest.raises(InvalidToken):
        env.recognise(KIND, key)
    assert maker.credential.id in [each.id for each in env.act(list_api_keys, alice.user_id)]


def test_a_user_has_so_many_keys_and_no_more(open_house):
    """Room is made by revoking one (TK-20)."""
    env = open_house(max_api_keys=2)
    alice = env.user("alice@example.com")
    made, _ = _create(env, alice.principal)
    _create(env, alice.principal)
    with pytest.raises(LimitReached):
        _create(env, alice.principal)
    env.act(revoke_api_key, alice.view, made.id)
    _create(env, alice.principal)


def test_expired_keys_leave_room(open_house):
    """Only live keys count."""
    env = open_house(max_api_keys=1)
    alice = env.user("alice@example.com")
    _create(env, alice.principal, expires_at=env.clock.now + SECOND)
    env.clock.move(seconds=1)
    _create(env, alice.principal)


def test_the_limit_holds_when_many_are_made_at_once(open_house):
    """Each counts and makes in one writing transaction (TK-20)."""
    env = open_house(max_api_keys=5)
    alice = env.user("alice@example.com")
    racers = 10
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(30)
        try:
            _create(env, alice.principal)
        except LimitReached:
            return 0
        return 1

    with ThreadPoolExecutor(racers) as threads:
        assert sum(threads.map(race, range(racers))) == 5
    assert env.count("api_key") == 5


def test_keys_are_listed_newest_first(env, alice, bob, clock):
    """Only live ones of this user."""
    first, _ = _create(env, alice.principal)
    clock.move(minutes=1)
    second, _ = _create(env, alice.principal)
    _create(env, bob.principal)
    assert [key.id for key in env.act(list_api_keys, alice.user_id)] == [second.id, first.id]


def test_a_revoked_key_is_neither_listed_nor_found(env, alice):
    """It ends once."""
    made, _ = _create(env, alice.principal)
    env.act(revoke_api_key, alice.view, made.id)
    assert env.act(list_api_keys, alice.user_id) == []
    with pytest.raises(NotFound):
        env.act(revoke_api_key, alice.view, made.id)


def test_an_expired_key_is_not_found(env, alice, clock):
    """There is nothing left to revoke."""
    made, _ = _create(env, alice.principal)
    clock.now += YEAR
    with pytest.raises(NotFound):
        env.act(revoke_api_key, alice.view, made.id)


def test_a_key_of_somebody_else_is_not_found(env, alice, bob):
    """And it goes on working (AZ-10)."""
    made, key = _create(env, bob.principal)
    with pytest.raises(NotFound):
        env.act(revoke_api_key, alice.view, made.id)
    env.recognise(KIND, key)
