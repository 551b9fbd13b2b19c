"""Creating, listing and revoking API keys."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from accounts.errors import InvalidRequest, InvalidToken, LimitReached, NotFound, ScopeNotHeld
from accounts.flows.tokens.api_keys import (
    create_api_key,
    find_api_key_limits,
    find_own_api_key,
    list_api_keys,
    revoke_api_key,
)
from accounts.flows.tokens.token_lists import TokenFilter, TokenState
from accounts.services.principal import CredentialKind
from tests.support.deadlines import patient

KIND = CredentialKind.API_KEY
YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)


def _create(env, principal, **overrides):
    arguments = {
        "name": "Backups",
        "scopes": ["keys:read", "keys:write"],
        "dataset_access_mode": "all_available",
        "expires_at": None,
    }
    return env.act(create_api_key, principal, **(arguments | overrides))


@pytest.fixture
def parent_key(env, alice):
    """A key that may create keys and expires in thirty days."""
    _, key = _create(env, alice.principal, expires_at=env.clock.now + timedelta(days=30))
    return env.authenticate(KIND, key)


def test_api_key_is_shown_once_and_identified_by_its_prefix(env, alice):
    """TK-03: only the prefix and a digest are stored."""
    record, key = _create(env, alice.principal, dataset_access_mode="allow_list")
    assert key.startswith(f"ipto_{record.prefix}_")
    row = env.rows("api_key")[0]
    assert (row["name"], row["dataset_access_mode"]) == ("Backups", "allow_list")
    assert key not in [str(value) for value in row.values()]
    assert env.authenticate(KIND, key).user == alice.view


def test_api_key_starts_with_the_configured_brand(make_env):
    """The brand is a setting of the operator."""
    env = make_env(api_key_brand="acme")
    alice = env.user("alice@example.com")
    _, key = _create(env, alice.principal)
    assert key.startswith("acme_")
    env.authenticate(KIND, key)


def test_key_without_expiry_gets_the_longest_lifetime(env, alice, clock):
    """TK-13: every key expires."""
    record, _ = _create(env, alice.principal)
    assert record.expires_at == clock.now + YEAR


@pytest.mark.parametrize("lifetime", [SECOND, YEAR - SECOND, YEAR])
def test_key_may_expire_within_a_year(env, alice, clock, lifetime):
    """TK-13: the last second of the year is included."""
    record, _ = _create(env, alice.principal, expires_at=clock.now + lifetime)
    assert record.expires_at == clock.now + lifetime


@pytest.mark.parametrize("lifetime", [-SECOND, 0 * SECOND, YEAR + SECOND])
def test_expiry_in_the_past_or_after_a_year_is_rejected(env, alice, clock, lifetime):
    """TK-13: the refusal names the field and the limit."""
    with pytest.raises(InvalidRequest) as caught:
        _create(env, alice.principal, expires_at=clock.now + lifetime)
    (violation,) = caught.value.violations
    assert violation.field == ("expires_at",)
    assert "365 days" in violation.rule


def test_invalid_name_is_rejected(env, alice):
    """HT-06: nothing is created."""
    with pytest.raises(InvalidRequest):
        _create(env, alice.principal, name="two\nlines")
    assert env.count("api_key") == 0


def test_key_can_create_a_narrower_key(env, parent_key):
    """TK-11: with some of its scopes, and an expiry no later than its own."""
    own_end = env.clock.now + timedelta(days=30)
    _, key = _create(env, parent_key, scopes=["keys:read"], expires_at=own_end)
    assert env.authenticate(KIND, key).credential.rights == {"keys:read"}


def test_key_cannot_create_a_wider_key(env, parent_key):
    """TK-11: neither with other scopes, nor with its own and others."""
    soon = env.clock.now + timedelta(days=1)
    for scopes in (["me/profile:read"], ["keys:read", "me/profile:read"]):
        with pytest.raises(ScopeNotHeld):
            _create(env, parent_key, scopes=scopes, expires_at=soon)


def test_key_cannot_create_a_longer_lived_key(env, parent_key):
    """TK-11: a stolen key cannot extend its life through new keys."""
    later = env.clock.now + timedelta(days=30) + SECOND
    with pytest.raises(ScopeNotHeld):
        _create(env, parent_key, scopes=["keys:read"], expires_at=later)


def test_key_created_by_a_key_expires_with_it_by_default(env, parent_key):
    """TK-11: the default is the latest possible expiry, which is that of the creating key."""
    record, _ = _create(env, parent_key, scopes=["keys:read"])
    assert record.expires_at == env.clock.now + timedelta(days=30)


def test_revoked_key_cannot_create_keys(env, alice, parent_key):
    """Authentication rejects it before the act runs."""
    _, key = _create(env, alice.principal)
    revoked = env.authenticate(KIND, key)
    env.act(revoke_api_key, alice.view, revoked.credential.id)
    with pytest.raises(InvalidToken):
        env.authenticate(KIND, key)
    assert parent_key.credential.id in [
        listed.id for listed in env.act(list_api_keys, alice.user_id)
    ]


def test_number_of_keys_per_user_is_limited(make_env):
    """TK-20: revoking a key makes room for another one."""
    env = make_env(max_api_keys=2)
    alice = env.user("alice@example.com")
    record, _ = _create(env, alice.principal)
    _create(env, alice.principal)
    with pytest.raises(LimitReached):
        _create(env, alice.principal)
    env.act(revoke_api_key, alice.view, record.id)
    _create(env, alice.principal)


def test_expired_keys_do_not_count_towards_the_limit(make_env):
    """Only active keys count."""
    env = make_env(max_api_keys=1)
    alice = env.user("alice@example.com")
    _create(env, alice.principal, expires_at=env.clock.now + SECOND)
    env.clock.move(seconds=1)
    _create(env, alice.principal)


def test_key_limit_survives_concurrent_creation(make_env):
    """TK-20: counting and creating happen in one writing transaction."""
    env = make_env(max_api_keys=5)
    alice = env.user("alice@example.com")
    racers = 10
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(patient(30))
        try:
            _create(env, alice.principal)
        except LimitReached:
            return 0
        return 1

    with ThreadPoolExecutor(racers) as threads:
        assert sum(threads.map(race, range(racers))) == 5
    assert env.count("api_key") == 5


def test_keys_are_listed_newest_first(env, alice, bob, clock):
    """Only active keys of this user are listed."""
    first, _ = _create(env, alice.principal)
    clock.move(minutes=1)
    second, _ = _create(env, alice.principal)
    _create(env, bob.principal)
    assert [key.id for key in env.act(list_api_keys, alice.user_id)] == [second.id, first.id]


def test_revoked_key_is_neither_listed_nor_found(env, alice):
    """A key can be revoked once."""
    record, _ = _create(env, alice.principal)
    env.act(revoke_api_key, alice.view, record.id)
    assert env.act(list_api_keys, alice.user_id) == []
    with pytest.raises(NotFound):
        env.act(revoke_api_key, alice.view, record.id)


def test_expired_key_is_not_found(env, alice, clock):
    """An expired key cannot be revoked."""
    record, _ = _create(env, alice.principal)
    clock.now += YEAR
    with pytest.raises(NotFound):
        env.act(revoke_api_key, alice.view, record.id)


def test_key_of_another_user_is_not_found(env, alice, bob):
    """AZ-10: and the key keeps working."""
    record, key = _create(env, bob.principal)
    with pytest.raises(NotFound):
        env.act(revoke_api_key, alice.view, record.id)
    env.authenticate(KIND, key)


def test_list_is_filtered_by_state_and_times(env, alice, clock):
    """A key that was never used counts as used when it was created."""
    expired, _ = _create(env, alice.principal, expires_at=clock.now + timedelta(hours=1))
    revoked, _ = _create(env, alice.principal)
    env.act(revoke_api_key, alice.view, revoked.id)
    clock.move(hours=1)
    live, _ = _create(env, alice.principal)

    def ids(**selection):
        return {key.id for key in env.act(list_api_keys, alice.user_id, TokenFilter(**selection))}

    assert ids(state=TokenState.EXPIRED) == {expired.id}
    assert ids(state=TokenState.REVOKED) == {revoked.id}
    assert ids(last_used_before=clock.now + SECOND) == {live.id}
    assert ids(expires_before=clock.now + YEAR) == set()


def test_limits_of_a_key_end_with_the_key(env, alice, clock, parent_key):
    """TK-11: a session sees the limit of the operator."""
    assert env.act(find_api_key_limits, alice.principal).latest_expiry == clock.now + YEAR
    limits = env.act(find_api_key_limits, parent_key)
    assert limits == (50, 1, clock.now + timedelta(days=30))
    _create(env, parent_key, expires_at=limits.latest_expiry)


def test_key_that_ended_does_not_find_itself(env, alice, parent_key):
    env.act(revoke_api_key, alice.view, parent_key.credential.id)
    with pytest.raises(NotFound):
        env.act(find_own_api_key, parent_key)
