"""JWT access tokens: which are good, and every way that we know to make one that is not."""

import base64
import binascii
import hashlib
import hmac
import json
import string
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from accounts.crypto.jwts import (
    LONGEST_LIFETIME,
    Claims,
    HeldKey,
    KeySet,
    looks_like_jwt,
    thumbprint,
)
from accounts.errors import InvalidToken

NOW = datetime(2026, 4, 5, 10, tzinfo=UTC)
START = NOW - timedelta(days=90)
IAT = int(NOW.timestamp())
ISSUER = "https://account.example.com/"
AUDIENCE = "https://api.example.com/"
CLAIMS = Claims(
    subject="usr_0123456789ab",
    session_id="ses_0123456789ab",
    client_id="cli_0123456789ab",
    tenant_id="tnt_0123456789ab",
    audience=AUDIENCE,
    scopes=frozenset({"me/profile:write", "me/profile:read"}),
    epoch=3,
    jti="jti_0123456789ab",
    issued_at=NOW,
    expires_at=NOW + LONGEST_LIFETIME,
    authenticated_at=NOW - timedelta(days=2),
)
PAYLOAD = {
    "iss": ISSUER,
    "sub": "usr_0123456789ab",
    "aud": AUDIENCE,
    "exp": IAT + 600,
    "iat": IAT,
    "jti": "jti_0123456789ab",
    "client_id": "cli_0123456789ab",
    "scope": "me/profile:read me/profile:write",
    "tenant": "tnt_0123456789ab",
    "epoch": 3,
    "sid": "ses_0123456789ab",
    "auth_time": IAT - 172_800,
}
BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


class Mint:
    """Signs whatever it is told to, with the key that the service would sign with."""

    def __init__(self, number):
        self.private_key = rsa.generate_private_key(65537, 2048)
        self.public_key = self.private_key.public_key()
        self.kid = thumbprint(self.public_key)
        self.held = HeldKey(self.kid, self.private_key, NOW - timedelta(days=number), None)
        self.keys = KeySet.of([self.held], NOW)
        self.header = {"alg": "RS256", "kid": self.kid, "typ": "at+jwt"}

    def rs256(self, signing_input):
        return self.private_key.sign(signing_input, padding.PKCS1v15(), SHA256())

    def token(self, payload=None, header=None, sign=None, **claims):
        """A token; a dict is written as JSON, and bytes are taken as they are."""
        payload = {**PAYLOAD, **claims} if payload is None else payload
        head, body = (
            _encode(part if isinstance(part, bytes) else json.dumps(part).encode())
            for part in (self.header if header is None else header, payload)
        )
        signature = (sign or self.rs256)(f"{head}.{body}".encode())
        return f"{head}.{body}.{_encode(signature)}"

    def verify(self, token, *, issuer=ISSUER, audience=AUDIENCE, now=NOW):
        return self.keys.verify(token, issuer=issuer, audience=audience, now=now)

    def refuses(self, token, **circumstances):
        try:
            self.verify(token, **circumstances)
        except InvalidToken:
            return True
        return False


def _encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _read(part):
    return json.loads(base64.urlsafe_b64decode(part + "=="))


@pytest.fixture(scope="module")
def mint():
    return Mint(1)


@pytest.fixture(scope="module")
def other():
    """A second key: of another service in some tests, a former one in others."""
    return Mint(2)


def test_a_token_says_what_was_signed(mint):
    """JW-03: each claim comes out where it went in."""
    assert mint.verify(mint.keys.sign(CLAIMS, issuer=ISSUER)) == CLAIMS


def test_what_the_tests_sign_by_hand_is_good(mint):
    """JW-01: every refusal below is of one change to this token."""
    assert mint.verify(mint.token()) == CLAIMS


def test_a_token_has_these_members_and_no_others(mint):
    """JW-13: ids, times and scopes, and nothing about the person."""
    head, body, _ = mint.keys.sign(CLAIMS, issuer=ISSUER).split(".")
    assert _read(head) == {"alg": "RS256", "kid": mint.kid, "typ": "at+jwt"}
    assert _read(body) == PAYLOAD


def test_another_library_verifies_the_token(mint):
    """JW-13: what is published is enough for a resource server that knows only the standards."""
    token = mint.keys.sign(CLAIMS, issuer=ISSUER)
    (jwk,) = mint.keys.public()
    e, n = (
        int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=="), "big") for name in ("e", "n")
    )
    key = RSAPublicNumbers(e, n).public_key()
    head, body, signature = token.split(".")
    key.verify(
        base64.urlsafe_b64decode(signature + "=="),
        f"{head}.{body}".encode(),
        padding.PKCS1v15(),
        SHA256(),
    )


