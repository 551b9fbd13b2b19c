"""API keys: made, listed, revoked."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from accounts.errors import InvalidRequest, InvalidToken, LimitReached, NotFound, ScopeNotHeld
from accounts.flows.api_keys import create_api_key, list_api_keys, revoke_api_key
from accounts.services.principal import CredentialKind

KIND = CredentialKind.API_KEY
YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)


def _create(house, principal, **changed):
    given = {
        "name": "Backups",
        "scopes": ["keys:read", "keys:write"],
        "dataset_access_mode": "all_available",
        "expires_at": None,
    }
    return house.act(create_api_key, principal, **(given | changed))


@pytest.fixture
def maker(house, alice):
    """A key that may make keys, and ends in thirty days."""
    _, key = _create(house, alice.principal, expires_at=house.clock.now + timedelta(days=30))
    return house.recognise(KIND, key)


def test_a_key_is_shown_once_and_found_by_its_prefix(house, alice):
    """What is stored of it is the prefix and a digest (TK-03)."""
    made, key = _create(house, alice.principal, dataset_access_mode="allow_list")
    assert key.startswith(f"ipto_{made.prefix}_")
    row = house.rows("api_key")[0]
    assert (row["name"], row["dataset_access_mode"]) == ("Backups", "allow_list")
    assert key not in [str(value) for value in row.values()]
    assert house.recognise(KIND, key).person == alice.person


def test_the_brand_of_the_keys_is_a_rule(open_house):
    """Another operator's keys begin with another word."""
    house = open_house(api_key_brand="acme")
    alice = house.resident("alice@example.com")
    _, key = _create(house, alice.principal)
    assert key.startswith("acme_")
    house.recognise(KIND, key)


def test_a_key_without_an_end_gets_the_latest_there_is(house, alice, clock):
    """Nothing lasts for ever (TK-13)."""
    made, _ = _create(house, alice.principal)
    assert made.expires_at == clock.now + YEAR


@pytest.mark.parametrize("away", [SECOND, YEAR - SECOND, YEAR])
def test_a_key_may_end_within_a_year(house, alice, clock, away):
    """The last moment of the year is within it (TK-13)."""
    made, _ = _create(house, alice.principal, expires_at=clock.now + away)
    assert made.expires_at == clock.now + away


@pytest.mark.parametrize("away", [-SECOND, 0 * SECOND, YEAR + SECOND])
def test_a_key_ends_neither_in_the_past_nor_after_a_year(house, alice, clock, away):
    """The refusal names the field and the limit (TK-13)."""
    with pytest.raises(InvalidRequest) as refused:
        _create(house, alice.principal, expires_at=clock.now + away)
    (violation,) = refused.value.violations
    assert violation.field == ("expires_at",)
    assert "365 days" in violation.rule


def test_a_name_that_breaks_its_rule_is_refused(house, alice):
    """Nothing is made then (HT-06)."""
    with pytest.raises(InvalidRequest):
        _create(house, alice.principal, name="two\nlines")
    assert house.count("api_key") == 0


def test_a_key_makes_a_narrower_key(house, maker):
    """Some of its scopes, and an end no later than its own (TK-11)."""
    own_end = house.clock.now + timedelta(days=30)
    _, key = _create(house, maker, scopes=["keys:read"], expires_at=own_end)
    assert house.recognise(KIND, key).credential.rights == {"keys:read"}


def test_a_key_makes_no_wider_key(house, maker):
    """Neither a scope that it lacks, nor its own with another beside them (TK-11)."""
    soon = house.clock.now + timedelta(days=1)
    for scopes in (["me/profile:read"], ["keys:read", "me/profile:read"]):
        with pytest.raises(ScopeNotHeld):
            _create(house, maker, scopes=scopes, expires_at=soon)


def test_a_key_makes_no_longer_key(house, maker):
    """A stolen key does not outlive itself by its children (TK-11)."""
    later = house.clock.now + timedelta(days=30) + SECOND
    with pytest.raises(ScopeNotHeld):
        _create(house, maker, scopes=["keys:read"], expires_at=later)


def test_a_key_without_an_end_made_by_a_key_ends_with_it(house, maker):
    """To ask for no end is to ask for the latest there is, which is the maker's own (TK-11)."""
    made, _ = _create(house, maker, scopes=["keys:read"])
    assert made.expires_at == house.clock.now + timedelta(days=30)


def test_a_revoked_maker_makes_nothing(house, alice, maker):
    """Whoever is refused at the door does not come to the act."""
    _, key = _create(house, alice.principal)
    revoked = house.recognise(KIND, key)
    house.act(revoke_api_key, alice.person, revoked.credential.id)
    with pytest.raises(InvalidToken):
        house.recognise(KIND, key)
    assert maker.credential.id in [each.id for each in house.act(list_api_keys, alice.user_id)]


def test_a_user_has_so_many_keys_and_no_more(open_house):
    """Room is made by revoking one (TK-20)."""
    house = open_house(max_api_keys=2)
    alice = house.resident("alice@example.com")
    made, _ = _create(house, alice.principal)
    _create(house, alice.principal)
    with pytest.raises(LimitReached):
        _create(house, alice.principal)
    house.act(revoke_api_key, alice.person, made.id)
    _create(house, alice.principal)


def test_expired_keys_leave_room(open_house):
    """Only live keys count."""
    house = open_house(max_api_keys=1)
    alice = house.resident("alice@example.com")
    _create(house, alice.principal, expires_at=house.clock.now + SECOND)
    house.clock.move(seconds=1)
    _create(house, alice.principal)


def test_the_limit_holds_when_many_are_made_at_once(open_house):
    """Each counts and makes in one writing transaction (TK-20)."""
    house = open_house(max_api_keys=5)
    alice = house.resident("alice@example.com")
    racers = 10
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(30)
        try:
            _create(house, alice.principal)
        except LimitReached:
            return 0
        return 1

    with ThreadPoolExecutor(racers) as threads:
        assert sum(threads.map(race, range(racers))) == 5
    assert house.count("api_key") == 5


def test_keys_are_listed_newest_first(house, alice, bob, clock):
    """Only live ones of this user."""
    first, _ = _create(house, alice.principal)
    clock.move(minutes=1)
    second, _ = _create(house, alice.principal)
    _create(house, bob.principal)
    assert [key.id for key in house.act(list_api_keys, alice.user_id)] == [second.id, first.id]


def test_a_revoked_key_is_neither_listed_nor_found(house, alice):
    """It ends once."""
    made, _ = _create(house, alice.principal)
    house.act(revoke_api_key, alice.person, made.id)
    assert house.act(list_api_keys, alice.user_id) == []
    with pytest.raises(NotFound):
        house.act(revoke_api_key, alice.person, made.id)


def test_an_expired_key_is_not_found(house, alice, clock):
    """There is nothing left to revoke."""
    made, _ = _create(house, alice.principal)
    clock.now += YEAR
    with pytest.raises(NotFound):
        house.act(revoke_api_key, alice.person, made.id)


def test_a_key_of_somebody_else_is_not_found(house, alice, bob):
    """And it goes on working (AZ-10)."""
    made, key = _create(house, bob.principal)
    with pytest.raises(NotFound):
        house.act(revoke_api_key, alice.person, made.id)
    house.recognise(KIND, key)
