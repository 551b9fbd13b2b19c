"""JWT signing keys: creation, rotation, retirement."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from accounts.crypto.jwts import MAX_LIFETIME, SKEW, Claims, thumbprint
from accounts.crypto.keyring import Keyring, SealBroken
from accounts.errors import InvalidToken
from accounts.services.signing_keys import (
    OVERLAP,
    NoSigningKey,
    delete_retired_keys,
    ensure_signing_key,
    load_key_set,
    rotate_signing_key,
)
from accounts.services.users import open_tenant
from oneself.database import Database

ISSUER = "https://account.example.com/"
AUDIENCE = "https://api.example.com/"
VERIFIES_AFTER = MAX_LIFETIME + SKEW
MICROSECOND = timedelta(microseconds=1)

_generate_private_key = rsa.generate_private_key


@pytest.fixture(scope="module")
def stock():
    """Four keys, since generating one takes longer than a test."""
    return [_generate_private_key(65537, 2048) for _ in range(4)]


@pytest.fixture(autouse=True)
def during_generation(monkeypatch, stock):
    """Generate keys from the stock; run the functions of the returned list during the next one."""
    keys, functions = iter(stock), []

    def generate(exponent, bits):
        assert (exponent, bits) == (65537, 2048)
        while functions:
            functions.pop()()
        return next(keys)

    monkeypatch.setattr(rsa, "generate_private_key", generate)
    return functions


def _claims(time, lifetime=MAX_LIFETIME):
    return Claims(
        subject="usr_0123456789ab",
        session_id="ses_0123456789ab",
        client_id="cli_0123456789ab",
        tenant_id="tnt_0123456789ab",
        audience=AUDIENCE,
        scopes=frozenset({"me/profile:read"}),
        epoch=0,
        jti="jti_0123456789ab",
        issued_at=time,
        expires_at=time + lifetime,
        authenticated_at=time,
    )


def _sign(env, keys=None):
    return (keys or env.act(load_key_set)).sign(_claims(env.clock.now), issuer=ISSUER)


def _is_valid(env, token, keys=None):
    try:
        (keys or env.act(load_key_set)).verify(
            token, issuer=ISSUER, audience=AUDIENCE, now=env.clock.now
        )
    except InvalidToken:
        return False
    return True


def _kids(env):
    return {jwk["kid"] for jwk in env.act(load_key_set).public()}


def test_first_key_signs_immediately(env):
    """JW-08: a service can issue tokens at its first start."""
    env.act(ensure_signing_key)
    keys = env.act(load_key_set)
    (row,) = env.rows("signing_key")
    assert (
        [row["kid"]]
        == [keys.signing_key(env.clock.now).kid]
        == [jwk["kid"] for jwk in keys.public()]
    )
    assert row["active_from"] == row["created_at"]
    assert row["retires_at"] is None
    assert _is_valid(env, _sign(env))


def test_second_start_creates_no_second_key(env, during_generation):
    """JW-08: earlier tokens stay valid, and no key is generated in vain."""
    env.act(ensure_signing_key)
    token = _sign(env)
    during_generation.append(lambda: pytest.fail("A key was made."))
    env.act(ensure_signing_key)
    assert env.count("signing_key") == 1
    assert _is_valid(env, token)


def test_concurrent_starts_create_one_key(env, during_generation, run_in_thread):
    """JW-08: the other one checks again before it stores its key."""
    during_generation.append(lambda: run_in_thread(env.act, ensure_signing_key))
    env.act(ensure_signing_key)
    assert env.count("signing_key") == 1


@pytest.mark.parametrize("act", [ensure_signing_key, rotate_signing_key])
def test_nothing_is_locked_during_key_generation(env, during_generation, run_in_thread, act):
    """JW-08: it takes as long as a hash, without a lock (DB-01)."""
    during_generation.append(lambda: run_in_thread(env.act, open_tenant, "Meanwhile"))
    env.act(act)
    assert (env.count("tenant"), env.count("signing_key")) == (1, 1)


@pytest.mark.parametrize("act", [ensure_signing_key, rotate_signing_key])
def test_key_is_flushed_by_the_act(env, act):
    """TK-06: key rotation in the same transaction bypasses the session."""
    with env.database.transaction(writing=True) as session:
        act(session)
        rows = session.core.exec_driver_sql("SELECT count(*) FROM signing_key")
        assert rows.scalar() == 1


def test_key_is_rsa_with_2048_bits(env, monkeypatch):
    """JW-01: the library generates a new one each time."""
    monkeypatch.setattr(rsa, "generate_private_key", _generate_private_key)
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    loaded = env.act(load_key_set).keys
    assert [key.private_key.key_size for key in loaded] == [2048, 2048]
    numbers = [key.private_key.public_key().public_numbers() for key in loaded]
    assert [number.e for number in numbers] == [65537, 65537]
    assert numbers[0].n != numbers[1].n


def test_key_is_named_by_its_public_part(env, stock):
    """JW-13: the name reveals nothing else, and cannot be chosen."""
    env.act(ensure_signing_key)
    assert _kids(env) == {thumbprint(stock[0].public_key())}


def test_loading_without_a_key_fails(env):
    """JW-08: loading does not create one."""
    with pytest.raises(NoSigningKey):
        env.act(load_key_set)
    assert issubclass(NoSigningKey, LookupError)
    assert env.count("signing_key") == 0


def test_private_keys_are_not_stored_in_the_clear(env, stock):
    """TK-07: a copy of the database cannot sign without the root secret."""
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    numbers = stock[0].private_numbers()
    pem = stock[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secrets = [number.to_bytes(256, "big").lstrip(b"\0") for number in (numbers.d, numbers.p)]
    lines = pem.splitlines()
    stored = [bytes(row["private_sealed"]) for row in env.rows("signing_key")]
    content = env.stored_bytes()
    assert stored[0][-32:] in content
    assert not any(secret in content for secret in (*secrets, *lines))
    assert {row["key_id"] for row in env.rows("signing_key")} == {env.keys.key_id}


def test_sealed_key_is_unreadable_in_another_row(env):
    """TK-07: write access to the table cannot give a key another's name."""
    env.act(ensure_signing_key)
    old_kid = env.rows("signing_key")[0]["kid"]
    row = env.act(rotate_signing_key)
    env.execute(
        "UPDATE signing_key SET private_sealed ="
        " (SELECT private_sealed FROM signing_key WHERE kid = ?)",
        old_kid,
    )
    with pytest.raises(SealBroken, match=row.kid) as caught:
        env.act(load_key_set)
    assert "BEGIN" not in str(caught.value)


