"""The log's names of refused attempts at secrets."""

import pytest

from accounts.crypto.keyring import Keyring
from accounts.errors import (
    InvalidClient,
    InvalidCredentials,
    InvalidRequest,
    LimitReached,
    NotFound,
    TooManyAttempts,
    WrongPassword,
)
from accounts.origin import Origin
from accounts.services.attempts import digests_of, find_refused_attempt

EMAIL = "alice@example.com"
REFUSALS = [
    InvalidClient(),
    InvalidCredentials(),
    WrongPassword(),
    TooManyAttempts("account", quota=1, window=1, retry_after=1),
]


def _find(env, refusal, attempted=EMAIL, address="192.0.2.7"):
    with env.database.transaction(writing=True, origin=Origin(address=address)) as session:
        session.attempted = attempted
        return find_refused_attempt(session, refusal)


def test_all_spellings_of_an_address_have_one_digest(keys):
    """LO-06, attack finding 11: an operator may spell it otherwise than the attacker."""
    assert digests_of(keys, "Alice@EXAMPLE.com") == digests_of(keys, EMAIL)
    assert digests_of(keys, "bob@example.com") != digests_of(keys, EMAIL)


@pytest.mark.parametrize("account", [EMAIL, "cli_0123456789ab", "no address", "", "\ud800", "\0"])
def test_digest_of_any_text_is_short_and_keyed(keys, account):
    """LO-01: without the root secret, nothing can be tried against it."""
    [digest] = digests_of(keys, account).values()
    assert len(digest) == 12
    assert set(digest) <= set("0123456789abcdef")
    assert [digest] != [*digests_of(Keyring(b"y" * 32), account).values()]


def test_digest_under_a_former_root_is_known(keys):
    """An operator looks into the log of last month, after a rotation."""
    rotated = Keyring(b"n" * 32, b"x" * 32)
    digests = digests_of(rotated, EMAIL)
    assert [*digests] == [*rotated.key_ids]
    assert digests[keys.key_id] == digests_of(keys, EMAIL)[keys.key_id]
    assert len(set(digests.values())) == 2


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.code)
def test_refused_attempt_has_address_and_digest(env, refusal):
    """LO-06, attack finding 11."""
    attempt = _find(env, refusal)
    assert attempt == ("192.0.2.7", digests_of(env.keys, EMAIL)[env.keys.key_id])
    assert _find(env, refusal, address=None).address is None


def test_other_refusals_are_no_attempts(env):
    """LO-06: only attempts at a secret are named, and no other typing error is blocked."""
    for refusal in (NotFound(), LimitReached(), InvalidRequest.of("name", "must be short")):
        assert _find(env, refusal) is None
    for refusal in REFUSALS:
        assert _find(env, refusal, attempted=None) is None
