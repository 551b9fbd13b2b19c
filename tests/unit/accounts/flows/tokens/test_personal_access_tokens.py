"""Creating, finding, listing and revoking personal access tokens."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from accounts.errors import (
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    LimitReached,
    NotFound,
    ScopeNotHeld,
)
from accounts.flows.tokens.personal_access_tokens import (
    create_pat,
    find_pat,
    find_pat_limits,
    list_pats,
    revoke_pat,
)
from accounts.flows.tokens.token_lists import TokenFilter, TokenState
from accounts.services.authentication import write_uses
from accounts.services.principal import Credential, CredentialKind
from tests.support.deadlines import patient

KIND = CredentialKind.PAT
SECOND = timedelta(seconds=1)


@pytest.fixture
def create(env, alice):
    """Create a token for Alice with a client of all scopes, and these overrides."""
    client, secret = env.client(alice.view.tenant_id)

    def create(principal=alice.principal, **overrides):
        arguments = {
            "name": "Laptop",
            "scopes": ["me/profile:read"],
            "expires_at": env.clock.now + timedelta(days=30),
            "client_id": client.id,
            "client_secret": secret,
        }
        return env.act(create_pat, principal, **(arguments | overrides))

    return create


def test_token_is_shown_once(env, alice, create):
    """TK-03: a digest of it is stored."""
    _, token = create()
    assert token.startswith("pat_")
    row = env.rows("personal_access_token")[0]
    assert token not in [str(value) for value in row.values()]
    principal = env.authenticate(KIND, token)
    assert principal.user == alice.view
    assert principal.credential.rights == {"me/profile:read"}


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        ("2026-04-05T10:00:00Z", "2027-04-05T10:00:00Z"),
        ("2027-03-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2027-02-28T23:59:59Z", "2028-02-28T23:59:59Z"),
        ("2028-02-28T12:00:00Z", "2029-02-28T12:00:00Z"),
        ("2028-02-29T12:00:00Z", "2029-02-28T12:00:00Z"),
        ("2028-12-31T23:59:59Z", "2029-12-31T23:59:59Z"),
    ],
)
def test_token_must_expire_within_a_calendar_year(clock, create, now, latest):
    """TK-13: up to the same second of the next year."""
    clock.now = datetime.fromisoformat(now)
    end = datetime.fromisoformat(latest)
    for valid_end in (end - SECOND, end):
        assert create(expires_at=valid_end)[0].expires_at == valid_end
    with pytest.raises(InvalidRequest) as caught:
        create(expires_at=end + SECOND)
    assert [violation.field for violation in caught.value.violations] == [("expires_at",)]


@pytest.mark.parametrize("lifetime", [-SECOND, 0 * SECOND])
def test_expiry_in_the_past_is_rejected(clock, create, lifetime):
    """TK-13: the current time is too early."""
    with pytest.raises(InvalidRequest):
        create(expires_at=clock.now + lifetime)


def test_token_is_valid_until_its_expiry(env, clock, create):
    """DB-18: expiry is compared in UTC, with any offset in the request."""
    end = (clock.now + SECOND).astimezone(UTC)
    _, token = create(
        expires_at=end.astimezone(datetime.fromisoformat("2026-01-01T00:00+05:30").tzinfo)
    )
    env.authenticate(KIND, token)
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        env.authenticate(KIND, token)


def test_invalid_name_is_rejected(env, create):
    """HT-06: nothing is created."""
    with pytest.raises(InvalidRequest):
        create(name="\u202eLaptop")
    assert env.count("personal_access_token") == 0


def test_token_cannot_have_scopes_that_its_creator_lacks(alice, create):
    """TK-11: rights can only be passed on."""
    narrow = alice.principal._replace(
        credential=Credential(CredentialKind.SESSION, "ses", frozenset({"me/pat:write"}))
    )
    with pytest.raises(ScopeNotHeld):
        create(narrow)


def test_token_cannot_have_scopes_that_its_client_lacks(env, alice, create):
    """TK-10: both the user and the client need it."""
    client, secret = env.client(alice.view.tenant_id, "me/profile:read")
    create(client_id=client.id, client_secret=secret)
    with pytest.raises(ScopeNotHeld):
        create(
            client_id=client.id,
            client_secret=secret,
            scopes=["me/profile:read", "me/profile:write"],
        )


def test_unknown_scope_is_rejected(create):
    """It is rejected like any other scope that the user lacks."""
    with pytest.raises(ScopeNotHeld):
        create(scopes=["admin:everything"])


def test_token_needs_a_client_of_the_tenant(env, bob, create):
    """An unknown client, a wrong secret and another tenant's client are rejected alike."""
    other_client, other_secret = env.client(bob.view.tenant_id)
    for wrong in (
        {"client_id": "cli_000000000000"},
        {"client_secret": other_secret},
        {"client_id": other_client.id},
        {"client_id": other_client.id, "client_secret": other_secret},
    ):
        with pytest.raises(InvalidClient):
            create(**wrong)
    assert env.count("personal_access_token") == 0


