"""Refresh tokens: one exchange each, in families that end together."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from accounts.crypto import tokens
from accounts.errors import InvalidGrant
from accounts.flows.refresh_tokens import (
    begin_family,
    end_families,
    find_refresh_token,
    revoke_family,
    rotate_refresh_token,
)
from accounts.flows.sessions import log_out, open_session
from accounts.flows.tenants import disable_tenant
from accounts.flows.users import disable_user
from models import LoginSession, User

SCOPES = ["me/settings:read", "me/profile:read"]
AUDIENCE = "https://api.example.com"


@pytest.fixture
def client(house, alice):
    return house.client(alice.person.tenant_id)[0]


def _begin(house, resident, client, session_id=None):
    """Begin a family for a session of the resident's."""
    with house.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, session_id or resident.principal.credential.id)
        return begin_family(session, login, client, scopes=SCOPES, audience=AUDIENCE)


@pytest.fixture
def token(house, alice, client):
    return _begin(house, alice, client)


def _rotate(house, client, token):
    return house.act(rotate_refresh_token, client, token)[1]


def _alive(house, token):
    return house.act(find_refresh_token, token) is not None


def _family(house, token):
    return house.act(find_refresh_token, token).family_id


def _events(house, kind):
    return [row for row in house.rows("security_event") if row["kind"] == kind]


def test_a_family_is_of_a_session_and_a_client(house, alice, client, token):
    """JW-12: what the exchange grants is written down with the token, which itself is not."""
    row = house.act(find_refresh_token, token)
    assert (row.user_id, row.session_id) == (alice.user_id, alice.principal.credential.id)
    assert (row.client_id, row.audience) == (client.id, AUDIENCE)
    assert row.scopes == sorted(SCOPES)
    assert token.startswith(tokens.REFRESH_TOKEN)
    assert token not in str(house.rows("refresh_token"))


def test_a_family_lasts_as_long_as_its_session(house, alice, clock, client):
    """SE-04: no rotation makes the login longer."""
    clock.move(days=29, hours=23)
    token = _begin(house, alice, client)
    clock.move(minutes=59, seconds=59)
    token = _rotate(house, client, token)
    assert _alive(house, token)
    clock.move(seconds=1)
    assert not _alive(house, token)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)


def test_an_exchange_uses_the_token_up_and_makes_the_next(house, client, token):
    """JW-12: there is one live token in a family at any time."""
    row, following = house.act(rotate_refresh_token, client, token)
    assert row.scopes == sorted(SCOPES)
    assert not _alive(house, token)
    assert _alive(house, following)
    first, second = house.rows("refresh_token")
    for same in ("family_id", "session_id", "user_id", "client_id", "audience", "expires_at"):
        assert first[same] == second[same]


def test_a_second_use_ends_the_family(house, alice, client, token):
    """JW-12: one of the two that used it may be a thief (RFC 9700 section 4.14.2)."""
    following = _rotate(house, client, token)
    family = _family(house, following)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)
    assert not _alive(house, following)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, following)
    (event,) = _events(house, "authn_token_reuse")
    assert event["user_id"] == alice.user_id
    assert family in event["details"]


def test_a_second_use_of_a_family_that_has_ended_is_no_event(house, client, token):
    """JW-12: whoever has an old token cannot fill the owner's list of events with it."""
    _rotate(house, client, token)
    for _ in range(3):
        with pytest.raises(InvalidGrant):
            _rotate(house, client, token)
    assert len(_events(house, "authn_token_reuse")) == 1


def test_a_second_use_of_a_token_long_used_ends_the_family(house, client, token):
    """JW-12: whichever of the family it is."""
    following = token
    for _ in range(5):
        following = _rotate(house, client, following)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)
    assert not _alive(house, following)


def test_a_second_use_leaves_other_families(house, alice, bob, client, token):
    """JW-12: those of the same session, of another client, and of somebody else."""
    others = [
        _begin(house, alice, client),
        _begin(house, alice, house.client(alice.person.tenant_id)[0]),
        _begin(house, bob, house.client(bob.person.tenant_id)[0]),
    ]
    _rotate(house, client, token)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)
    assert all(_alive(house, other) for other in others)


def test_another_clients_token_is_unknown_and_not_used_up(house, alice, client, token):
    """JW-12: neither a live one nor a used one tells another client anything, or ends by it."""
    other, _ = house.client(alice.person.tenant_id)
    with pytest.raises(InvalidGrant):
        _rotate(house, other, token)
    following = _rotate(house, client, token)
    with pytest.raises(InvalidGrant):
        _rotate(house, other, token)
    assert _alive(house, following)


