"""Refresh tokens: one exchange each, in families that end together."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from accounts.crypto import tokens
from accounts.errors import InvalidGrant
from accounts.flows.administration.tenants import disable_tenant
from accounts.flows.administration.users import disable_user
from accounts.flows.oauth.refresh_tokens import (
    begin_family,
    find_refresh_token,
    revoke_family,
    rotate_refresh_token,
)
from accounts.flows.sign_in.sessions import log_out, open_session
from accounts.services.credentials import REFRESH_TOKEN, revoke_all
from models import LoginSession, User

SCOPES = ["me/settings:read", "me/profile:read"]
AUDIENCE = "https://api.example.com"


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)[0]


def _begin(env, user, client, session_id=None):
    """Begin a family for a session of the resident's."""
    with env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, session_id or user.principal.credential.id)
        return begin_family(session, login, client, scopes=SCOPES, audience=AUDIENCE)


@pytest.fixture
def token(env, alice, client):
    return _begin(env, alice, client)


def _rotate(env, client, token):
    return env.act(rotate_refresh_token, client, token)[1]


def _alive(env, token):
    return env.act(find_refresh_token, token) is not None


def _family(env, token):
    return env.act(find_refresh_token, token).family_id


def _events(env, kind):
    return [row for row in env.rows("security_event") if row["kind"] == kind]


def test_a_family_is_of_a_session_and_a_client(env, alice, client, token):
    """JW-12: what the exchange grants is written down with the token, which itself is not."""
    row = env.act(find_refresh_token, token)
    assert (row.user_id, row.session_id) == (alice.user_id, alice.principal.credential.id)
    assert (row.client_id, row.audience) == (client.id, AUDIENCE)
    assert row.scopes == sorted(SCOPES)
    assert token.startswith(tokens.REFRESH_TOKEN)
    assert token not in str(env.rows("refresh_token"))


def test_a_family_lasts_as_long_as_its_session(env, alice, clock, client):
    """SE-04: no rotation makes the login longer."""
    clock.move(days=29, hours=23)
    token = _begin(env, alice, client)
    clock.move(minutes=59, seconds=59)
    token = _rotate(env, client, token)
    assert _alive(env, token)
    clock.move(seconds=1)
    assert not _alive(env, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)


def test_an_exchange_uses_the_token_up_and_makes_the_next(env, client, token):
    """JW-12: there is one live token in a family at any time."""
    row, following = env.act(rotate_refresh_token, client, token)
    assert row.scopes == sorted(SCOPES)
    assert not _alive(env, token)
    assert _alive(env, following)
    first, second = env.rows("refresh_token")
    for same in ("family_id", "session_id", "user_id", "client_id", "audience", "expires_at"):
        assert first[same] == second[same]


def test_a_second_use_ends_the_family(env, alice, client, token):
    """JW-12: one of the two that used it may be a thief (RFC 9700 section 4.14.2)."""
    following = _rotate(env, client, token)
    family = _family(env, following)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert not _alive(env, following)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, following)
    (event,) = _events(env, "authn_token_reuse")
    assert event["user_id"] == alice.user_id
    assert family in event["details"]


def test_a_second_use_of_a_family_that_has_ended_is_no_event(env, client, token):
    """JW-12: whoever has an old token cannot fill the owner's list of events with it."""
    _rotate(env, client, token)
    for _ in range(3):
        with pytest.raises(InvalidGrant):
            _rotate(env, client, token)
    assert len(_events(env, "authn_token_reuse")) == 1


def test_a_second_use_of_a_token_long_used_ends_the_family(env, client, token):
    """JW-12: whichever of the family it is."""
    following = token
    for _ in range(5):
        following = _rotate(env, client, following)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert not _alive(env, following)


def test_a_second_use_leaves_other_families(env, alice, bob, client, token):
    """JW-12: those of the same session, of another client, and of somebody else."""
    others = [
        _begin(env, alice, client),
        _begin(env, alice, env.client(alice.view.tenant_id)[0]),
        _begin(env, bob, env.client(bob.view.tenant_id)[0]),
    ]
    _rotate(env, client, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert all(_alive(env, other) for other in others)


def test_another_clients_token_is_unknown_and_not_used_up(env, alice, client, token):
    """JW-12: neither a live one nor a used one tells another client anything, or ends by it."""
    other, _ = env.client(alice.view.tenant_id)
    with pytest.raises(InvalidGrant):
        _rotate(env, other, token)
    following = _rotate(env, client, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, other, token)
    assert _alive(env, following)


def _race(work, *arguments):
    """Run the work once for each argument, in threads that begin together."""
    ready = threading.Barrier(len(arguments))

    def run(argument):
        ready.wait(30)
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(run, arguments))