def test_number_of_tokens_per_user_is_limited(env, make_env, alice):
    """TK-20: revoking a token makes room for another one."""
    limited = make_env(max_pats=1)
    client, secret = env.client(alice.view.tenant_id)

    def create():
        return limited.act(
            create_pat,
            alice.principal,
            name="Laptop",
            scopes=["me/profile:read"],
            expires_at=limited.clock.now + timedelta(days=1),
            client_id=client.id,
            client_secret=secret,
        )

    record, _ = create()
    with pytest.raises(LimitReached):
        create()
    limited.act(revoke_pat, alice.view, record.id)
    create()


def test_key_limit_survives_concurrent_creation(env, create):
    """TK-20: counting and creating happen in one writing transaction."""
    racers, limit = 4, env.limits.max_pats
    for _ in range(limit - 1):
        create()
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(patient(30))
        try:
            create()
        except LimitReached:
            return 0
        return 1

    with ThreadPoolExecutor(racers) as threads:
        assert sum(threads.map(race, range(racers))) == 1
    assert env.count("personal_access_token") == limit


def test_active_tokens_are_listed_newest_first(env, alice, clock, create):
    """Revoked and expired tokens are not active."""
    first, _ = create()
    clock.move(minutes=1)
    second, _ = create(expires_at=clock.now + timedelta(hours=1))
    third, _ = create()
    env.act(revoke_pat, alice.view, third.id)
    assert [pat.id for pat in env.act(list_pats, alice.user_id)] == [second.id, first.id]
    clock.move(hours=1)
    assert [pat.id for pat in env.act(list_pats, alice.user_id)] == [first.id]


def test_token_id_is_case_insensitive(env, alice, create):
    """A UUID in upper case is the same UUID."""
    record, _ = create()
    assert env.act(find_pat, alice.view, record.id.upper()).name == "Laptop"


def test_token_of_another_user_is_not_found(env, alice, bob, create):
    """AZ-10: neither to read nor to revoke."""
    record, token = create()
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, bob.view, record.id)
        with pytest.raises(NotFound):
            env.act(act, alice.view, "00000000-0000-7000-8000-000000000000")
    env.authenticate(KIND, token)


def test_revoked_token_is_not_found(env, alice, create):
    """It can be revoked once, by its UUID in any case."""
    record, _ = create()
    env.act(revoke_pat, alice.view, record.id.upper())
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, alice.view, record.id)


def test_expired_token_is_not_found(env, alice, clock, create):
    """There is nothing left to revoke."""
    record, _ = create()
    clock.move(days=30)
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, alice.view, record.id)


def test_list_is_filtered_by_state_and_times(env, alice, clock, create):
    """A token that was never used counts as used when it was created."""
    expired, _ = create(expires_at=clock.now + timedelta(hours=1))
    revoked, _ = create()
    env.act(revoke_pat, alice.view, revoked.id)
    clock.move(hours=1)
    used, _ = create(expires_at=clock.now + timedelta(days=9))
    unused, _ = create(expires_at=clock.now + timedelta(days=8))
    env.act(write_uses, {(KIND, used.id): clock.now + timedelta(hours=2)})

    def ids(**selection):
        return {pat.id for pat in env.act(list_pats, alice.user_id, TokenFilter(**selection))}

    assert ids(state=TokenState.EXPIRED) == {expired.id}
    assert ids(state=TokenState.REVOKED) == {revoked.id}
    assert ids(last_used_before=clock.now + timedelta(hours=1)) == {unused.id}
    assert ids(last_used_before=clock.now) == set()
    assert ids(expires_before=clock.now + timedelta(days=9)) == {unused.id}


def test_limits_tell_the_latest_expiry(env, alice, create):
    """TK-13: what they return is accepted."""
    limits = env.act(find_pat_limits, alice.user_id)
    assert (limits.maximum, limits.active) == (50, 0)
    create(expires_at=limits.latest_expiry)
    assert env.act(find_pat_limits, alice.user_id).active == 1
    with pytest.raises(InvalidRequest):
        create(expires_at=limits.latest_expiry + SECOND)
