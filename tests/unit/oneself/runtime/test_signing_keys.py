"""Signing keys in the memory of two replicas' workers."""

import secrets
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import event

from accounts.crypto.jwts import MAX_LIFETIME, SKEW, Claims, KeySet, LoadedKey
from accounts.errors import InvalidToken
from accounts.services.signing_keys import (
    OVERLAP,
    NoSigningKey,
    ensure_signing_key,
    rotate_signing_key,
)
from handlers.oauth import KEY_SECONDS
from oneself.runtime.signing_keys import SigningKeys

ISSUER = "https://account.example.com/"
AUDIENCE = "https://api.example.com/"


@pytest.fixture(scope="module")
def stock():
    """Three keys, since generating one takes longer than a test."""
    return [rsa.generate_private_key(65537, 2048) for _ in range(3)]


@pytest.fixture(autouse=True)
def _from_stock(monkeypatch, stock):
    keys = iter(stock)
    monkeypatch.setattr(rsa, "generate_private_key", lambda _exponent, _bits: next(keys))


@pytest.fixture
def replicas(make_env):
    """Two databases over one file, each with its keys in memory."""
    envs = make_env(), make_env()
    envs[0].act(ensure_signing_key)
    return [(env, SigningKeys(env.database)) for env in envs]


@contextmanager
def _statements():
    """Collect the statements sent to any database."""
    statements = []

    def on_execute(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(sqlalchemy.Engine, "before_cursor_execute", on_execute)
    try:
        yield statements
    finally:
        event.remove(sqlalchemy.Engine, "before_cursor_execute", on_execute)


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
        expires_at=moment + MAX_LIFETIME,
        authenticated_at=moment,
    )
    return keys.sign(claims, issuer=ISSUER)


def _is_valid(replica_keys, token, moment):
    try:
        replica_keys.current.verify(token, issuer=ISSUER, audience=AUDIENCE, now=moment)
    except InvalidToken:
        return False
    return True


def test_token_of_one_replica_is_valid_at_the_other(replicas, clock):
    """JW-08: they have the same key."""
    (_, first), (_, second) = replicas
    assert _is_valid(second, _sign(first.current, clock.now), clock.now)
    assert _is_valid(first, _sign(second.current, clock.now), clock.now)
    assert first.current.public() == second.current.public()


def test_rotation_on_one_replica_reaches_the_other(replicas, clock):
    """JW-08: both have read the key before either signs with it, and no token is refused."""
    (env, first), (_, second) = replicas
    old = _sign(second.current, clock.now)
    row = env.act(rotate_signing_key)
    clock.move(seconds=15)
    first.refresh()
    second.refresh()
    kids = {replica.current.signing_key(clock.now).kid for replica in (first, second)}
    assert len(kids) == 1
    assert row.kid not in kids
    clock.now += OVERLAP - timedelta(seconds=15)
    new = _sign(first.current, clock.now)
    assert new.split(".")[0] != old.split(".")[0]
    assert _is_valid(second, new, clock.now)
    assert _is_valid(second, old, clock.now)
    second.refresh()
    assert second.current.signing_key(clock.now).kid == row.kid
    assert _is_valid(second, new, clock.now)
    assert _is_valid(second, old, clock.now)


def test_replica_with_an_outdated_key_signs_valid_tokens(replicas, clock):
    """JW-08: the former key verifies until its last token has expired."""
    (env, first), (_, second) = replicas
    env.act(rotate_signing_key)
    first.refresh()
    clock.now += OVERLAP
    assert _is_valid(first, _sign(second.current, clock.now), clock.now)
    clock.now += MAX_LIFETIME + SKEW
    assert not _is_valid(first, _sign(second.current, clock.now), clock.now)
    second.refresh()
    assert _is_valid(first, _sign(second.current, clock.now), clock.now)


def test_unknown_key_costs_no_query(replicas, clock, stock):
    """JW-08: a thousand made-up key ids, each with a valid signature, cause no read."""
    (_, first), _ = replicas
    with _statements() as statements:
        for _ in range(1000):
            forger = KeySet((LoadedKey(secrets.token_urlsafe(32), stock[-1], clock.now, None),))
            assert not _is_valid(first, _sign(forger, clock.now), clock.now)
        assert statements == []
        first.refresh()
        assert any("signing_key" in statement for statement in statements)


def test_tampered_token_costs_no_query(replicas, clock):
    """JW-01: changed at each of its positions."""
    (_, first), _ = replicas
    token = _sign(first.current, clock.now)
    with _statements() as statements:
        for position, original in enumerate(token):
            replacement = "A" if original != "A" else "B"
            tampered = token[:position] + replacement + token[position + 1 :]
            assert not _is_valid(first, tampered, clock.now)
        assert _is_valid(first, token, clock.now)
    assert statements == []


def test_refresh_is_one_select(replicas):
    """JW-08: every worker does it every 15 seconds, beside the requests, without a lock."""
    (_, first), _ = replicas
    with _statements() as statements:
        first.refresh()
    # PostgreSQL needs no transaction around it.
    assert [word for word in (text.split()[0] for text in statements) if word != "BEGIN"] == [
        "SELECT"
    ]


def test_keys_are_read_during_a_write(replicas, run_in_thread):
    """JW-08: a long writing transaction does not keep a worker from the new key."""
    (env, first), _ = replicas
    with env.database.transaction(writing=True):
        run_in_thread(first.refresh)


def test_key_set_is_immutable(replicas):
    """JW-08: a request goes on with the set that it began with."""
    (env, first), _ = replicas
    before = first.current
    env.act(rotate_signing_key)
    assert first.current is before
    first.refresh()
    assert first.current is not before
    assert (len(before.public()), len(first.current.public())) == (1, 2)


def test_failed_refresh_keeps_the_previous_keys(replicas, clock):
    """JW-08: the job logs the failure, and the worker goes on."""
    (env, first), _ = replicas
    token = _sign(first.current, clock.now)
    env.execute("DELETE FROM signing_key")
    with pytest.raises(NoSigningKey):
        first.refresh()
    assert _is_valid(first, token, clock.now)


def test_worker_does_not_start_without_a_key(env):
    """JW-08: it fails at once, and not at the first token."""
    with pytest.raises(NoSigningKey):
        SigningKeys(env.database)


def test_no_cache_keeps_the_key_set_until_a_newer_key_signs():
    """JW-08, clients C10: the last replica reads a new key after 15 seconds."""
    assert timedelta(seconds=15 + KEY_SECONDS) < OVERLAP