def test_of_two_exchanges_at_once_one_wins_and_the_family_ends(env, alice, client):
    """JW-12: the row count of one UPDATE decides, in 20 rounds (CVE-2026-126280)."""

    def exchange(token):
        try:
            return _rotate(env, client, token)
        except InvalidGrant:
            return None

    for _ in range(20):
        token = _begin(env, alice, client)
        won = [following for following in _race(exchange, token, token) if following]
        assert len(won) == 1
        assert not _alive(env, won[0])
    assert len(_events(env, "authn_token_reuse")) == 20


@pytest.mark.parametrize(
    "wrong",
    ["", "ref_", tokens.mint("ref_"), tokens.mint("sess_"), "\ud800", "x" * 10_000],
    ids=range(6),
)
def test_what_is_no_token_is_refused(env, client, token, wrong):
    """TK-02: whatever it is, and the one that there is stays good."""
    with pytest.raises(InvalidGrant):
        _rotate(env, client, wrong)
    assert env.act(find_refresh_token, wrong) is None
    assert _alive(env, token)


def test_a_token_dies_with_its_session(env, alice, client, token):
    """SE-07: and one of another session does not."""
    opened = env.act(open_session, alice.user_id)
    kept = _begin(env, alice, client, opened.session_id)
    env.act(log_out, alice.principal)
    assert not _alive(env, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert _alive(env, _rotate(env, client, kept))


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_a_token_of_the_disabled_is_refused(env, alice, client, token, disabled):
    """SE-06: at the next exchange (CVE-2023-22492)."""
    if disabled == "user":
        env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))
    else:
        env.act(disable_tenant, alice.view.tenant_id)
    assert not _alive(env, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)


def test_a_token_that_was_not_used_up_ends_no_family(env, alice, client, token):
    """JW-12: it was refused because its session has ended, and that is no sign of a thief."""
    env.act(log_out, alice.principal)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert _events(env, "authn_token_reuse") == []
    assert [row["revoked_at"] for row in env.rows("refresh_token")] == [None]


def test_a_family_is_revoked_once(env, client, token):
    """JW-12: whether anything ended by it is told."""
    following = _rotate(env, client, token)
    family = _family(env, following)
    assert env.act(revoke_family, family) is True
    assert env.act(revoke_family, family) is False
    assert env.act(revoke_family, "fam_000000000000") is False
    assert not _alive(env, following)


def test_all_families_of_a_user_end_and_nobody_elses(env, alice, bob, client, token):
    """SE-07: a reset ends them whatever their session and client."""
    opened = env.act(open_session, alice.user_id)
    ended = [token, _begin(env, alice, client, opened.session_id)]
    kept = _begin(env, bob, env.client(bob.view.tenant_id)[0])
    env.act(revoke_all, alice.view, [REFRESH_TOKEN])
    assert [_alive(env, each) for each in ended] == [False, False]
    assert _alive(env, kept)


def test_past_the_most_families_the_oldest_ends(open_house):
    """JW-12: nobody is kept from a new one, and nobody has more than so many."""
    env = open_house(max_refresh_families=3)
    alice, bob = env.user("alice@example.com"), env.user("bob@example.org")
    client, _ = env.client(alice.view.tenant_id)
    other = _begin(env, bob, env.client(bob.view.tenant_id)[0])
    begun = []
    for _ in range(4):
        env.clock.now += timedelta(seconds=1)
        begun.append(_begin(env, alice, client))
    assert [_alive(env, token) for token in begun] == [False, True, True, True]
    assert _alive(env, other)


def test_a_used_token_is_not_counted_as_a_family(open_house):
    """JW-12: however often a family is renewed, it is one."""
    env = open_house(max_refresh_families=2)
    alice = env.user("alice@example.com")
    client, _ = env.client(alice.view.tenant_id)
    first = _begin(env, alice, client)
    for _ in range(5):
        first = _rotate(env, client, first)
    second = _begin(env, alice, client)
    assert _alive(env, first)
    assert _alive(env, second)
