"""The signing keys as the workers of two replicas hold them."""

import secrets
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import event

from accounts.crypto.jwts import LONGEST_LIFETIME, SKEW, Claims, HeldKey, KeySet
from accounts.errors import InvalidToken
from accounts.services.signing_keys import (
    OVERLAP,
    NoSigningKey,
    ensure_signing_key,
    rotate_signing_key,
)
from oneself.runtime.signing_keys import SigningKeys

ISSUER = "https://account.example.com/"
AUDIENCE = "https://api.example.com/"


@pytest.fixture(scope="module")
def stock():
    """Three keys, since making one takes longer than a test."""
    return [rsa.generate_private_key(65537, 2048) for _ in range(3)]


@pytest.fixture(autouse=True)
def _from_stock(monkeypatch, stock):
    keys = iter(stock)
    monkeypatch.setattr(rsa, "generate_private_key", lambda _exponent, _bits: next(keys))


@pytest.fixture
def replicas(open_house):
    """Two databases over one file, each with the keys that it holds."""
    houses = open_house(), open_house()
    houses[0].act(ensure_signing_key)
    return [(env, SigningKeys(env.database)) for env in houses]


@contextmanager
def _statements():
    """Collects every statement that goes to any database."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", note)


def _sign(keys, moment):
    claims = Claims(
        subject="usr_0123456789ab",
        session_id="ses_0123456789ab",
        client_id="cli_0123456789ab",
        tenant_id="tnt_0123456789ab",
        audience=AUDIENCE,
        scopes=frozenset({"me/profile:read"}),
        epoch=0,
        jti="jti_0123456789ab",
        issued_at=moment,
        expires_at=moment + LONGEST_LIFETIME,
        authenticated_at=moment,
    )
    return keys.sign(claims, issuer=ISSUER)


def _good(held, token, moment):
    try:
        held.current.verify(token, issuer=ISSUER, audience=AUDIENCE, now=moment)
    except InvalidToken:
        return False
    return True


def test_a_token_of_one_replica_is_good_at_the_other(replicas, clock):
    """JW-08: they hold the same key."""
    (_, here), (_, there) = replicas
    assert _good(there, _sign(here.current, clock.now), clock.now)
    assert _good(here, _sign(there.current, clock.now), clock.now)
    assert here.current.public() == there.current.public()


def test_a_rotation_on_one_replica_reaches_the_other(replicas, clock):
    """JW-08: both have read the key before either signs with it, and nobody is refused."""
    (env, here), (_, there) = replicas
    old = _sign(there.current, clock.now)
    row = env.act(rotate_signing_key)
    clock.move(seconds=15)
    here.refresh()
    there.refresh()
    assert here.current.signing_kid == there.current.signing_kid != row.kid
    clock.now += OVERLAP - timedelta(seconds=15)
    new = _sign(here.current, clock.now)
    assert new.split(".")[0] != old.split(".")[0]
    assert _good(there, new, clock.now)
    assert _good(there, old, clock.now)
    there.refresh()
    assert there.current.signing_kid == row.kid
    assert _good(there, new, clock.now)
    assert _good(there, old, clock.now)


def test_a_replica_that_has_not_read_again_signs_what_the_other_takes(replicas, clock):
    """JW-08: the former key verifies until its last token has expired."""
    (env, here), (_, there) = replicas
    env.act(rotate_signing_key)
    here.refresh()
    clock.now += OVERLAP
    assert _good(here, _sign(there.current, clock.now), clock.now)
    clock.now += LONGEST_LIFETIME + SKEW
    assert not _good(here, _sign(there.current, clock.now), clock.now)
    there.refresh()
    assert _good(here, _sign(there.current, clock.now), clock.now)


def test_an_unknown_key_costs_no_query(replicas, clock, stock):
    """JW-08: a thousand made-up names, each well signed, and nothing is read for any of them."""
    (_, here), _ = replicas
    with _statements() as seen:
        for _ in range(1000):
            forger = KeySet.of(
                [HeldKey(secrets.token_urlsafe(32), stock[-1], clock.now, None)], clock.now
            )
            assert not _good(here, _sign(forger, clock.now), clock.now)
        assert seen == []
        here.refresh()
        assert any("signing_key" in statement for statement in seen)


def test_a_changed_token_costs_no_query(replicas, clock):
    """JW-01: at each of its positions."""
    (_, here), _ = replicas
    token = _sign(here.current, clock.now)
    with _statements() as seen:
        for position, present in enumerate(token):
            changed = "A" if present != "A" else "B"
            wrong = token[:position] + changed + token[position + 1 :]
            assert not _good(here, wrong, clock.now)
        assert _good(here, token, clock.now)
    assert seen == []


def test_a_reading_is_one_select(replicas):
    """JW-08: every worker does it every 15 seconds, beside the requests, and locks out nobody."""
    (_, here), _ = replicas
    with _statements() as seen:
        here.refresh()
    # PostgreSQL needs no transaction around it.
    assert [word for word in (each.split()[0] for each in seen) if word != "BEGIN"] == ["SELECT"]


def test_keys_are_read_where_another_writes(replicas, elsewhere):
    """JW-08: a long writing transaction of somebody does not keep a worker from the new key."""
    (env, here), _ = replicas
    with env.database.transaction(writing=True):
        elsewhere(here.refresh)


def test_what_was_read_does_not_change(replicas):
    """JW-08: a request goes on with the set that it began with."""
    (env, here), _ = replicas
    before = here.current
    env.act(rotate_signing_key)
    assert here.current is before
    here.refresh()
    assert here.current is not before
    assert (len(before.public()), len(here.current.public())) == (1, 2)


def test_a_reading_that_fails_leaves_what_was_read(replicas, clock):
    """JW-08: the job says so in the log, and the worker goes on."""
    (env, here), _ = replicas
    token = _sign(here.current, clock.now)
    env.execute("DELETE FROM signing_key")
    with pytest.raises(NoSigningKey):
        here.refresh()
    assert _good(here, token, clock.now)


def test_a_worker_does_not_start_without_a_key(env):
    """JW-08: it says so at once, and not at the first token."""
    with pytest.raises(NoSigningKey):
        SigningKeys(env.database)