def test_fractions_of_a_second_are_dropped(mint):
    """JW-04: a time is whole seconds, rounded down, so that no token lives longer than it may."""
    fraction = timedelta(microseconds=999_999)
    exact = CLAIMS._replace(
        issued_at=CLAIMS.issued_at + fraction,
        expires_at=CLAIMS.expires_at + fraction,
        authenticated_at=CLAIMS.authenticated_at + fraction,
    )
    assert mint.verify(mint.keys.sign(exact, issuer=ISSUER)) == CLAIMS


_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=36)
_SCOPES = st.text("abcdefghijklmnopqrstuvwxyz/:", min_size=1, max_size=20)


@given(
    ids=st.tuples(_IDS, _IDS, _IDS, _IDS, _IDS, _IDS),
    scopes=st.frozensets(_SCOPES, min_size=1, max_size=8),
    epoch=st.integers(0, 2**31 - 1),
    lifetime=st.integers(1, 600),
)
def test_whatever_is_signed_is_verified(mint, ids, scopes, epoch, lifetime):
    """JW-03: no claim that `sign` lets through is refused afterwards, or read as another."""
    subject, session_id, client_id, tenant_id, audience, jti = ids
    claims = CLAIMS._replace(
        subject=subject,
        session_id=session_id,
        client_id=client_id,
        tenant_id=tenant_id,
        audience=audience,
        scopes=scopes,
        epoch=epoch,
        jti=jti,
        expires_at=NOW + timedelta(seconds=lifetime),
    )
    assert mint.verify(mint.keys.sign(claims, issuer=ISSUER), audience=audience) == claims


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", None], ids=repr)
@pytest.mark.parametrize("signature", [b"", b"\0", b"x" * 256])
def test_a_token_that_nobody_signed_is_refused(mint, alg, signature):
    """JW-01: whatever the algorithm is called that is none (RFC 8725 section 3.2)."""
    token = mint.token(header={**mint.header, "alg": alg}, sign=lambda _: signature)
    assert mint.refuses(token)
    assert mint.refuses(token.rpartition(".")[0])


def test_an_empty_signature_is_refused(mint):
    """JW-01: also under the right algorithm."""
    assert mint.refuses(mint.token(sign=lambda _: b""))


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.PEM, PublicFormat.PKCS1),
        (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        (Encoding.OpenSSH, PublicFormat.OpenSSH),
    ],
)
@pytest.mark.parametrize("alg", ["HS256", "hs256", "RS256"])
def test_the_public_key_is_no_secret_to_sign_with(mint, encoding, form, alg):
    """JW-01: an HMAC under the public key, which everybody has (RFC 8725 section 2.1)."""
    public = mint.public_key.public_bytes(encoding, form)
    for secret in (public, public.strip()):
        token = mint.token(
            header={**mint.header, "alg": alg},
            sign=lambda text, secret=secret: hmac.digest(secret, text, "sha256"),
        )
        assert mint.refuses(token)


@pytest.mark.parametrize("alg", ["PS256", "RS256"])
def test_a_signature_of_another_padding_is_refused(mint, alg):
    """JW-01: by the right key, but in PSS, under either name."""
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    token = mint.token(
        header={**mint.header, "alg": alg},
        sign=lambda text: mint.private_key.sign(text, pss, SHA256()),
    )
    assert mint.refuses(token)


@pytest.mark.parametrize("alg", ["RS512", "RS256"])
def test_a_signature_over_another_digest_is_refused(mint, alg):
    """JW-01: by the right key, but over SHA-512, under either name."""
    token = mint.token(
        header={**mint.header, "alg": alg},
        sign=lambda text: mint.private_key.sign(text, padding.PKCS1v15(), SHA512()),
    )
    assert mint.refuses(token)


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_signature_of_another_kind_of_key_is_refused(mint, alg):
    """JW-01: an elliptic curve where RSA belongs, under either name."""
    key = ec.generate_private_key(ec.SECP256R1())

    def sign(text):
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    assert mint.refuses(mint.token(header={**mint.header, "alg": alg}, sign=sign))


@pytest.mark.parametrize("alg", ["rs256", "RS256 ", "Rs256", ["RS256"], {"RS256": 1}, 256, True])
def test_the_algorithm_has_one_name(mint, alg):
    """JW-01: a token signed as it should be is refused if it does not say so exactly."""
    assert mint.refuses(mint.token(header={**mint.header, "alg": alg}))


def test_the_key_of_somebody_else_is_refused(mint, other):
    """JW-01: under its own name and under ours."""
    assert mint.refuses(other.token())
    assert mint.refuses(mint.token(sign=other.rs256))