def test_sealed_key_is_unreadable_under_another_root(env):
    """TK-06: the message names the key for the operator."""
    env.act(ensure_signing_key)
    (kid,) = _kids(env)
    other_database = Database(
        env.location, keys=Keyring(b"y" * 32), limits=env.limits, clock=env.clock
    )
    with pytest.raises(SealBroken, match=kid), other_database.transaction(writing=False) as session:
        load_key_set(session)
    other_database.close()


def test_unreadable_key_is_ignored_after_retirement(env, clock):
    """TK-06: it would not verify anything any more."""
    env.act(ensure_signing_key)
    (old_kid,) = _kids(env)
    env.execute("UPDATE signing_key SET private_sealed = x'00'")
    row = env.act(rotate_signing_key)
    clock.move(seconds=(OVERLAP + VERIFIES_AFTER).total_seconds())
    assert _kids(env) == {row.kid} != {old_kid}


def test_previous_root_secret_opens_a_key(env):
    """TK-06: until it is sealed again."""
    env.act(ensure_signing_key)
    token = _sign(env)
    keys = Keyring(b"y" * 32, b"x" * 32)
    rotated_database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    with rotated_database.transaction(writing=False) as session:
        assert _is_valid(env, token, load_key_set(session))
    rotated_database.close()


def test_key_is_published_before_it_signs(env, clock):
    """JW-08: the old key signs for another minute, while clients fetch the new one."""
    env.act(ensure_signing_key)
    (old_kid,) = _kids(env)
    row = env.act(rotate_signing_key)
    assert (row.active_from, row.retires_at) == (clock.now + OVERLAP, None)
    assert _kids(env) == {old_kid, row.kid}
    clock.now += OVERLAP - MICROSECOND
    assert env.act(load_key_set).signing_key(env.clock.now).kid == old_kid
    clock.now += MICROSECOND
    assert env.act(load_key_set).signing_key(env.clock.now).kid == row.kid


def test_old_key_verifies_all_its_tokens(env, clock):
    """JW-08: the last token before the change is valid for its ten minutes, and no longer."""
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    clock.now += OVERLAP - timedelta(seconds=1)
    token = _sign(env)
    clock.now += MAX_LIFETIME - timedelta(seconds=1)
    assert _is_valid(env, token)
    clock.now += timedelta(seconds=1)
    assert not _is_valid(env, token)


def test_host_with_slow_clock_signs_valid_tokens(env, clock):
    """JW-14: by its clock the old key still signs, 30 seconds after it stopped elsewhere."""
    env.act(ensure_signing_key)
    old_kid = env.act(load_key_set).signing_key(env.clock.now).kid
    env.act(rotate_signing_key)
    keys = env.act(load_key_set)
    clock.now += OVERLAP + SKEW
    behind = clock.now - SKEW - timedelta(seconds=1)
    token = keys.sign(_claims(behind), issuer=ISSUER)
    assert old_kid in _kids(env)
    clock.now = behind + MAX_LIFETIME - MICROSECOND
    assert _is_valid(env, token)


