"""Rotating personal access tokens."""

import json
from datetime import timedelta

import pytest

from accounts.errors import AlreadyRotated, InvalidRequest, InvalidToken, NotFound, TokenReused
from accounts.flows.tokens.personal_access_tokens import (
    create_pat,
    find_pat,
    find_pat_limits,
    list_pats,
    revoke_pat,
)
from accounts.flows.tokens.rotation import end_reused, find_reuse, rotate_own_pat, rotate_pat
from accounts.flows.tokens.token_lists import TokenFilter, TokenState
from accounts.services.principal import CredentialKind

KIND = CredentialKind.PAT
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
def create(env, alice):
    """Create a token for Alice that lives for thirty days; returns its row and itself."""
    client, secret = env.client(alice.view.tenant_id)

    def create():
        return env.act(
            create_pat,
            alice.principal,
            name="CI",
            scopes=["me/pat:rotate"],
            expires_at=env.clock.now + timedelta(days=30),
            client_id=client.id,
            client_secret=secret,
        )

    return create


@pytest.fixture
def rotate(env):
    """Rotate a token by itself."""

    def rotate(token, expires_at=None, grace=HOUR):
        principal = env.authenticate(KIND, token)
        return env.act(rotate_own_pat, principal, expires_at=expires_at, grace=grace)

    return rotate


def _reuses(env):
    """Return the details of the events about reuse."""
    return [
        json.loads(row["details"])
        for row in env.rows("security_event")
        if row["kind"] == "authn_token_reuse"
    ]


def test_new_token_is_like_the_old_one(env, alice, clock, create, rotate):
    """TK-11: the same scopes, and a life no longer than the user has chosen."""
    old, token = create()
    clock.move(days=10)
    rotation = rotate(token)
    assert rotation.token != token
    assert (rotation.pat.name, rotation.pat.scopes) == (old.name, old.scopes)
    assert rotation.pat.expires_at == clock.now + timedelta(days=30)
    assert [pat.id for pat in env.act(list_pats, alice.user_id)] == [rotation.pat.id]
    assert env.act(find_pat_limits, alice.user_id).active == 1
    rotated = env.act(list_pats, alice.user_id, TokenFilter(TokenState.ROTATED))
    assert [pat.id for pat in rotated] == [old.id]
    with pytest.raises(InvalidRequest):
        rotate(rotation.token, expires_at=clock.now + timedelta(days=30) + SECOND)
    with pytest.raises(InvalidRequest):
        rotate(rotation.token, expires_at=clock.now)


def test_old_token_ends_with_the_grace(env, clock, create, rotate):
    """Never later than it would have ended."""
    _, token = create()
    rotation = rotate(token)
    clock.move(minutes=59)
    env.authenticate(KIND, token)
    clock.move(minutes=1)
    with pytest.raises(InvalidToken):
        env.authenticate(KIND, token)
    clock.now = rotation.pat.expires_at - 2 * SECOND
    last = rotate(rotation.token, grace=timedelta(days=1))
    assert last.former_expiry == rotation.pat.expires_at


def test_grace_of_zero_ends_the_old_token_at_once(env, create, rotate):
    """It is rejected at the next request."""
    _, token = create()
    rotation = rotate(token, grace=timedelta(0))
    with pytest.raises(InvalidToken):
        env.authenticate(KIND, token)
    env.authenticate(KIND, rotation.token)


def test_second_rotation_at_the_same_time_only_conflicts(env, clock, create, rotate):
    """A client that sends a request twice keeps its token."""
    _, token = create()
    rotation = rotate(token)
    clock.move(seconds=10)
    with pytest.raises(AlreadyRotated):
        rotate(token)
    env.authenticate(KIND, rotation.token)


def test_later_rotation_of_a_replaced_token_revokes_the_family(env, clock, create, rotate):
    """RFC 9700 section 4.14.2: one of two holders may be an attacker."""
    old, token = create()
    second = rotate(token, grace=timedelta(days=1))
    clock.move(seconds=11)
    third = rotate(second.token)
    with pytest.raises(TokenReused):
        rotate(token)
    for value in (token, second.token, third.token):
        with pytest.raises(InvalidToken):
            env.authenticate(KIND, value)
    [details] = _reuses(env)
    assert details == {"credential": "pat", "credential_id": old.id}
    assert [message.kind for message in env.messages()].count("pat_reused") == 1


def test_reuse_is_detected_after_the_grace(env, alice, clock, create, rotate):
    """Once: afterwards the token is like any other revoked one."""
    _, token = create()
    rotation = rotate(token)
    assert env.act(find_reuse, token) == alice.user_id
    clock.move(days=2)
    assert env.act(find_reuse, rotation.token) is None
    assert env.act(find_reuse, token) == alice.user_id
    assert env.act(end_reused, alice.user_id, token) is True
    with pytest.raises(InvalidToken):
        env.authenticate(KIND, rotation.token)
    assert env.act(find_reuse, token) is None
    assert env.act(end_reused, alice.user_id, token) is False


def test_reuse_of_a_family_that_has_ended_is_no_event(env, alice, clock, create, rotate):
    """Nothing is left to revoke."""
    _, token = create()
    rotate(token)
    clock.move(days=31)
    assert env.act(end_reused, alice.user_id, token) is False
    assert _reuses(env) == []


def test_user_rotates_a_token_by_its_id(env, alice, clock, create):
    """The user is told, because a token that can be used comes into being."""
    old, _ = create()
    latest = clock.now + timedelta(days=365)
    rotation = env.act(rotate_pat, alice.principal, old.id.upper(), expires_at=latest, grace=HOUR)
    assert rotation.pat.expires_at == latest
    assert [message.kind for message in env.messages()].count("pat_created") == 2
    with pytest.raises(AlreadyRotated):
        env.act(rotate_pat, alice.principal, old.id, expires_at=None, grace=HOUR)
    too_late = latest + SECOND
    with pytest.raises(InvalidRequest):
        env.act(rotate_pat, alice.principal, rotation.pat.id, expires_at=too_late, grace=HOUR)


def test_token_of_another_user_cannot_be_rotated(env, bob, create):
    """AZ-10."""
    old, _ = create()
    with pytest.raises(NotFound):
        env.act(rotate_pat, bob.principal, old.id, expires_at=None, grace=HOUR)


@pytest.mark.parametrize("revoked", ["old", "new"])
@pytest.mark.parametrize("grace", [HOUR, timedelta(0)])
def test_revoking_one_token_revokes_its_family(env, alice, create, rotate, *, revoked, grace):
    """A user who revokes a token by the id that they know ends what came from it."""
    old, token = create()
    rotation = rotate(token, grace=grace)
    env.act(revoke_pat, alice.view, old.id if revoked == "old" else rotation.pat.id)
    for pat_id, value in ((old.id, token), (rotation.pat.id, rotation.token)):
        with pytest.raises(InvalidToken):
            env.authenticate(KIND, value)
        with pytest.raises(NotFound):
            env.act(find_pat, alice.view, pat_id)
