"""Refresh tokens, which work once, and their families."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

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
from accounts.services.principal import Authentication
from models import LoginSession, User
from tests.support.deadlines import patient

SCOPES = ["me/settings:read", "me/profile:read"]
AUDIENCE = "https://api.example.com"
AUTHENTICATION = Authentication(datetime(2026, 4, 5, 10, tzinfo=UTC), ("pwd", "otp", "mfa"))


@pytest.fixture
def client(env, alice):
    return env.client(alice.view.tenant_id)[0]


def _begin(env, user, client, session_id=None):
    """Begin a family for a session of the user."""
    with env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, session_id or user.principal.credential.id)
        return begin_family(
            session, login, client, AUTHENTICATION, scopes=SCOPES, audience=AUDIENCE
        )


@pytest.fixture
def token(env, alice, client):
    return _begin(env, alice, client)


def _rotate(env, client, token):
    return env.act(rotate_refresh_token, client, token)[1]


def _is_active(env, token):
    return env.act(find_refresh_token, token) is not None


def _family(env, token):
    return env.act(find_refresh_token, token).family_id


def _events(env, kind):
    return [row for row in env.rows("security_event") if row["kind"] == kind]


def test_family_belongs_to_a_session_and_a_client(env, alice, client, token):
    """JW-12: the granted rights are stored with a digest of the token."""
    row = env.act(find_refresh_token, token)
    assert (row.user_id, row.session_id) == (alice.user_id, alice.principal.credential.id)
    assert (row.client_id, row.audience) == (client.id, AUDIENCE)
    assert row.scopes == sorted(SCOPES)
    assert token.startswith(tokens.REFRESH_TOKEN)
    assert token not in str(env.rows("refresh_token"))


def test_family_expires_with_its_session(env, alice, clock, client):
    """SE-04: rotation does not extend the login."""
    clock.move(days=29, hours=23)
    token = _begin(env, alice, client)
    clock.move(minutes=59, seconds=59)
    token = _rotate(env, client, token)
    assert _is_active(env, token)
    clock.move(seconds=1)
    assert not _is_active(env, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)


def test_exchange_consumes_the_token_and_issues_the_next(env, client, token):
    """JW-12: a family has one active token at any time."""
    row, next_token = env.act(rotate_refresh_token, client, token)
    assert row.scopes == sorted(SCOPES)
    assert not _is_active(env, token)
    assert _is_active(env, next_token)
    first, second = env.rows("refresh_token")
    for column in ("family_id", "session_id", "user_id", "client_id", "audience", "expires_at"):
        assert first[column] == second[column]


def test_token_reuse_revokes_the_family(env, alice, client, token):
    """JW-12: one of the two uses may be an attacker's (RFC 9700 section 4.14.2)."""
    next_token = _rotate(env, client, token)
    family = _family(env, next_token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert not _is_active(env, next_token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, next_token)
    (event,) = _events(env, "authn_token_reuse")
    assert event["user_id"] == alice.user_id
    assert family in event["details"]


def test_reuse_in_a_revoked_family_is_no_event(env, client, token):
    """JW-12: the holder of an old token cannot flood the owner's events."""
    _rotate(env, client, token)
    for _ in range(3):
        with pytest.raises(InvalidGrant):
            _rotate(env, client, token)
    assert len(_events(env, "authn_token_reuse")) == 1


def test_reuse_of_an_old_token_revokes_the_family(env, client, token):
    """JW-12: any used token of the family counts."""
    next_token = token
    for _ in range(5):
        next_token = _rotate(env, client, next_token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert not _is_active(env, next_token)


def test_token_reuse_keeps_other_families(env, alice, bob, client, token):
    """JW-12: of the same session, of another client, and of another user."""
    other_tokens = [
        _begin(env, alice, client),
        _begin(env, alice, env.client(alice.view.tenant_id)[0]),
        _begin(env, bob, env.client(bob.view.tenant_id)[0]),
    ]
    _rotate(env, client, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert all(_is_active(env, other_token) for other_token in other_tokens)


def test_token_of_another_client_is_rejected_and_not_consumed(env, alice, client, token):
    """JW-12: presenting a token of another client reveals nothing and revokes nothing."""
    other_client, _ = env.client(alice.view.tenant_id)
    with pytest.raises(InvalidGrant):
        _rotate(env, other_client, token)
    next_token = _rotate(env, client, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, other_client, token)
    assert _is_active(env, next_token)


def _race(work, *arguments):
    """Run the work for each argument, in threads that start together."""
    ready = threading.Barrier(len(arguments))

    def run(argument):
        ready.wait(patient(30))
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(run, arguments))


def test_one_of_two_concurrent_exchanges_wins_and_the_family_is_revoked(env, alice, client):
    """JW-12: the row count of one UPDATE decides, in 20 rounds (CVE-2026-126280)."""

    def exchange(token):
        try:
            return _rotate(env, client, token)
        except InvalidGrant:
            return None

    for _ in range(20):
        token = _begin(env, alice, client)
        winners = [next_token for next_token in _race(exchange, token, token) if next_token]
        assert len(winners) == 1
        assert not _is_active(env, winners[0])
    assert len(_events(env, "authn_token_reuse")) == 20


@pytest.mark.parametrize(
    "wrong",
    ["", "ref_", tokens.mint("ref_"), tokens.mint("sess_"), "\ud800", "x" * 10_000],
    ids=range(6),
)
def test_unknown_or_malformed_token_is_rejected(env, client, token, wrong):
    """TK-02: of any form; and the right one stays valid."""
    with pytest.raises(InvalidGrant):
        _rotate(env, client, wrong)
    assert env.act(find_refresh_token, wrong) is None
    assert _is_active(env, token)


def test_token_ends_with_its_session(env, alice, client, token):
    """SE-07: and tokens of other sessions stay valid."""
    new_session = env.act(open_session, alice.user_id)
    other_token = _begin(env, alice, client, new_session.session_id)
    env.act(log_out, alice.principal)
    assert not _is_active(env, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert _is_active(env, _rotate(env, client, other_token))


@pytest.mark.parametrize("disabled", ["user", "tenant"])
def test_token_of_disabled_user_or_tenant_is_rejected(env, alice, client, token, disabled):
    """SE-06: at the next exchange (CVE-2023-22492)."""
    if disabled == "user":
        env.act(lambda session: disable_user(session, session.get_one(User, alice.user_id)))
    else:
        env.act(disable_tenant, alice.view.tenant_id)
    assert not _is_active(env, token)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)


def test_unused_token_of_an_ended_session_is_no_reuse(env, alice, client, token):
    """JW-12: it was rejected because its session has ended, which is no sign of theft."""
    env.act(log_out, alice.principal)
    with pytest.raises(InvalidGrant):
        _rotate(env, client, token)
    assert _events(env, "authn_token_reuse") == []
    assert [row["revoked_at"] for row in env.rows("refresh_token")] == [None]


def test_family_is_revoked_once(env, client, token):
    """JW-12: the result says if anything was revoked."""
    next_token = _rotate(env, client, token)
    family = _family(env, next_token)
    assert env.act(revoke_family, family) is True
    assert env.act(revoke_family, family) is False
    assert env.act(revoke_family, "fam_000000000000") is False
    assert not _is_active(env, next_token)


def test_ending_families_spares_other_users(env, alice, bob, client, token):
    """SE-07: a reset ends them for all sessions and clients."""
    new_session = env.act(open_session, alice.user_id)
    revoked = [token, _begin(env, alice, client, new_session.session_id)]
    other_token = _begin(env, bob, env.client(bob.view.tenant_id)[0])
    env.act(revoke_all, alice.view, [REFRESH_TOKEN])
    assert [_is_active(env, refresh_token) for refresh_token in revoked] == [False, False]
    assert _is_active(env, other_token)


def test_oldest_family_ends_beyond_the_limit(make_env):
    """JW-12: a new family is always possible, and their number is bounded."""
    env = make_env(max_refresh_families=3)
    alice, bob = env.user("alice@example.com"), env.user("bob@example.org")
    client, _ = env.client(alice.view.tenant_id)
    other_token = _begin(env, bob, env.client(bob.view.tenant_id)[0])
    family_tokens = []
    for _ in range(4):
        env.clock.now += timedelta(seconds=1)
        family_tokens.append(_begin(env, alice, client))
    assert [_is_active(env, token) for token in family_tokens] == [False, True, True, True]
    assert _is_active(env, other_token)


def test_used_tokens_do_not_count_as_families(make_env):
    """JW-12: a family is one, however often it is rotated."""
    env = make_env(max_refresh_families=2)
    alice = env.user("alice@example.com")
    client, _ = env.client(alice.view.tenant_id)
    first = _begin(env, alice, client)
    for _ in range(5):
        first = _rotate(env, client, first)
    second = _begin(env, alice, client)
    assert _is_active(env, first)
    assert _is_active(env, second)
