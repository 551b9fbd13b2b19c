"""Time-based codes, by the vectors of RFC 6238."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from accounts.crypto import totp

#: The ASCII secret of RFC 6238 appendix B, "12345678901234567890", in base 32.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_the_standard(seconds, code):
    """RFC 6238 appendix B; of eight digits, the last six."""
    now = datetime.fromtimestamp(seconds, UTC)
    assert totp.find_step(SECRET, code[-6:], now) == seconds // 30


@pytest.mark.parametrize(("steps", "found"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_code_of_a_neighbouring_step_is_accepted(steps, found):
    """RFC 6238 section 5.2."""
    now = datetime.fromtimestamp(1111111109 + 30 * steps, UTC)
    assert (totp.find_step(SECRET, "081804", now) == 1111111109 // 30) is found


def test_uri_has_the_secret_and_names_the_account():
    uri = totp.otpauth_uri(SECRET, account="alice@example.com", issuer="Acme: Corp")
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert parse_qs(parts.query) == {"secret": [SECRET], "issuer": ["Acme: Corp"]}


def test_secrets_are_random_and_long_enough():
    """RFC 4226 section 4: at least 128 bits."""
    assert len({totp.make_secret() for _ in range(100)}) == 100
    assert len(totp.make_secret()) * 5 >= 128