def test_old_key_retires(env, clock):
    """JW-08: later tokens of a stolen key are rejected, also by an older key set."""
    env.act(ensure_signing_key)
    (old_kid,) = _kids(env)
    row = env.act(rotate_signing_key)
    old_key_set = env.act(load_key_set)
    stolen_key = next(key for key in old_key_set.keys if key.kid == old_kid)
    clock.now += OVERLAP + VERIFIES_AFTER - MICROSECOND
    forged = type(old_key_set)((stolen_key,)).sign(_claims(clock.now), issuer=ISSUER)
    assert _is_valid(env, forged)
    assert _kids(env) == {old_kid, row.kid}
    clock.now += MICROSECOND
    assert not _is_valid(env, forged)
    assert not _is_valid(env, forged, old_key_set)
    assert _kids(env) == {row.kid}
    assert _is_valid(env, _sign(env))


def test_rotation_without_a_key_creates_an_active_one(env):
    """JW-08: the only key signs without a delay."""
    row = env.act(rotate_signing_key)
    assert env.act(load_key_set).signing_key(env.clock.now).kid == row.kid
    assert _is_valid(env, _sign(env))


def test_last_of_two_rotations_wins(env, clock):
    """JW-08: the key in between starts at the same time, but retires, and never signs."""
    env.act(ensure_signing_key)
    first, last = env.act(rotate_signing_key), env.act(rotate_signing_key)
    clock.now += OVERLAP
    assert env.act(load_key_set).signing_key(env.clock.now).kid == last.kid
    clock.now += VERIFIES_AFTER
    assert _kids(env) == {last.kid} != {first.kid}


def test_later_rotation_does_not_extend_an_old_key(env, clock):
    """JW-08: its time of retirement is final."""
    env.act(ensure_signing_key)
    (old_kid,) = _kids(env)
    env.act(rotate_signing_key)
    clock.move(seconds=30)
    env.act(rotate_signing_key)
    clock.now += OVERLAP + VERIFIES_AFTER - timedelta(seconds=30)
    assert old_kid not in _kids(env)


def test_rotation_by_a_fast_clock_can_be_corrected(env, clock):
    """JW-14: a rotation by the right time retires a key that would have lived for years."""
    env.act(ensure_signing_key)
    (old_kid,) = _kids(env)
    right_time = clock.now
    clock.move(days=3650)
    future_key = env.act(rotate_signing_key)
    clock.now = right_time
    last = env.act(rotate_signing_key)
    clock.now += OVERLAP
    assert env.act(load_key_set).signing_key(env.clock.now).kid == last.kid
    clock.now += VERIFIES_AFTER
    assert _kids(env) == {last.kid}
    assert not {old_kid, future_key.kid} & _kids(env)


def test_rotation_by_a_slow_clock_is_effective(env, clock):
    """JW-14: its key looks older than the one that it replaces, and signs nevertheless."""
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    clock.move(minutes=-5)
    last = env.act(rotate_signing_key)
    clock.move(minutes=6)
    keys = env.act(load_key_set)
    assert keys.signing_key(env.clock.now).kid == last.kid
    token = _sign(env, keys)
    clock.now += MAX_LIFETIME - timedelta(seconds=1)
    assert _is_valid(env, token)


def test_host_with_slow_clock_uses_the_first_key(env, clock):
    """JW-14: it creates no other key, which other hosts would not know."""
    env.act(ensure_signing_key)
    clock.move(minutes=-5)
    env.act(ensure_signing_key)
    assert env.count("signing_key") == 1
    assert _is_valid(env, _sign(env))


def test_retired_keys_are_deleted(env, clock):
    """JW-08: keys that still verify stay."""
    env.act(ensure_signing_key)
    (old_kid,) = _kids(env)
    row = env.act(rotate_signing_key)
    clock.now += OVERLAP + VERIFIES_AFTER - MICROSECOND
    assert env.act(delete_retired_keys) == 0
    assert {stored["kid"] for stored in env.rows("signing_key")} == {old_kid, row.kid}
    clock.now += MICROSECOND
    assert env.act(delete_retired_keys) == 1
    assert [stored["kid"] for stored in env.rows("signing_key")] == [row.kid]
    assert env.act(delete_retired_keys) == 0


def test_retiring_key_without_a_successor_gets_one(env):
    """JW-08: its successor was deleted; the service would stop in eleven minutes."""
    env.act(ensure_signing_key)
    row = env.act(rotate_signing_key)
    env.execute("DELETE FROM signing_key WHERE kid = ?", row.kid)
    env.act(ensure_signing_key)
    (successor,) = [stored for stored in env.rows("signing_key") if stored["retires_at"] is None]
    assert env.act(load_key_set).signing_key(env.clock.now).kid == successor["kid"]
