"""Personal access tokens: made, found, listed, revoked."""

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
from accounts.flows.tokens.personal_access_tokens import create_pat, find_pat, list_pats, revoke_pat
from accounts.services.principal import Credential, CredentialKind

KIND = CredentialKind.PAT
SECOND = timedelta(seconds=1)


@pytest.fixture
def create(env, alice):
    """Makes a token for Alice by a client of all scopes, with whatever is given otherwise."""
    client, secret = env.client(alice.view.tenant_id)

    def create(principal=alice.principal, **changed):
        given = {
            "name": "Laptop",
            "scopes": ["me/profile:read"],
            "expires_at": env.clock.now + timedelta(days=30),
            "client_id": client.id,
            "client_secret": secret,
        }
        return env.act(create_pat, principal, **(given | changed))

    return create


def test_a_token_is_shown_once(env, alice, create):
    """What is stored of it is a digest (TK-03)."""
    _, token = create()
    assert token.startswith("pat_")
    row = env.rows("personal_access_token")[0]
    assert token not in [str(value) for value in row.values()]
    principal = env.recognise(KIND, token)
    assert principal.user == alice.view
    assert principal.credential.rights == {"me/profile:read"}


@pytest.mark.parametrize(
    ("made", "latest"),
    [
        ("2026-04-05T10:00:00Z", "2027-04-05T10:00:00Z"),
        ("2027-03-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ("2027-02-28T23:59:59Z", "2028-02-28T23:59:59Z"),
        ("2028-02-28T12:00:00Z", "2029-02-28T12:00:00Z"),
        ("2028-02-29T12:00:00Z", "2029-02-28T12:00:00Z"),
        ("2028-12-31T23:59:59Z", "2029-12-31T23:59:59Z"),
    ],
)
def test_a_token_ends_within_one_calendar_year(clock, create, made, latest):
    """A second less is fine and so is the year itself, a second more is not (TK-13)."""
    clock.now = datetime.fromisoformat(made)
    end = datetime.fromisoformat(latest)
    for good in (end - SECOND, end):
        assert create(expires_at=good)[0].expires_at == good
    with pytest.raises(InvalidRequest) as refused:
        create(expires_at=end + SECOND)
    assert [violation.field for violation in refused.value.violations] == [("expires_at",)]


@pytest.mark.parametrize("away", [-SECOND, 0 * SECOND])
def test_a_token_does_not_end_before_it_begins(clock, create, away):
    """The present moment is too early (TK-13)."""
    with pytest.raises(InvalidRequest):
        create(expires_at=clock.now + away)


def test_a_token_is_good_from_its_first_to_its_last_second(env, clock, create):
    """Its end is compared in UTC, whatever the offset it was given with (DB-18)."""
    end = (clock.now + SECOND).astimezone(UTC)
    _, token = create(
        expires_at=end.astimezone(datetime.fromisoformat("2026-01-01T00:00+05:30").tzinfo)
    )
    env.recognise(KIND, token)
    clock.move(seconds=1)
    with pytest.raises(InvalidToken):
        env.recognise(KIND, token)


def test_a_name_that_breaks_its_rule_is_refused(env, create):
    """Nothing is made then (HT-06)."""
    with pytest.raises(InvalidRequest):
        create(name="\u202eLaptop")
    assert env.count("personal_access_token") == 0


def test_a_token_has_no_scope_that_its_maker_lacks(alice, create):
    """The rights of the maker are the most that there is to give (TK-11)."""
    narrow = alice.principal._replace(
        credential=Credential(CredentialKind.SESSION, "ses", frozenset({"me/pat:write"}))
    )
    with pytest.raises(ScopeNotHeld):
        create(narrow)


def test_a_token_has_no_scope_that_its_client_lacks(env, alice, create):
    """Both the user and the client have to hold it (TK-10)."""
    client, secret = env.client(alice.view.tenant_id, "me/profile:read")
    create(client_id=client.id, client_secret=secret)
    with pytest.raises(ScopeNotHeld):
        create(
            client_id=client.id,
            client_secret=secret,
            scopes=["me/profile:read", "me/profile:write"],
        )


def test_a_scope_that_does_not_exist_is_held_by_nobody(create):
    """It is refused like any other that the maker lacks."""
    with pytest.raises(ScopeNotHeld):
        create(scopes=["admin:everything"])


def test_a_token_needs_a_client_of_the_tenant(env, bob, create):
    """An unknown client, a wrong secret and another tenant's client are refused alike."""
    foreign, foreign_secret = env.client(bob.view.tenant_id)
    for wrong in (
        {"client_id": "cli_000000000000"},
        {"client_secret": foreign_secret},
        {"client_id": foreign.id},
        {"client_id": foreign.id, "client_secret": foreign_secret},
    ):
        with pytest.raises(InvalidClient):
            create(**wrong)
    assert env.count("personal_access_token") == 0


def test_a_user_has_so_many_tokens_and_no_more(env, open_house, alice):
    """Room is made by revoking one (TK-20)."""
    small = open_house(max_pats=1)
    client, secret = env.client(alice.view.tenant_id)

    def create():
        return small.act(
            create_pat,
            alice.principal,
            name="Laptop",
            scopes=["me/profile:read"],
            expires_at=small.clock.now + timedelta(days=1),
            client_id=client.id,
            client_secret=secret,
        )

    made, _ = create()
    with pytest.raises(LimitReached):
        create()
    small.act(revoke_pat, alice.view, made.id)
    create()


def test_the_limit_holds_when_many_are_made_at_once(env, create):
    """Each counts and makes in one writing transaction (TK-20)."""
    racers, limit = 4, env.limits.max_pats
    for _ in range(limit - 1):
        create()
    ready = threading.Barrier(racers)

    def race(_):
        ready.wait(30)
        try:
            create()
        except LimitReached:
            return 0
        return 1

    with ThreadPoolExecutor(racers) as threads:
        assert sum(threads.map(race, range(racers))) == 1
    assert env.count("personal_access_token") == limit


def test_active_tokens_are_listed_newest_first(env, alice, clock, create):
    """Neither revoked nor expired ones are active."""
    first, _ = create()
    clock.move(minutes=1)
    second, _ = create(expires_at=clock.now + timedelta(hours=1))
    third, _ = create()
    env.act(revoke_pat, alice.view, third.id)
    assert [pat.id for pat in env.act(list_pats, alice.user_id)] == [second.id, first.id]
    clock.move(hours=1)
    assert [pat.id for pat in env.act(list_pats, alice.user_id)] == [first.id]


def test_a_token_is_found_by_its_uuid_in_any_case(env, alice, create):
    """A UUID in capitals is the same UUID."""
    made, _ = create()
    assert env.act(find_pat, alice.view, made.id.upper()).name == "Laptop"


def test_a_token_of_somebody_else_is_not_found(env, alice, bob, create):
    """Neither to read nor to revoke (AZ-10)."""
    made, token = create()
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, bob.view, made.id)
        with pytest.raises(NotFound):
            env.act(act, alice.view, "00000000-0000-7000-8000-000000000000")
    env.recognise(KIND, token)


def test_a_revoked_token_is_not_found(env, alice, create):
    """It is revoked once, by its UUID in any case."""
    made, _ = create()
    env.act(revoke_pat, alice.view, made.id.upper())
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, alice.view, made.id)


def test_an_expired_token_is_not_found(env, alice, clock, create):
    """There is nothing left to revoke."""
    made, _ = create()
    clock.move(days=30)
    for act in (find_pat, revoke_pat):
        with pytest.raises(NotFound):
            env.act(act, alice.view, made.id)