def _race(work, *arguments):
    """Run the work once for each argument, in threads that begin together."""
    ready = threading.Barrier(len(arguments))

    def run(argument):
        ready.wait(30)
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(run, arguments))


def test_of_two_exchanges_at_once_one_wins_and_the_family_ends(house, alice, client):
    """JW-12: the row count of one UPDATE decides, in 20 rounds (CVE-2026-126280)."""

    def exchange(token):
        try:
            return _rotate(house, client, token)
        except InvalidGrant:
            return None

    for _ in range(20):
        token = _begin(house, alice, client)
        won = [following for following in _race(exchange, token, token) if following]
        assert len(won) == 1
        assert not _alive(house, won[0])
    assert len(_events(house, "authn_token_reuse")) == 20


@pytest.mark.parametrize(
    "wrong",
    ["", "ref_", tokens.mint("ref_"), tokens.mint("sess_"), "\ud800", "x" * 10_000],
    ids=range(6),
)
def test_what_is_no_token_is_refused(house, client, token, wrong):
    """TK-02: whatever it is, and the one that there is stays good."""
    with pytest.raises(InvalidGrant):
        _rotate(house, client, wrong)
    assert house.act(find_refresh_token, wrong) is None
    assert _alive(house, token)


def test_a_token_dies_with_its_session(house, alice, client, token):
    """SE-07: and one of another session does not."""
    opened = house.act(open_session, alice.user_id)
    kept = _begin(house, alice, client, opened.session_id)
    house.act(log_out, alice.principal)
    assert not _alive(house, token)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)
    assert _alive(house, _rotate(house, client, kept))


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_a_token_of_the_disabled_is_refused(house, alice, client, token, disabled):
    """SE-06: at the next exchange (CVE-2023-22492)."""
    if disabled == "user":
        house.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))
    else:
        house.act(disable_tenant, alice.person.tenant_id)
    assert not _alive(house, token)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)


def test_a_token_that_was_not_used_up_ends_no_family(house, alice, client, token):
    """JW-12: it was refused because its session has ended, and that is no sign of a thief."""
    house.act(log_out, alice.principal)
    with pytest.raises(InvalidGrant):
        _rotate(house, client, token)
    assert _events(house, "authn_token_reuse") == []
    assert [row["revoked_at"] for row in house.rows("refresh_token")] == [None]


def test_a_family_is_revoked_once(house, client, token):
    """JW-12: whether anything ended by it is told."""
    following = _rotate(house, client, token)
    family = _family(house, following)
    assert house.act(revoke_family, family) is True
    assert house.act(revoke_family, family) is False
    assert house.act(revoke_family, "fam_000000000000") is False
    assert not _alive(house, following)


def test_all_families_of_a_user_end_and_nobody_elses(house, alice, bob, client, token):
    """SE-07: a reset ends them whatever their session and client."""
    opened = house.act(open_session, alice.user_id)
    ended = [token, _begin(house, alice, client, opened.session_id)]
    kept = _begin(house, bob, house.client(bob.person.tenant_id)[0])
    house.act(end_families, alice.user_id)
    assert [_alive(house, each) for each in ended] == [False, False]
    assert _alive(house, kept)


def test_past_the_most_families_the_oldest_ends(open_house):
    """JW-12: nobody is kept from a new one, and nobody has more than so many."""
    house = open_house(max_refresh_families=3)
    alice, bob = house.resident("alice@example.com"), house.resident("bob@example.org")
    client, _ = house.client(alice.person.tenant_id)
    other = _begin(house, bob, house.client(bob.person.tenant_id)[0])
    begun = []
    for _ in range(4):
        house.clock.now += timedelta(seconds=1)
        begun.append(_begin(house, alice, client))
    assert [_alive(house, token) for token in begun] == [False, True, True, True]
    assert _alive(house, other)


def test_a_used_token_is_not_counted_as_a_family(open_house):
    """JW-12: however often a family is renewed, it is one."""
    house = open_house(max_refresh_families=2)
    alice = house.resident("alice@example.com")
    client, _ = house.client(alice.person.tenant_id)
    first = _begin(house, alice, client)
    for _ in range(5):
        first = _rotate(house, client, first)
    second = _begin(house, alice, client)
    assert _alive(house, first)
    assert _alive(house, second)