def test_a_key_that_is_too_short_signs_nothing():
    """JW-01: less than 2,048 bits is an error, where PyJWT only warns (RFC 7518 section 3.3)."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 # it is what is refused
    keys = KeySet.of([HeldKey("short", short, NOW, None)], NOW)
    with pytest.raises(jwt.InvalidKeyError):
        keys.sign(CLAIMS, issuer=ISSUER)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_the_type_of_an_access_token_is_accepted(mint, typ):
    """JW-02: in upper or lower case, with or without its prefix (RFC 9068 section 4)."""
    assert mint.verify(mint.token(header={**mint.header, "typ": typ})) == CLAIMS


@pytest.mark.parametrize(
    "typ",
    [
        "",
        "JWT",
        "jwt",
        "at",
        "rt+jwt",
        "at+jwt ",
        "xat+jwt",
        "at+jwts",
        "logout+jwt",
        "text/at+jwt",
        "application/jwt",
        "application/application/at+jwt",
        None,
        1,
        ["at+jwt"],
        {"at+jwt": 1},
    ],
)
def test_another_type_is_refused(mint, typ):
    """JW-02: an ID token, or one of a mail, is no access token, whoever signed it."""
    assert mint.refuses(mint.token(header={**mint.header, "typ": typ}))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_a_header_without_a_member_is_refused(mint, name):
    """JW-02: a key is not guessed, and a type is not assumed."""
    header = {key: value for key, value in mint.header.items() if key != name}
    assert mint.refuses(mint.token(header=header))


@pytest.mark.parametrize("name", sorted(PAYLOAD))
def test_a_token_without_a_claim_is_refused(mint, name):
    """JW-03: each of them is required (RFC 9068 section 2.2)."""
    payload = {key: value for key, value in PAYLOAD.items() if key != name}
    assert mint.refuses(mint.token(payload))


_NO_TEXT = (None, True, 1, 1.5, [], ["usr_0123456789ab"], {}, "", " ", "a b", "ä", "a\n", "\ud800")


@pytest.mark.parametrize("value", _NO_TEXT, ids=ascii)
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "jti", "client_id", "tenant", "sid"])
def test_a_claim_that_is_no_text_is_refused(mint, name, value):
    """JW-03: of another type, empty, or with more in it than visible ASCII; also for any reader."""
    assert mint.refuses(mint.token(**{name: value}), audience=None)


@pytest.mark.parametrize("name", ["sub", "jti", "client_id", "tenant", "sid"])
def test_an_id_has_at_most_36_characters(mint, name):
    """JW-03: as many as the column has that a revoked `jti` goes into."""
    assert mint.verify(mint.token(**{name: "x" * 36}))
    assert mint.refuses(mint.token(**{name: "x" * 37}))


def test_an_audience_has_at_most_2048_characters(mint):
    """JW-03: as many as the column has that a refresh token keeps it in."""
    assert mint.verify(mint.token(aud="x" * 2048), audience="x" * 2048)
    assert mint.refuses(mint.token(aud="x" * 2049), audience="x" * 2049)


@pytest.mark.parametrize(
    "audience",
    [
        AUDIENCE[:-1],
        AUDIENCE + "x",
        AUDIENCE.upper(),
        "",
        "https://other.example.com/",
    ],
)
def test_a_token_for_somebody_else_is_refused(mint, audience):
    """JW-03: the audience is compared whole, and only introspection asks for none."""
    assert mint.refuses(mint.token(), audience=audience)
    assert mint.verify(mint.token(), audience=None) == CLAIMS


@pytest.mark.parametrize("audiences", [[AUDIENCE], [AUDIENCE, "https://b.example/"], {AUDIENCE: 1}])
def test_a_token_is_for_one_audience(mint, audiences):
    """JW-03: a list is refused, even one that has ours in it."""
    assert mint.refuses(mint.token(aud=audiences))
    assert mint.refuses(mint.token(aud=audiences), audience=None)


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER[:-1],
        ISSUER[:-2],
        "https://",
        "a",
        ISSUER + "x",
        ISSUER.upper(),
        "http://account.example.com/",
        "https://account.example.com.evil.example/",
    ],
)
def test_another_issuer_is_refused(mint, issuer):
    """JW-03: also a part of the right one (CVE-2024-53861)."""
    assert mint.refuses(mint.token(iss=issuer))


@pytest.mark.parametrize(
    "scope",
    [
        None,
        1,
        ["me/profile:read"],
        "",
        " ",
        " me/profile:read",
        "me/profile:read ",
        "me/profile:read  me/profile:write",
        "me/profile:write me/profile:read",
        "me/profile:read me/profile:read",
        "me/profile:read\tme/profile:write",
        "me/profile:read\n",
        'me/"profile"',
        "me\\profile",
        "mé",
    ],
    ids=ascii,
)
def test_scopes_have_one_spelling(mint, scope):
    """JW-03: sorted, each once, one space between (RFC 6749 section 3.3)."""
    assert mint.refuses(mint.token(scope=scope))


@pytest.mark.parametrize("epoch", [None, True, False, "3", 3.0, -1, 2**31, 10**400, [3]], ids=ascii)
def test_an_epoch_is_a_whole_number(mint, epoch):
    """JW-09: of the size of its column, and neither true nor false."""
    assert mint.refuses(mint.token(epoch=epoch))


@pytest.mark.parametrize("epoch", [0, 2**31 - 1])
def test_an_epoch_is_as_large_as_its_column_takes(mint, epoch):
    """JW-09: the first and the last that there can be are good."""
    assert mint.verify(mint.token(epoch=epoch)) == CLAIMS._replace(epoch=epoch)


_NO_TIME = (
    None,
    True,
    False,
    str(IAT),
    "",
    [IAT],
    {},
    -1,
    -IAT,
    253_402_300_800,
    2**63,
    10**400,
    0.5,
    1e30,
)


@pytest.mark.parametrize("value", _NO_TIME, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
def test_a_time_that_is_none_is_refused(mint, name, value):
    """JW-04: a text, a fraction, a truth value, before 1970, or beyond any calendar."""
    assert mint.refuses(mint.token(**{name: value}))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
def test_a_time_is_written_as_an_integer(mint, name):
    """JW-04: the right second as a fraction or as a text is refused, which PyJWT accepts."""
    second = {**PAYLOAD, "nbf": IAT}[name]
    assert mint.verify(mint.token(**{name: second})) == CLAIMS
    assert mint.refuses(mint.token(**{name: float(second)}))
    assert mint.refuses(mint.token(**{name: str(second)}))
    raw = json.dumps({**PAYLOAD, name: 0}).replace(f'"{name}": 0', f'"{name}": {second}e0')
    assert mint.refuses(mint.token(raw.encode()))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["exp", "other"])
def test_a_number_that_is_no_json_is_refused(mint, name, number):
    """JW-04: wherever it stands; Python reads it by itself."""
    raw = json.dumps({**PAYLOAD, name: 0}).replace(f'"{name}": 0', f'"{name}": {number}')
    assert number in raw
    assert mint.refuses(mint.token(raw.encode()))


def test_a_token_ends_when_it_says(mint):
    """JW-04: it is good a second before, and no longer at the second; there is no leeway."""
    end = NOW + LONGEST_LIFETIME
    assert mint.verify(mint.token(), now=end - timedelta(seconds=1)) == CLAIMS
    assert mint.verify(mint.token(), now=end - timedelta(microseconds=1)) == CLAIMS
    assert mint.refuses(mint.token(), now=end)
    assert mint.refuses(mint.token(), now=end + timedelta(seconds=1))


def test_the_time_is_the_callers(mint):
    """JW-04: a token of the year 2040 is good in 2040, whatever the clock on the wall says."""
    later = datetime(2040, 1, 1, tzinfo=UTC)
    seconds = int(later.timestamp())
    token = mint.token(iat=seconds, exp=seconds + 60)
    assert mint.verify(token, now=later).issued_at == later
    assert mint.refuses(token, now=NOW)


@pytest.mark.parametrize("lifetime", [1, 599, 600])
def test_a_token_is_good_for_ten_minutes_at_most(mint, lifetime):
    """JW-09: so long a token that was stolen can be used where nobody asks the database."""
    assert mint.verify(mint.token(exp=IAT + lifetime))


@pytest.mark.parametrize("lifetime", [601, 86_400, 10**9, 0, -1])
def test_a_longer_token_is_refused_whoever_signed_it(mint, lifetime):
    """JW-09: and one that ends before it begins."""
    token = mint.token(exp=IAT + lifetime)
    for seconds in (-30, -2, 0, 1):
        assert mint.refuses(token, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_from_the_near_future_is_good(mint, name):
    """JW-14: the clock of the replica that signed it may be 30 seconds ahead, and no more."""
    ahead = NOW + timedelta(seconds=60)
    token = mint.token(**{"iat": IAT, "exp": IAT + 300, name: IAT + 60})
    assert mint.verify(token, now=ahead)
    assert mint.verify(token, now=ahead - timedelta(seconds=30))
    assert mint.refuses(token, now=ahead - timedelta(seconds=30, microseconds=1))


@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_host_whose_clock_is_wrong_by_minutes_fails_closed(mint, minutes):
    """JW-14: one behind refuses new tokens, one ahead ends them early; none lives longer."""
    host = timedelta(minutes=minutes)
    token = mint.token()
    good = [
        second
        for second in range(0, 1200, 10)
        if not mint.refuses(token, now=NOW + timedelta(seconds=second) + host)
    ]
    assert good == (list(range(270, 900, 10)) if minutes < 0 else list(range(0, 300, 10)))


def test_a_login_may_seem_later_than_the_token(mint):
    """JW-14: another replica saw the login, whose clock is ahead."""
    assert mint.verify(mint.token(auth_time=IAT + 20))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://evil.example/keys"),
        ("x5u", "https://evil.example/chain"),
        ("x5c", ["MIIB"]),
        ("x5t", "x"),
        ("x5t#S256", "x"),
        ("jwk", {"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        ("crit", ["exp"]),
        ("crit", ["b64"]),
        ("crit", []),
        ("crit", None),
        ("b64", True),
        ("b64", False),
        ("zip", "DEF"),
        ("cty", "JWT"),
        ("enc", "A256GCM"),
        ("jku", None),
        ("ALG", "none"),
    ],
)
def test_a_header_with_anything_else_is_refused(mint, name, value):
    """JW-05: also by the right key (RFC 8725 section 3.10, CVE-2026-32597)."""
    assert mint.refuses(mint.token(header={**mint.header, name: value}))


def test_a_key_that_the_token_brings_along_is_refused(mint, other):
    """JW-05: whether it is named as ours or as itself (RFC 8725 section 2.1)."""
    for kid in (mint.kid, other.kid):
        header = {**mint.header, "kid": kid, "jwk": other.keys.public()[0]}
        assert mint.refuses(mint.token(header=header, sign=other.rs256))


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "../../../dev/null",
        "' OR 1=1 --",
        "https://evil.example/",
        "\0",
        "\ud800",
        None,
        True,
        0,
        1.5,
        [],
        {},
    ],
    ids=ascii,
)
def test_a_hostile_name_of_a_key_is_an_unknown_one(mint, kid):
    """JW-05: it is compared, and used for nothing else."""
    assert mint.refuses(mint.token(header={**mint.header, "kid": kid}))


def test_the_name_of_a_key_is_compared_whole(mint):
    """JW-05: neither a part of it nor a list with it in it is the name."""
    for kid in (mint.kid[:-1], mint.kid + "x", mint.kid.swapcase(), [mint.kid], {mint.kid: 1}):
        assert mint.refuses(mint.token(header={**mint.header, "kid": kid}))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
@pytest.mark.parametrize("first", [True, False])
def test_a_header_member_that_stands_twice_is_refused(mint, name, first):
    """JW-06: with the same value or with another, before or after the right one."""
    for value in (mint.header[name], "none"):
        members = [*mint.header.items()]
        members.insert(0 if first else len(members), (name, value))
        assert mint.refuses(mint.token(header=_object(members)))


@pytest.mark.parametrize("name", sorted(PAYLOAD))
@pytest.mark.parametrize("first", [True, False])
def test_a_claim_that_stands_twice_is_refused(mint, name, first):
    """JW-06: although it is signed as it should be; readers differ in which one they take."""
    members = [*PAYLOAD.items()]
    members.insert(0 if first else len(members), (name, PAYLOAD[name]))
    raw = _object(members)
    assert json.loads(raw) == PAYLOAD
    assert mint.refuses(mint.token(raw))


def test_a_name_that_is_escaped_is_the_same_name(mint):
    """JW-06: two spellings of `sub` are one member twice."""
    raw = _object([*PAYLOAD.items()])[:-1] + b', "s\\u0075b": "usr_000000000000"}'
    assert json.loads(raw)["sub"] == "usr_000000000000"
    assert mint.refuses(mint.token(raw))


def test_a_member_that_stands_twice_further_down_is_refused(mint):
    """JW-06: within a claim that nobody reads."""
    raw = _object([*PAYLOAD.items()])[:-1]
    assert mint.verify(mint.token(raw + b', "act": {"sub": 1}}')) == CLAIMS
    assert mint.refuses(mint.token(raw + b', "act": {"sub": 1, "sub": 1}}'))


def _object(members):
    pairs = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members)
    return f"{{{', '.join(pairs)}}}".encode()


_NO_OBJECT = [
    b"{",
    b"[]",
    b"null",
    b'"at+jwt"',
    b"1",
    b"{} {}",
    b"\xff\xfe",
    b"[" * 2500,
    b'{"a":' * 500,
    b"1" * 2500,
]


@pytest.mark.parametrize("text", _NO_OBJECT, ids=lambda text: ascii(text[:8]))
def test_what_is_no_json_object_is_refused(mint, text):
    """JW-06: as a header, signed or not, and as claims."""
    assert mint.refuses(mint.token(header=text))
    assert mint.refuses(mint.token(header=text, sign=lambda _: b"x" * 256))
    assert mint.refuses(mint.token(text))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_in_another_encoding_is_refused(mint, encoding):
    """JW-06: JSON is UTF-8 without a mark (RFC 8259 section 8.1); Python reads all of these."""
    header, payload = (json.dumps(each).encode(encoding) for each in (mint.header, PAYLOAD))
    assert mint.refuses(mint.token(header=header))
    assert mint.refuses(mint.token(payload))


def test_claims_that_nobody_reads_are_let_be(mint):
    """JW-03: a later version may add one (RFC 7519 section 4)."""
    assert mint.verify(mint.token(amr=["pwd"], acr=None)) == CLAIMS


@pytest.fixture
def parsed(monkeypatch):
    """What was given to the readers of base64 and JSON, by whomever, in the order of the calls."""
    seen = []

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **named):
            seen.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, watched)

    watch(base64, "urlsafe_b64decode")
    watch(binascii, "a2b_base64")
    watch(json, "loads")
    watch(json.JSONDecoder, "decode")
    watch(json.JSONDecoder, "raw_decode")
    return seen


@pytest.mark.parametrize("length", [4097, 5000, 2**20])
def test_nothing_is_parsed_of_what_is_too_long(mint, parsed, length):
    """JW-07: a token of more than 4 KiB is refused by its length, also one that is signed."""
    short = mint.token()
    assert mint.verify(short) == CLAIMS
    assert {"urlsafe_b64decode", "decode"} <= set(parsed)
    signed = mint.token(padding="x" * (length * 3 // 4))
    for token in (signed, short + "A" * (length - len(short)), "." * length, "é" * length):
        parsed.clear()
        assert mint.refuses(token)
        assert parsed == []


@pytest.mark.parametrize(
    ("token", "looks"),
    [
        ("a.b.c", True),
        ("A-._z.09", True),
        ("a.b." + "c" * 4092, True),
        ("a.b." + "c" * 4093, False),
        ("", False),
        ("a.b", False),
        ("a.b.", False),
        ("a..c", False),
        (".b.c", False),
        ("a.b.c.d", False),
        ("a.b.c\n", False),
        (" a.b.c", False),
        ("a.b.c=", False),
        ("a.b.+/", False),
        ("a.b.é", False),
        ("a.b.٣", False),
        ("a.b.\ud800", False),
        ("pat_x", False),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_jwt_is_told_by_its_form(token, looks):
    """JW-07: without reading it; everything else is refused, or another kind of credential."""
    assert looks_like_jwt(token) is looks


@given(st.text() | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}"))
def test_no_text_brings_the_reader_down(mint, text):
    """JW-07: whatever comes is refused and nothing else comes of it."""
    assert mint.refuses(text)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down(mint, header, payload):
    """JW-06: as header or as claims that are signed."""
    assert mint.refuses(mint.token(header=header))
    assert mint.refuses(mint.token(payload))


def test_every_character_counts(mint):
    """JW-01: a token with any one character changed is another, at each of its positions."""
    token = mint.keys.sign(CLAIMS, issuer=ISSUER)
    assert mint.verify(token) == CLAIMS
    accepted = [
        (position, character)
        for position, present in enumerate(token)
        for character in {"A", "_", ".", "=", present.swapcase(), _next(present)} - {present}
        if not mint.refuses(token[:position] + character + token[position + 1 :])
    ]
    assert accepted == []


def _next(character):
    """The character whose bits differ in the last one; at the end of a part that bit is unused."""
    if character not in BASE64URL:
        return "-"
    return BASE64URL[BASE64URL.index(character) ^ 1]


def test_a_token_cut_short_is_refused(mint):
    """JW-01: at either end, and with any one character left out (CVE-2026-27840)."""
    token = mint.keys.sign(CLAIMS, issuer=ISSUER)
    for position in range(len(token)):
        assert mint.refuses(token[:position])
        assert mint.refuses(token[position + 1 :])
        assert mint.refuses(token[:position] + token[position + 1 :])


@pytest.mark.parametrize("more", ["=", "==", "A", "AA", "AAAA", "\n", " ", ".", ".A", "\0"])
def test_a_token_with_more_is_refused(mint, more):
    """JW-01: behind it, before it, and behind each of its parts."""
    token = mint.keys.sign(CLAIMS, issuer=ISSUER)
    head, body, signature = token.split(".")
    for longer in (
        token + more,
        more + token,
        f"{head}{more}.{body}.{signature}",
        f"{head}.{body}{more}.{signature}",
    ):
        assert mint.refuses(longer)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_part_has_one_spelling(mint, part):
    """JW-01: bits set behind its end are refused, although the signature covers that text too."""
    for filling in range(3):
        # Of three lengths in a row, two leave bits unused at the end of each part.
        parts = [json.dumps(mint.header), json.dumps(PAYLOAD)]
        texts = [_encode((each + " " * filling).encode()) for each in parts]
        for bits in range(1, 16):
            wrong = list(texts)
            if part < 2:
                wrong[part] = _set_unused_bits(wrong[part], bits)
            signature = _encode(mint.rs256(".".join(wrong).encode()))
            if part == 2:
                signature = _set_unused_bits(signature, bits)
            token = ".".join([*wrong, signature])
            changed = token != ".".join([*texts, _encode(mint.rs256(".".join(texts).encode()))])
            assert mint.refuses(token) is changed


def _set_unused_bits(text, bits):
    unused = {0: 0, 2: 4, 3: 2}[len(text) % 4]
    last = BASE64URL.index(text[-1]) | bits & (1 << unused) - 1
    return text[:-1] + BASE64URL[last]


@pytest.mark.parametrize(
    "break_it",
    [
        lambda mint: "usr_secret" + mint.token(),
        lambda mint: mint.token()[:-1],
        lambda mint: mint.token(b'{"sub": "usr_secret", "sub": 1}'),
        lambda mint: mint.token(b"usr_secret"),
        lambda mint: mint.token(header=b"usr_secret"),
        lambda mint: mint.token(sub="usr_secret", exp="usr_secret"),
        lambda mint: mint.token(aud="usr_secret"),
        lambda mint: mint.token(header={**mint.header, "kid": "usr_secret"}),
        lambda mint: mint.token(sign=lambda _: b"usr_secret"),
    ],
    ids=range(9),
)
def test_a_refusal_holds_nothing_of_the_token(mint, break_it):
    """JW-03: neither its text nor what led to it, and it is the same for every reason."""
    with pytest.raises(InvalidToken) as refused:
        mint.verify(break_it(mint))
    assert str(refused.value) == str(InvalidToken())
    assert (refused.value.__cause__, refused.value.__context__) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": ""},
        {"subject": "x" * 37},
        {"jti": "jti with spaces"},
        {"tenant_id": None},
        {"session_id": "é"},
        {"client_id": 1},
        {"audience": ""},
        {"audience": "x" * 2049},
        {"scopes": frozenset()},
        {"scopes": frozenset({""})},
        {"scopes": frozenset({"me/profile:read me/profile:write"})},
        {"scopes": frozenset({f"scope-{number}" for number in range(400)})},
        {"epoch": True},
        {"epoch": -1},
        {"epoch": 2**31},
        {"expires_at": NOW},
        {"expires_at": NOW + timedelta(seconds=601)},
        {"issued_at": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)},
    ],
)
def test_what_would_be_refused_is_not_signed(mint, changes):
    """JW-03: a mistake of ours is noticed where it is made, and the message does not quote it."""
    with pytest.raises(ValueError, match=r"^(The claim|A token|A scope) ") as wrong:
        mint.keys.sign(CLAIMS._replace(**changes), issuer=ISSUER)
    assert not any(repr(value) in str(wrong.value) for value in changes.values())


def test_a_scope_is_not_made_two_by_a_space(mint):
    """JW-03: a token does not gain a right by the way it is written."""
    joined = CLAIMS._replace(scopes=frozenset({"a b"}))
    with pytest.raises(ValueError, match="read as two"):
        mint.keys.sign(joined, issuer=ISSUER)


@pytest.mark.parametrize("issuer", ["", "with space", "x" * 2049])
def test_an_issuer_that_is_none_signs_nothing(mint, issuer):
    """JW-03: as little as it would verify."""
    with pytest.raises(ValueError, match="iss"):
        mint.keys.sign(CLAIMS, issuer=issuer)


def test_a_moment_without_an_offset_is_not_signed(mint):
    """JW-04: it would be taken for the time of wherever the host stands."""
    with pytest.raises(TypeError):
        mint.keys.sign(CLAIMS._replace(issued_at=NOW.replace(tzinfo=None)), issuer=ISSUER)


def _kid(token):
    return _read(token.split(".")[0])["kid"]


def _set(*keys, now=NOW):
    return KeySet.of(keys, now)


def _at(moment):
    return CLAIMS._replace(issued_at=moment, expires_at=moment + LONGEST_LIFETIME)


def test_a_newer_key_begins_to_sign_by_itself(mint, other):
    """JW-08: the set that was read before it began knows when, and needs no second reading."""
    begins = NOW + timedelta(seconds=60)
    former = other.held._replace(retires_at=begins + LONGEST_LIFETIME)
    keys = _set(mint.held._replace(active_from=begins), former)
    assert keys.signing_kid == other.kid
    almost = begins - timedelta(microseconds=1)
    assert _kid(keys.sign(_at(almost), issuer=ISSUER)) == other.kid
    assert _kid(keys.sign(_at(begins), issuer=ISSUER)) == mint.kid
    assert _set(*keys.keys, now=begins).signing_kid == mint.kid


def test_the_newest_that_has_begun_signs(mint, other):
    """JW-08: in whatever order they are given, and whatever their names are."""
    for newer, older in ((mint, other), (other, mint)):
        held = [newer.held._replace(active_from=NOW), older.held._replace(active_from=START)]
        for keys in (_set(*held), _set(*reversed(held))):
            assert keys.signing_kid == _kid(keys.sign(CLAIMS, issuer=ISSUER)) == newer.kid


def test_replicas_agree_about_keys_of_one_moment(mint, other):
    """JW-08: where two are alike in all but their names."""
    twins = [mint.held, other.held._replace(active_from=mint.held.active_from)]
    assert _set(*twins).signing_kid == _set(*reversed(twins)).signing_kid


def test_a_key_that_retires_does_not_sign_while_another_lasts(mint, other):
    """JW-14: also where a host whose clock is wrong made it look the newer one."""
    leaving = mint.held._replace(retires_at=NOW + timedelta(minutes=1))
    for keys in (_set(leaving, other.held), _set(other.held, leaving)):
        assert keys.signing_kid == _kid(keys.sign(CLAIMS, issuer=ISSUER)) == other.kid


def test_where_none_has_begun_the_first_one_signs(mint, other):
    """JW-14: a host whose clock is ahead made the keys, and one behind has to work with them."""
    first = mint.held._replace(active_from=NOW + timedelta(minutes=4))
    second = other.held._replace(active_from=NOW + timedelta(minutes=5))
    keys = _set(second, first)
    assert keys.signing_kid == mint.kid
    assert keys.verify(keys.sign(CLAIMS, issuer=ISSUER), issuer=ISSUER, audience=AUDIENCE, now=NOW)


def test_a_key_verifies_until_it_retires(mint, other):
    """JW-08: by the set that was read before, and not only after the next reading."""
    retires_at = NOW + timedelta(minutes=5)
    keys = _set(mint.held, other.held._replace(retires_at=retires_at))
    token = other.token()
    named = {"issuer": ISSUER, "audience": AUDIENCE}
    assert keys.verify(token, now=retires_at - timedelta(microseconds=1), **named) == CLAIMS
    with pytest.raises(InvalidToken):
        keys.verify(token, now=retires_at, **named)
    assert keys.verify(mint.token(), now=retires_at, **named) == CLAIMS


def test_a_key_verifies_before_it_signs(mint, other):
    """JW-14: a replica whose clock is a little ahead signs with it already."""
    keys = _set(other.held, mint.held._replace(active_from=NOW + timedelta(seconds=30)))
    assert keys.verify(mint.token(), issuer=ISSUER, audience=AUDIENCE, now=NOW) == CLAIMS


def test_only_public_parts_are_published(mint, other):
    """JW-13: exactly these members, for each key, also for one that does not sign yet."""
    keys = _set(other.held, mint.held._replace(active_from=NOW + timedelta(seconds=60)))
    for jwk, key in zip(keys.public(), (other, mint), strict=True):
        assert set(jwk) == {"kty", "use", "alg", "kid", "n", "e"}
        assert (jwk["kty"], jwk["use"], jwk["alg"]) == ("RSA", "sig", "RS256")
        assert (jwk["kid"], jwk["e"]) == (key.kid, "AQAB")
        n = base64.urlsafe_b64decode(jwk["n"] + "==")
        assert (len(n), int.from_bytes(n, "big")) == (256, key.public_key.public_numbers().n)


def test_a_set_does_not_change(mint):
    """JW-08: a request that holds one is not affected by the next reading."""
    with pytest.raises(AttributeError):
        mint.keys.signing_kid = "other"
    with pytest.raises(AttributeError):
        mint.keys.keys = ()


def test_a_set_shows_no_private_part(mint):
    """JW-13: a set in a log or a traceback says nothing of the keys but their names."""
    numbers = mint.private_key.private_numbers()
    shown = repr(mint.keys)
    assert mint.kid in shown
    assert not any(str(number) in shown for number in (numbers.d, numbers.p, numbers.q))


def test_a_thumbprint_is_that_of_the_standard():
    """JW-13: the example of RFC 7638 section 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_B"
        "JECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_F"
        "DW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4"
        "vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    number = int.from_bytes(base64.urlsafe_b64decode(n + "=="), "big")
    key = RSAPublicNumbers(65537, number).public_key()
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert hashlib.sha256(f'{{"e":"AQAB","kty":"RSA","n":"{n}"}}'.encode()).digest() == (
        base64.urlsafe_b64decode(thumbprint(key) + "=")
    )
