"""The keys that sign JWTs, from their making to their end."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from accounts.crypto.jwts import LONGEST_LIFETIME, SKEW, Claims, thumbprint
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
AFTERLIFE = LONGEST_LIFETIME + SKEW
LAST = timedelta(microseconds=1)

_really_generate = rsa.generate_private_key


@pytest.fixture(scope="module")
def stock():
    """Four keys, since making one takes longer than a test."""
    return [_really_generate(65537, 2048) for _ in range(4)]


@pytest.fixture(autouse=True)
def made(monkeypatch, stock):
    """Has keys made from the stock; what is put into the list happens while the next one is."""
    keys, meanwhile = iter(stock), []

    def generate(exponent, bits):
        assert (exponent, bits) == (65537, 2048)
        while meanwhile:
            meanwhile.pop()()
        return next(keys)

    monkeypatch.setattr(rsa, "generate_private_key", generate)
    return meanwhile


def _claims(moment, lifetime=LONGEST_LIFETIME):
    return Claims(
        subject="usr_0123456789ab",
        session_id="ses_0123456789ab",
        client_id="cli_0123456789ab",
        tenant_id="tnt_0123456789ab",
        audience=AUDIENCE,
        scopes=frozenset({"me/profile:read"}),
        epoch=0,
        jti="jti_0123456789ab",
        issued_at=moment,
        expires_at=moment + lifetime,
        authenticated_at=moment,
    )


def _sign(env, keys=None):
    return (keys or env.act(load_key_set)).sign(_claims(env.clock.now), issuer=ISSUER)


def _good(env, token, keys=None):
    try:
        (keys or env.act(load_key_set)).verify(
            token, issuer=ISSUER, audience=AUDIENCE, now=env.clock.now
        )
    except InvalidToken:
        return False
    return True


def _kids(env):
    return {jwk["kid"] for jwk in env.act(load_key_set).public()}


def test_the_first_key_signs_at_once(env):
    """JW-08: a service that starts for the first time can issue tokens."""
    env.act(ensure_signing_key)
    keys = env.act(load_key_set)
    (row,) = env.rows("signing_key")
    assert [row["kid"]] == [keys.signing_kid] == [jwk["kid"] for jwk in keys.public()]
    assert row["active_from"] == row["created_at"]
    assert row["retires_at"] is None
    assert _good(env, _sign(env))


def test_a_second_start_makes_no_second_key(env, made):
    """JW-08: what was signed before a restart is good after it, and no key is made in vain."""
    env.act(ensure_signing_key)
    token = _sign(env)
    made.append(lambda: pytest.fail("A key was made."))
    env.act(ensure_signing_key)
    assert env.count("signing_key") == 1
    assert _good(env, token)


def test_of_two_processes_that_start_at_once_one_makes_the_key(env, made, elsewhere):
    """JW-08: the other notices it, although it had looked before."""
    made.append(lambda: elsewhere(env.act, ensure_signing_key))
    env.act(ensure_signing_key)
    assert env.count("signing_key") == 1


@pytest.mark.parametrize("act", [ensure_signing_key, rotate_signing_key])
def test_nobody_waits_while_a_key_is_made(env, made, elsewhere, act):
    """JW-08: it takes as long as a hash, and no lock is held for that time (DB-01)."""
    made.append(lambda: elsewhere(env.act, open_tenant, "Meanwhile"))
    env.act(act)
    assert (env.count("tenant"), env.count("signing_key")) == (1, 1)


@pytest.mark.parametrize("act", [ensure_signing_key, rotate_signing_key])
def test_a_key_is_in_the_table_when_the_act_ends(env, act):
    """TK-06: sealing everything anew, in the same transaction, goes past the session."""
    with env.database.transaction(writing=True) as session:
        act(session)
        rows = session.core.exec_driver_sql("SELECT count(*) FROM signing_key")
        assert rows.scalar() == 1


def test_a_key_is_one_of_rsa_with_2048_bits(env, monkeypatch):
    """JW-01: the key is made by the library, each time another one."""
    monkeypatch.setattr(rsa, "generate_private_key", _really_generate)
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    held = env.act(load_key_set).keys
    assert [key.private_key.key_size for key in held] == [2048, 2048]
    numbers = [key.private_key.public_key().public_numbers() for key in held]
    assert [each.e for each in numbers] == [65537, 65537]
    assert numbers[0].n != numbers[1].n


def test_a_key_is_named_by_its_public_part(env, stock):
    """JW-13: the name tells nothing else, and nobody can choose it."""
    env.act(ensure_signing_key)
    assert _kids(env) == {thumbprint(stock[0].public_key())}


def test_without_a_key_there_is_no_set(env):
    """JW-08: to look does not make one."""
    with pytest.raises(NoSigningKey):
        env.act(load_key_set)
    assert issubclass(NoSigningKey, LookupError)
    assert env.count("signing_key") == 0


def test_the_database_holds_no_private_key_in_the_clear(env, stock):
    """TK-07: a copy of the database signs nothing without the root secret."""
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    numbers = stock[0].private_numbers()
    pem = stock[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    secrets = [number.to_bytes(256, "big").lstrip(b"\0") for number in (numbers.d, numbers.p)]
    lines = pem.splitlines()
    stored = [bytes(row["private_sealed"]) for row in env.rows("signing_key")]
    everything = env.stored()
    assert stored[0][-32:] in everything
    assert not any(each in everything for each in (*secrets, *lines))
    assert {row["key_id"] for row in env.rows("signing_key")} == {env.keys.key_id}


def test_a_key_opens_in_its_own_row_only(env):
    """TK-07: whoever can write to the table cannot give one key the name of another."""
    env.act(ensure_signing_key)
    former = env.rows("signing_key")[0]["kid"]
    row = env.act(rotate_signing_key)
    env.execute(
        "UPDATE signing_key SET private_sealed ="
        " (SELECT private_sealed FROM signing_key WHERE kid = ?)",
        former,
    )
    with pytest.raises(SealBroken, match=row.kid) as broken:
        env.act(load_key_set)
    assert "BEGIN" not in str(broken.value)


def test_another_root_secret_opens_no_key(env):
    """TK-06: the message names the key, so that an operator knows which."""
    env.act(ensure_signing_key)
    (kid,) = _kids(env)
    other = Database(env.location, keys=Keyring(b"y" * 32), limits=env.limits, clock=env.clock)
    with pytest.raises(SealBroken, match=kid), other.transaction(writing=False) as session:
        load_key_set(session)
    other.close()


def test_a_key_that_cannot_be_opened_is_let_be_once_it_has_retired(env, clock):
    """TK-06: it would verify nothing any more."""
    env.act(ensure_signing_key)
    (former,) = _kids(env)
    env.execute("UPDATE signing_key SET private_sealed = x'00'")
    row = env.act(rotate_signing_key)
    clock.move(seconds=(OVERLAP + AFTERLIFE).total_seconds())
    assert _kids(env) == {row.kid} != {former}


def test_a_former_root_secret_still_opens_a_key(env):
    """TK-06: until it is sealed anew."""
    env.act(ensure_signing_key)
    token = _sign(env)
    keys = Keyring(b"y" * 32, b"x" * 32)
    later = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    with later.transaction(writing=False) as session:
        assert _good(env, token, load_key_set(session))
    later.close()


def test_a_key_is_published_before_it_signs(env, clock):
    """JW-08: for a minute the former one signs, while everybody gets to know the new one."""
    env.act(ensure_signing_key)
    (former,) = _kids(env)
    row = env.act(rotate_signing_key)
    assert (row.active_from, row.retires_at) == (clock.now + OVERLAP, None)
    assert _kids(env) == {former, row.kid}
    clock.now += OVERLAP - LAST
    assert env.act(load_key_set).signing_kid == former
    clock.now += LAST
    assert env.act(load_key_set).signing_kid == row.kid


def test_a_former_key_verifies_all_that_it_signed(env, clock):
    """JW-08: the last token before the change is good for its ten minutes, and no longer."""
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    clock.now += OVERLAP - timedelta(seconds=1)
    token = _sign(env)
    clock.now += LONGEST_LIFETIME - timedelta(seconds=1)
    assert _good(env, token)
    clock.now += timedelta(seconds=1)
    assert not _good(env, token)


def test_a_host_whose_clock_is_behind_signs_nothing_that_fails(env, clock):
    """JW-14: by its clock the former key still signs, 30 seconds after it ceased elsewhere."""
    env.act(ensure_signing_key)
    former = env.act(load_key_set).signing_kid
    env.act(rotate_signing_key)
    keys = env.act(load_key_set)
    clock.now += OVERLAP + SKEW
    behind = clock.now - SKEW - timedelta(seconds=1)
    token = keys.sign(_claims(behind), issuer=ISSUER)
    assert former in _kids(env)
    clock.now = behind + LONGEST_LIFETIME - LAST
    assert _good(env, token)


def test_a_former_key_retires(env, clock):
    """JW-08: what somebody signs with it afterwards is refused, also by a set of before."""
    env.act(ensure_signing_key)
    (former,) = _kids(env)
    row = env.act(rotate_signing_key)
    before = env.act(load_key_set)
    stolen = next(key for key in before.keys if key.kid == former)
    clock.now += OVERLAP + AFTERLIFE - LAST
    forged = type(before)((stolen,), former).sign(_claims(clock.now), issuer=ISSUER)
    assert _good(env, forged)
    assert _kids(env) == {former, row.kid}
    clock.now += LAST
    assert not _good(env, forged)
    assert not _good(env, forged, before)
    assert _kids(env) == {row.kid}
    assert _good(env, _sign(env))


def test_a_rotation_without_a_former_key_makes_one_that_signs(env):
    """JW-08: nobody waits a minute for the only key there is."""
    row = env.act(rotate_signing_key)
    assert env.act(load_key_set).signing_kid == row.kid
    assert _good(env, _sign(env))


def test_of_two_rotations_at_once_the_last_key_stays(env, clock):
    """JW-08: the one in between begins at the same moment, but retires, and signs nothing."""
    env.act(ensure_signing_key)
    first, last = env.act(rotate_signing_key), env.act(rotate_signing_key)
    clock.now += OVERLAP
    assert env.act(load_key_set).signing_kid == last.kid
    clock.now += AFTERLIFE
    assert _kids(env) == {last.kid} != {first.kid}


def test_a_later_rotation_gives_a_former_key_no_more_time(env, clock):
    """JW-08: it retires when it was told to."""
    env.act(ensure_signing_key)
    (former,) = _kids(env)
    env.act(rotate_signing_key)
    clock.move(seconds=30)
    env.act(rotate_signing_key)
    clock.now += OVERLAP + AFTERLIFE - timedelta(seconds=30)
    assert former not in _kids(env)


def test_a_rotation_by_a_host_whose_clock_is_ahead_can_be_made_good(env, clock):
    """JW-14: the next one, by the right time, ends a former key that would have lived for years."""
    env.act(ensure_signing_key)
    (former,) = _kids(env)
    right = clock.now
    clock.move(days=3650)
    astray = env.act(rotate_signing_key)
    clock.now = right
    last = env.act(rotate_signing_key)
    clock.now += OVERLAP
    assert env.act(load_key_set).signing_kid == last.kid
    clock.now += AFTERLIFE
    assert _kids(env) == {last.kid}
    assert not {former, astray.kid} & _kids(env)


def test_a_rotation_by_a_host_whose_clock_is_behind_counts(env, clock):
    """JW-14: its key seems older than the one that it replaces, and signs all the same."""
    env.act(ensure_signing_key)
    env.act(rotate_signing_key)
    clock.move(minutes=-5)
    last = env.act(rotate_signing_key)
    clock.move(minutes=6)
    keys = env.act(load_key_set)
    assert keys.signing_kid == last.kid
    token = _sign(env, keys)
    clock.now += LONGEST_LIFETIME - timedelta(seconds=1)
    assert _good(env, token)


def test_a_host_whose_clock_is_behind_uses_the_first_key(env, clock):
    """JW-14: it makes no other, which the host that made the first would not know."""
    env.act(ensure_signing_key)
    clock.move(minutes=-5)
    env.act(ensure_signing_key)
    assert env.count("signing_key") == 1
    assert _good(env, _sign(env))


def test_keys_that_have_retired_are_forgotten(env, clock):
    """JW-08: they are deleted, and those that still verify stay."""
    env.act(ensure_signing_key)
    (former,) = _kids(env)
    row = env.act(rotate_signing_key)
    clock.now += OVERLAP + AFTERLIFE - LAST
    assert env.act(delete_retired_keys) == 0
    assert {each["kid"] for each in env.rows("signing_key")} == {former, row.kid}
    clock.now += LAST
    assert env.act(delete_retired_keys) == 1
    assert [each["kid"] for each in env.rows("signing_key")] == [row.kid]
    assert env.act(delete_retired_keys) == 0


def test_a_key_that_retires_without_a_successor_gets_one(env):
    """JW-08: somebody has deleted it; the service would stop in eleven minutes."""
    env.act(ensure_signing_key)
    row = env.act(rotate_signing_key)
    env.execute("DELETE FROM signing_key WHERE kid = ?", row.kid)
    env.act(ensure_signing_key)
    (lasting,) = [each for each in env.rows("signing_key") if each["retires_at"] is None]
    assert env.act(load_key_set).signing_kid == lasting["kid"]
