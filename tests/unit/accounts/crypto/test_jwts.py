"""JWT access tokens: valid ones, and every known way to forge one."""

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

from accounts.crypto.jwts import MAX_LIFETIME, Claims, KeySet, LoadedKey, looks_like_jwt, thumbprint
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
    expires_at=NOW + MAX_LIFETIME,
    authenticated_at=NOW - timedelta(days=2),
    email_verified=True,
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
    "email_verified": True,
    "amr": ["pwd"],
    "acr": "aal1",
}
BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


class TokenFactory:
    """Signs any payload with a key of the service."""

    def __init__(self, number):
        self.private_key = rsa.generate_private_key(65537, 2048)
        self.public_key = self.private_key.public_key()
        self.kid = thumbprint(self.public_key)
        self.loaded_key = LoadedKey(self.kid, self.private_key, NOW - timedelta(days=number), None)
        self.keys = KeySet((self.loaded_key,))
        self.header = {"alg": "RS256", "kid": self.kid, "typ": "at+jwt"}

    def rs256(self, signing_input):
        return self.private_key.sign(signing_input, padding.PKCS1v15(), SHA256())

    def token(self, payload=None, header=None, sign=None, **claims):
        """Return a token; a dict is written as JSON, and bytes are used unchanged."""
        payload = {**PAYLOAD, **claims} if payload is None else payload
        head, body = (
            _encode(part if isinstance(part, bytes) else json.dumps(part).encode())
            for part in (self.header if header is None else header, payload)
        )
        signature = (sign or self.rs256)(f"{head}.{body}".encode())
        return f"{head}.{body}.{_encode(signature)}"

    def verify(self, token, *, issuer=ISSUER, audience=AUDIENCE, now=NOW):
        return self.keys.verify(token, issuer=issuer, audience=audience, now=now)

    def rejects(self, token, **options):
        try:
            self.verify(token, **options)
        except InvalidToken:
            return True
        return False


def _encode(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _read(part):
    return json.loads(base64.urlsafe_b64decode(part + "=="))


@pytest.fixture(scope="module")
def factory():
    return TokenFactory(1)


@pytest.fixture(scope="module")
def other_factory():
    """A second key: of another service in some tests, an older one in others."""
    return TokenFactory(2)


def test_token_contains_the_signed_claims(factory):
    """JW-03: verification returns every signed claim."""
    assert factory.verify(factory.keys.sign(CLAIMS, issuer=ISSUER)) == CLAIMS


def test_token_of_the_test_factory_is_valid(factory):
    """JW-01: every test of a rejection makes one change to this token."""
    assert factory.verify(factory.token()) == CLAIMS


def test_token_has_only_documented_members(factory):
    """JW-13: ids, times and scopes, and nothing about the user."""
    head, body, _ = factory.keys.sign(CLAIMS, issuer=ISSUER).split(".")
    assert _read(head) == {"alg": "RS256", "kid": factory.kid, "typ": "at+jwt"}
    assert _read(body) == PAYLOAD


def test_token_is_verifiable_by_the_published_key(factory):
    """JW-13: the published key is enough for a standard resource server."""
    token = factory.keys.sign(CLAIMS, issuer=ISSUER)
    (jwk,) = factory.keys.public()
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


def test_fractions_of_a_second_are_dropped(factory):
    """JW-04: times are rounded down to seconds, so that no token lives too long."""
    fraction = timedelta(microseconds=999_999)
    exact = CLAIMS._replace(
        issued_at=CLAIMS.issued_at + fraction,
        expires_at=CLAIMS.expires_at + fraction,
        authenticated_at=CLAIMS.authenticated_at + fraction,
    )
    assert factory.verify(factory.keys.sign(exact, issuer=ISSUER)) == CLAIMS


_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=36)
_SCOPES = st.text("abcdefghijklmnopqrstuvwxyz/:", min_size=1, max_size=20)


@given(
    ids=st.tuples(_IDS, _IDS, _IDS, _IDS, _IDS, _IDS),
    scopes=st.frozensets(_SCOPES, min_size=1, max_size=8),
    epoch=st.integers(0, 2**31 - 1),
    lifetime=st.integers(1, 600),
)
def test_every_signed_token_is_verified(factory, ids, scopes, epoch, lifetime):
    """JW-03: no claim that `sign` accepts is rejected or changed by `verify`."""
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
    assert factory.verify(factory.keys.sign(claims, issuer=ISSUER), audience=audience) == claims


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", None], ids=repr)
@pytest.mark.parametrize("signature", [b"", b"\0", b"x" * 256])
def test_unsigned_token_is_rejected(factory, alg, signature):
    """JW-01: under every spelling of the algorithm `none` (RFC 8725 section 3.2)."""
    token = factory.token(header={**factory.header, "alg": alg}, sign=lambda _: signature)
    assert factory.rejects(token)
    assert factory.rejects(token.rpartition(".")[0])


def test_empty_signature_is_rejected(factory):
    """JW-01: also under the right algorithm."""
    assert factory.rejects(factory.token(sign=lambda _: b""))


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
def test_hmac_under_the_public_key_is_rejected(factory, encoding, form, alg):
    """JW-01: an HMAC under the public key (RFC 8725 section 2.1)."""
    public = factory.public_key.public_bytes(encoding, form)
    for secret in (public, public.strip()):
        token = factory.token(
            header={**factory.header, "alg": alg},
            sign=lambda text, secret=secret: hmac.digest(secret, text, "sha256"),
        )
        assert factory.rejects(token)


@pytest.mark.parametrize("alg", ["PS256", "RS256"])
def test_signature_with_another_padding_is_rejected(factory, alg):
    """JW-01: by the right key, but in PSS, under either name."""
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    token = factory.token(
        header={**factory.header, "alg": alg},
        sign=lambda text: factory.private_key.sign(text, pss, SHA256()),
    )
    assert factory.rejects(token)


@pytest.mark.parametrize("alg", ["RS512", "RS256"])
def test_signature_over_another_digest_is_rejected(factory, alg):
    """JW-01: by the right key, but over SHA-512, under either name."""
    token = factory.token(
        header={**factory.header, "alg": alg},
        sign=lambda text: factory.private_key.sign(text, padding.PKCS1v15(), SHA512()),
    )
    assert factory.rejects(token)


@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_signature_of_another_kind_of_key_is_rejected(factory, alg):
    """JW-01: an elliptic curve in place of RSA, under either name."""
    key = ec.generate_private_key(ec.SECP256R1())

    def sign(text):
        r, s = decode_dss_signature(key.sign(text, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    assert factory.rejects(factory.token(header={**factory.header, "alg": alg}, sign=sign))


@pytest.mark.parametrize("alg", ["rs256", "RS256 ", "Rs256", ["RS256"], {"RS256": 1}, 256, True])
def test_algorithm_has_one_spelling(factory, alg):
    """JW-01: a correct signature is rejected under another spelling of its algorithm."""
    assert factory.rejects(factory.token(header={**factory.header, "alg": alg}))


def test_unknown_key_is_rejected(factory, other_factory):
    """JW-01: under its own name and under ours."""
    assert factory.rejects(other_factory.token())
    assert factory.rejects(factory.token(sign=other_factory.rs256))


def test_short_key_cannot_sign():
    """JW-01: fewer than 2,048 bits is an error, where PyJWT only warns (RFC 7518 section 3.3)."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 # too short on purpose
    keys = KeySet((LoadedKey("short", short, NOW, None),))
    with pytest.raises(jwt.InvalidKeyError):
        keys.sign(CLAIMS, issuer=ISSUER)


def test_short_key_verifies_nothing(factory):
    """JW-01: not even a token that it has really signed."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 # too short on purpose
    token = factory.token(sign=lambda text: short.sign(text, padding.PKCS1v15(), SHA256()))
    keys = KeySet((LoadedKey(factory.kid, short, START, None),))
    with pytest.raises(InvalidToken):
        keys.verify(token, issuer=ISSUER, audience=AUDIENCE, now=NOW)


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_type_of_an_access_token_is_accepted(factory, typ):
    """JW-02: in any letter case, with or without its prefix (RFC 9068 section 4)."""
    assert factory.verify(factory.token(header={**factory.header, "typ": typ})) == CLAIMS


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
def test_other_type_is_rejected(factory, typ):
    """JW-02: an ID token or one of an email is no access token, with any signature."""
    assert factory.rejects(factory.token(header={**factory.header, "typ": typ}))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_missing_header_member_is_rejected(factory, name):
    """JW-02: neither the key nor the type is guessed."""
    header = {key: value for key, value in factory.header.items() if key != name}
    assert factory.rejects(factory.token(header=header))


@pytest.mark.parametrize("name", sorted(PAYLOAD.keys() - {"email_verified"}))
def test_missing_claim_is_rejected(factory, name):
    """JW-03: every claim is required (RFC 9068 section 2.2)."""
    payload = {key: value for key, value in PAYLOAD.items() if key != name}
    assert factory.rejects(factory.token(payload))


_NOT_TEXT = (None, True, 1, 1.5, [], ["usr_0123456789ab"], {}, "", " ", "a b", "ä", "a\n", "\ud800")


@pytest.mark.parametrize("value", _NOT_TEXT, ids=ascii)
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "jti", "client_id", "tenant", "sid"])
def test_malformed_text_claim_is_rejected(factory, name, value):
    """JW-03: another type, an empty text or more than visible ASCII; also for any audience."""
    assert factory.rejects(factory.token(**{name: value}), audience=None)


@pytest.mark.parametrize("name", ["sub", "jti", "client_id", "tenant", "sid"])
def test_id_has_at_most_36_characters(factory, name):
    """JW-03: the size of the column for a revoked `jti`."""
    assert factory.verify(factory.token(**{name: "x" * 36}))
    assert factory.rejects(factory.token(**{name: "x" * 37}))


def test_audience_has_at_most_2048_characters(factory):
    """JW-03: the size of the column of a refresh token."""
    assert factory.verify(factory.token(aud="x" * 2048), audience="x" * 2048)
    assert factory.rejects(factory.token(aud="x" * 2049), audience="x" * 2049)


@pytest.mark.parametrize(
    "audience", [AUDIENCE[:-1], AUDIENCE + "x", AUDIENCE.upper(), "", "https://other.example.com/"]
)
def test_token_for_another_audience_is_rejected(factory, audience):
    """JW-03: the audience is compared whole; only introspection accepts any."""
    assert factory.rejects(factory.token(), audience=audience)
    assert factory.verify(factory.token(), audience=None) == CLAIMS


@pytest.mark.parametrize("audiences", [[AUDIENCE], [AUDIENCE, "https://b.example/"], {AUDIENCE: 1}])
def test_list_of_audiences_is_rejected(factory, audiences):
    """JW-03: a list is rejected, even if it has our audience."""
    assert factory.rejects(factory.token(aud=audiences))
    assert factory.rejects(factory.token(aud=audiences), audience=None)


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
def test_other_issuer_is_rejected(factory, issuer):
    """JW-03: also a part of the right one (CVE-2024-53861)."""
    assert factory.rejects(factory.token(iss=issuer))


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
def test_scopes_have_one_spelling(factory, scope):
    """JW-03: sorted, each once, with single spaces (RFC 6749 section 3.3)."""
    assert factory.rejects(factory.token(scope=scope))


@pytest.mark.parametrize("epoch", [None, True, False, "3", 3.0, -1, 2**31, 10**400, [3]], ids=ascii)
def test_malformed_epoch_is_rejected(factory, epoch):
    """JW-09: within the size of its column, and not a boolean."""
    assert factory.rejects(factory.token(epoch=epoch))


@pytest.mark.parametrize("epoch", [0, 2**31 - 1])
def test_epoch_may_have_any_value_of_its_column(factory, epoch):
    """JW-09: the smallest and the largest value are valid."""
    assert factory.verify(factory.token(epoch=epoch)) == CLAIMS._replace(epoch=epoch)


@pytest.mark.parametrize("value", [None, 0, 1, "true", "", [], {}], ids=ascii)
def test_malformed_email_verified_is_rejected(factory, value):
    """JW-03, attack finding 12: only true and false."""
    assert factory.rejects(factory.token(email_verified=value))
    is_verified = factory.verify(factory.token(email_verified=False)).email_verified
    assert is_verified is False


def test_token_of_an_earlier_version_claims_no_verified_address(factory):
    """Attack finding 12: replicas of two versions accept the tokens of each other."""
    payload = {name: value for name, value in PAYLOAD.items() if name != "email_verified"}
    assert factory.verify(factory.token(payload)) == CLAIMS._replace(email_verified=False)


_NOT_TIMES = (
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


@pytest.mark.parametrize("value", _NOT_TIMES, ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
def test_malformed_time_is_rejected(factory, name, value):
    """JW-04: a text, a fraction, a boolean, before 1970, or beyond the calendar."""
    assert factory.rejects(factory.token(**{name: value}))


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
def test_time_must_be_an_integer(factory, name):
    """JW-04: the right second as a fraction or a text is rejected, which PyJWT accepts."""
    second = {**PAYLOAD, "nbf": IAT}[name]
    assert factory.verify(factory.token(**{name: second})) == CLAIMS
    assert factory.rejects(factory.token(**{name: float(second)}))
    assert factory.rejects(factory.token(**{name: str(second)}))
    raw = json.dumps({**PAYLOAD, name: 0}).replace(f'"{name}": 0', f'"{name}": {second}e0')
    assert factory.rejects(factory.token(raw.encode()))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["exp", "other"])
def test_number_outside_json_is_rejected(factory, name, number):
    """JW-04: in any claim; Python's parser accepts it by default."""
    raw = json.dumps({**PAYLOAD, name: 0}).replace(f'"{name}": 0', f'"{name}": {number}')
    assert number in raw
    assert factory.rejects(factory.token(raw.encode()))


def test_token_expires_exactly(factory):
    """JW-04: valid a second before, and not at the second; there is no leeway."""
    end = NOW + MAX_LIFETIME
    assert factory.verify(factory.token(), now=end - timedelta(seconds=1)) == CLAIMS
    assert factory.verify(factory.token(), now=end - timedelta(microseconds=1)) == CLAIMS
    assert factory.rejects(factory.token(), now=end)
    assert factory.rejects(factory.token(), now=end + timedelta(seconds=1))


def test_verification_uses_the_given_time(factory):
    """JW-04: a token of 2040 is valid in 2040, independent of the wall clock."""
    future = datetime(2040, 1, 1, tzinfo=UTC)
    seconds = int(future.timestamp())
    token = factory.token(iat=seconds, exp=seconds + 60)
    assert factory.verify(token, now=future).issued_at == future
    assert factory.rejects(token, now=NOW)


@pytest.mark.parametrize("lifetime", [1, 599, 600])
def test_token_may_live_for_ten_minutes(factory, lifetime):
    """JW-09: the longest use of a stolen token where the database is not queried."""
    assert factory.verify(factory.token(exp=IAT + lifetime))


@pytest.mark.parametrize("lifetime", [601, 86_400, 10**9, 0, -1])
def test_longer_lifetime_is_rejected(factory, lifetime):
    """JW-09: also one that expires before it is issued."""
    token = factory.token(exp=IAT + lifetime)
    for seconds in (-30, -2, 0, 1):
        assert factory.rejects(token, now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_token_from_the_near_future_is_valid(factory, name):
    """JW-14: the clock of the signing replica may be 30 seconds ahead, and no more."""
    ahead = NOW + timedelta(seconds=60)
    token = factory.token(**{"iat": IAT, "exp": IAT + 300, name: IAT + 60})
    assert factory.verify(token, now=ahead)
    assert factory.verify(token, now=ahead - timedelta(seconds=30))
    assert factory.rejects(token, now=ahead - timedelta(seconds=30, microseconds=1))


@pytest.mark.parametrize("minutes", [-5, 5])
def test_host_with_wrong_clock_fails_closed(factory, minutes):
    """JW-14: a slow clock rejects new tokens, a fast one ends them early; none lives longer."""
    offset = timedelta(minutes=minutes)
    token = factory.token()
    accepted = [
        second
        for second in range(0, 1200, 10)
        if not factory.rejects(token, now=NOW + timedelta(seconds=second) + offset)
    ]
    assert accepted == (list(range(270, 900, 10)) if minutes < 0 else list(range(0, 300, 10)))


def test_token_tells_how_its_user_authenticated(factory):
    """RFC 9068 section 2.2.1, RFC 8176."""
    claims = CLAIMS._replace(amr=("pwd", "otp", "mfa"), acr="aal2")
    token = factory.keys.sign(claims, issuer=ISSUER)
    assert factory.verify(token) == claims
    payload = _read(token.split(".")[1])
    assert (payload["amr"], payload["acr"]) == (["pwd", "otp", "mfa"], "aal2")


def test_token_of_an_earlier_version_tells_a_password(factory):
    """Replicas of two versions accept each other's tokens during an upgrade."""
    earlier = {name: value for name, value in PAYLOAD.items() if name not in {"amr", "acr"}}
    assert factory.verify(factory.token(earlier)).amr == ("pwd",)


@pytest.mark.parametrize(
    "claims",
    [
        {"amr": ["pwd"], "acr": None},
        {"amr": None, "acr": "aal1"},
        {"amr": [], "acr": "aal1"},
        {"amr": "pwd", "acr": "aal1"},
        {"amr": [["pwd"]], "acr": "aal1"},
        {"amr": ["pwd mfa"], "acr": "aal1"},
        {"amr": ["pwd"], "acr": ["aal1"]},
    ],
)
def test_malformed_methods_and_level_are_rejected(factory, claims):
    """JW-09: a token is read as strictly as it is written."""
    assert factory.rejects(factory.token(**claims))


def test_login_may_be_later_than_the_token(factory):
    """JW-14: the login was recorded by a replica whose clock is ahead."""
    assert factory.verify(factory.token(auth_time=IAT + 20))


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
def test_extra_header_member_is_rejected(factory, name, value):
    """JW-05: also with the right key (RFC 8725 section 3.10, CVE-2026-32597)."""
    assert factory.rejects(factory.token(header={**factory.header, name: value}))


def test_key_embedded_in_the_token_is_rejected(factory, other_factory):
    """JW-05: under our name or its own (RFC 8725 section 2.1)."""
    for kid in (factory.kid, other_factory.kid):
        header = {**factory.header, "kid": kid, "jwk": other_factory.keys.public()[0]}
        assert factory.rejects(factory.token(header=header, sign=other_factory.rs256))


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
def test_hostile_key_name_is_rejected(factory, kid):
    """JW-05: the name is compared, and used for nothing else."""
    assert factory.rejects(factory.token(header={**factory.header, "kid": kid}))


def test_key_name_is_compared_whole(factory):
    """JW-05: neither a part of the name nor a list with it is accepted."""
    for kid in (
        factory.kid[:-1],
        factory.kid + "x",
        factory.kid.swapcase(),
        [factory.kid],
        {factory.kid: 1},
    ):
        assert factory.rejects(factory.token(header={**factory.header, "kid": kid}))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
@pytest.mark.parametrize("first", [True, False])
def test_duplicate_header_member_is_rejected(factory, name, first):
    """JW-06: with the same value or another, before or after the right one."""
    for value in (factory.header[name], "none"):
        members = [*factory.header.items()]
        members.insert(0 if first else len(members), (name, value))
        assert factory.rejects(factory.token(header=_object(members)))


@pytest.mark.parametrize("name", sorted(PAYLOAD))
@pytest.mark.parametrize("first", [True, False])
def test_duplicate_claim_is_rejected(factory, name, first):
    """JW-06: although the signature is valid; parsers differ in which value they use."""
    members = [*PAYLOAD.items()]
    members.insert(0 if first else len(members), (name, PAYLOAD[name]))
    raw = _object(members)
    assert json.loads(raw) == PAYLOAD
    assert factory.rejects(factory.token(raw))


def test_escaped_duplicate_claim_is_rejected(factory):
    """JW-06: two spellings of `sub` are a duplicate."""
    raw = _object([*PAYLOAD.items()])[:-1] + b', "s\\u0075b": "usr_000000000000"}'
    assert json.loads(raw)["sub"] == "usr_000000000000"
    assert factory.rejects(factory.token(raw))


def test_nested_duplicate_member_is_rejected(factory):
    """JW-06: within an unknown claim."""
    raw = _object([*PAYLOAD.items()])[:-1]
    assert factory.verify(factory.token(raw + b', "act": {"sub": 1}}')) == CLAIMS
    assert factory.rejects(factory.token(raw + b', "act": {"sub": 1, "sub": 1}}'))


def _object(members):
    pairs = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members)
    return f"{{{', '.join(pairs)}}}".encode()


_NOT_OBJECTS = [
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


@pytest.mark.parametrize("text", _NOT_OBJECTS, ids=lambda text: ascii(text[:8]))
def test_other_json_than_an_object_is_rejected(factory, text):
    """JW-06: as a header, signed or not, and as claims."""
    assert factory.rejects(factory.token(header=text))
    assert factory.rejects(factory.token(header=text, sign=lambda _: b"x" * 256))
    assert factory.rejects(factory.token(text))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_in_another_encoding_is_rejected(factory, encoding):
    """JW-06: JSON is UTF-8 without a mark (RFC 8259 section 8.1); Python reads all of these."""
    header, payload = (json.dumps(part).encode(encoding) for part in (factory.header, PAYLOAD))
    assert factory.rejects(factory.token(header=header))
    assert factory.rejects(factory.token(payload))


def test_unknown_claims_are_ignored(factory):
    """JW-03: a later version may add one (RFC 7519 section 4)."""
    assert factory.verify(factory.token(nonce=["one"], at_hash=None)) == CLAIMS


@pytest.fixture
def parser_calls(monkeypatch):
    """The names of the called parsers of base64 and JSON, in the order of the calls."""
    calls = []

    def record(owner, name):
        original = getattr(owner, name)

        def recorded(*arguments, **options):
            calls.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, recorded)

    record(base64, "urlsafe_b64decode")
    record(binascii, "a2b_base64")
    record(json, "loads")
    record(json.JSONDecoder, "decode")
    record(json.JSONDecoder, "raw_decode")
    return calls


@pytest.mark.parametrize("length", [4097, 5000, 2**20])
def test_oversized_token_is_not_parsed(factory, parser_calls, length):
    """JW-07: a token of more than 4 KiB is rejected by its length, also with a valid signature."""
    short = factory.token()
    assert factory.verify(short) == CLAIMS
    assert {"urlsafe_b64decode", "decode"} <= set(parser_calls)
    signed_token = factory.token(padding="x" * (length * 3 // 4))
    for token in (signed_token, short + "A" * (length - len(short)), "." * length, "é" * length):
        parser_calls.clear()
        assert factory.rejects(token)
        assert parser_calls == []


@pytest.mark.parametrize(
    ("token", "expected"),
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
def test_jwt_is_recognised_by_its_form(token, expected):
    """JW-07: the form alone separates it from other kinds of credentials."""
    assert looks_like_jwt(token) is expected


@given(st.text() | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]{0,40}"))
def test_arbitrary_text_is_rejected(factory, text):
    """JW-07: the only outcome is a refusal."""
    assert factory.rejects(text)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_arbitrary_bytes_are_rejected(factory, header, payload):
    """JW-06: as a header, or as signed claims."""
    assert factory.rejects(factory.token(header=header))
    assert factory.rejects(factory.token(payload))


def test_every_changed_character_is_rejected(factory):
    """JW-01: at each position."""
    token = factory.keys.sign(CLAIMS, issuer=ISSUER)
    assert factory.verify(token) == CLAIMS
    accepted = [
        (position, character)
        for position, current in enumerate(token)
        for character in {"A", "_", ".", "=", current.swapcase(), _next(current)} - {current}
        if not factory.rejects(token[:position] + character + token[position + 1 :])
    ]
    assert accepted == []


def _next(character):
    """Return the character that differs in the last bit, which is unused at the end of a part."""
    if character not in BASE64URL:
        return "-"
    return BASE64URL[BASE64URL.index(character) ^ 1]


def test_truncated_token_is_rejected(factory):
    """JW-01: at either end, and with any one character left out (CVE-2026-27840)."""
    token = factory.keys.sign(CLAIMS, issuer=ISSUER)
    for position in range(len(token)):
        assert factory.rejects(token[:position])
        assert factory.rejects(token[position + 1 :])
        assert factory.rejects(token[:position] + token[position + 1 :])


@pytest.mark.parametrize("extra", ["=", "==", "A", "AA", "AAAA", "\n", " ", ".", ".A", "\0"])
def test_extended_token_is_rejected(factory, extra):
    """JW-01: after it, before it, and after each part."""
    token = factory.keys.sign(CLAIMS, issuer=ISSUER)
    head, body, signature = token.split(".")
    for longer in (
        token + extra,
        extra + token,
        f"{head}{extra}.{body}.{signature}",
        f"{head}.{body}{extra}.{signature}",
    ):
        assert factory.rejects(longer)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_part_has_one_spelling(factory, part):
    """JW-01: set bits after the end are rejected, although the signature covers that text too."""
    for filling in range(3):
        # Of three consecutive lengths, two leave bits unused at the end of each part.
        parts = [json.dumps(factory.header), json.dumps(PAYLOAD)]
        texts = [_encode((text + " " * filling).encode()) for text in parts]
        for bits in range(1, 16):
            changed_texts = list(texts)
            if part < 2:
                changed_texts[part] = _set_unused_bits(changed_texts[part], bits)
            signature = _encode(factory.rs256(".".join(changed_texts).encode()))
            if part == 2:
                signature = _set_unused_bits(signature, bits)
            token = ".".join([*changed_texts, signature])
            is_changed = token != ".".join(
                [*texts, _encode(factory.rs256(".".join(texts).encode()))]
            )
            assert factory.rejects(token) is is_changed


def _set_unused_bits(text, bits):
    unused = {0: 0, 2: 4, 3: 2}[len(text) % 4]
    last = BASE64URL.index(text[-1]) | bits & (1 << unused) - 1
    return text[:-1] + BASE64URL[last]


@pytest.mark.parametrize(
    "build_token",
    [
        lambda factory: "usr_secret" + factory.token(),
        lambda factory: factory.token()[:-1],
        lambda factory: factory.token(b'{"sub": "usr_secret", "sub": 1}'),
        lambda factory: factory.token(b"usr_secret"),
        lambda factory: factory.token(header=b"usr_secret"),
        lambda factory: factory.token(sub="usr_secret", exp="usr_secret"),
        lambda factory: factory.token(aud="usr_secret"),
        lambda factory: factory.token(header={**factory.header, "kid": "usr_secret"}),
        lambda factory: factory.token(sign=lambda _: b"usr_secret"),
    ],
    ids=range(9),
)
def test_refusal_reveals_nothing_of_the_token(factory, build_token):
    """JW-03: it does not quote the token, and is the same for every reason."""
    with pytest.raises(InvalidToken) as caught:
        factory.verify(build_token(factory))
    assert str(caught.value) == str(InvalidToken())
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


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
def test_invalid_claims_are_not_signed(factory, changes):
    """JW-03: a bug of ours is noticed when signing, and the message does not quote it."""
    with pytest.raises(ValueError, match=r"^(The claim|A token|A scope) ") as caught:
        factory.keys.sign(CLAIMS._replace(**changes), issuer=ISSUER)
    assert not any(repr(value) in str(caught.value) for value in changes.values())


def test_scope_with_a_space_is_not_signed(factory):
    """JW-03: a token must not gain a right by its notation."""
    joined = CLAIMS._replace(scopes=frozenset({"a b"}))
    with pytest.raises(ValueError, match="read as two"):
        factory.keys.sign(joined, issuer=ISSUER)


@pytest.mark.parametrize("issuer", ["", "with space", "x" * 2049])
def test_invalid_issuer_is_not_signed(factory, issuer):
    """JW-03: it would not verify either."""
    with pytest.raises(ValueError, match="iss"):
        factory.keys.sign(CLAIMS, issuer=issuer)


def test_naive_time_is_not_signed(factory):
    """JW-04: it would be read in the time zone of the host."""
    with pytest.raises(TypeError):
        factory.keys.sign(CLAIMS._replace(issued_at=NOW.replace(tzinfo=None)), issuer=ISSUER)


def _kid(token):
    return _read(token.split(".")[0])["kid"]


def _set(*keys):
    return KeySet(keys)


def _claims_at(time):
    return CLAIMS._replace(issued_at=time, expires_at=time + MAX_LIFETIME)


def test_newer_key_starts_to_sign_by_itself(factory, other_factory):
    """JW-08: a set that was read earlier knows when, and needs no reload."""
    active_from = NOW + timedelta(seconds=60)
    old_key = other_factory.loaded_key._replace(retires_at=active_from + MAX_LIFETIME)
    keys = _set(factory.loaded_key._replace(active_from=active_from), old_key)
    assert keys.signing_key(NOW).kid == other_factory.kid
    just_before = active_from - timedelta(microseconds=1)
    assert _kid(keys.sign(_claims_at(just_before), issuer=ISSUER)) == other_factory.kid
    assert _kid(keys.sign(_claims_at(active_from), issuer=ISSUER)) == factory.kid
    assert keys.signing_key(active_from).kid == factory.kid


def test_newest_active_key_signs(factory, other_factory):
    """JW-08: in any order and with any names."""
    for newer, older in ((factory, other_factory), (other_factory, factory)):
        both = [
            newer.loaded_key._replace(active_from=NOW),
            older.loaded_key._replace(active_from=START),
        ]
        for keys in (_set(*both), _set(*reversed(both))):
            assert keys.signing_key(NOW).kid == _kid(keys.sign(CLAIMS, issuer=ISSUER)) == newer.kid


def test_replicas_agree_about_keys_of_the_same_time(factory, other_factory):
    """JW-08: if two keys are equal except for their names."""
    equal_keys = [
        factory.loaded_key,
        other_factory.loaded_key._replace(active_from=factory.loaded_key.active_from),
    ]
    assert (
        _set(*equal_keys).signing_key(NOW).kid == _set(*reversed(equal_keys)).signing_key(NOW).kid
    )


def test_retiring_key_does_not_sign_while_another_lasts(factory, other_factory):
    """JW-14: also if a host with a wrong clock made it look newer."""
    retiring = factory.loaded_key._replace(retires_at=NOW + timedelta(minutes=1))
    for keys in (
        _set(retiring, other_factory.loaded_key),
        _set(other_factory.loaded_key, retiring),
    ):
        assert (
            keys.signing_key(NOW).kid == _kid(keys.sign(CLAIMS, issuer=ISSUER)) == other_factory.kid
        )


def test_first_key_signs_when_none_is_active(factory, other_factory):
    """JW-14: a host whose clock is ahead made the keys, and one behind must use them."""
    first = factory.loaded_key._replace(active_from=NOW + timedelta(minutes=4))
    second = other_factory.loaded_key._replace(active_from=NOW + timedelta(minutes=5))
    keys = _set(second, first)
    assert keys.signing_key(NOW).kid == factory.kid
    assert keys.verify(keys.sign(CLAIMS, issuer=ISSUER), issuer=ISSUER, audience=AUDIENCE, now=NOW)


def test_key_verifies_until_it_retires(factory, other_factory):
    """JW-08: in a set that was read earlier, without a reload."""
    retires_at = NOW + timedelta(minutes=5)
    keys = _set(factory.loaded_key, other_factory.loaded_key._replace(retires_at=retires_at))
    token = other_factory.token()
    options = {"issuer": ISSUER, "audience": AUDIENCE}
    assert keys.verify(token, now=retires_at - timedelta(microseconds=1), **options) == CLAIMS
    with pytest.raises(InvalidToken):
        keys.verify(token, now=retires_at, **options)
    assert keys.verify(factory.token(), now=retires_at, **options) == CLAIMS


def test_key_verifies_before_it_signs(factory, other_factory):
    """JW-14: a replica whose clock is slightly ahead already signs with it."""
    keys = _set(
        other_factory.loaded_key,
        factory.loaded_key._replace(active_from=NOW + timedelta(seconds=30)),
    )
    assert keys.verify(factory.token(), issuer=ISSUER, audience=AUDIENCE, now=NOW) == CLAIMS


def test_only_public_parts_are_published(factory, other_factory):
    """JW-13: exactly these members for each key, including one that does not sign yet."""
    keys = _set(
        other_factory.loaded_key,
        factory.loaded_key._replace(active_from=NOW + timedelta(seconds=60)),
    )
    for jwk, key in zip(keys.public(), (other_factory, factory), strict=True):
        assert set(jwk) == {"kty", "use", "alg", "kid", "n", "e"}
        assert (jwk["kty"], jwk["use"], jwk["alg"]) == ("RSA", "sig", "RS256")
        assert (jwk["kid"], jwk["e"]) == (key.kid, "AQAB")
        n = base64.urlsafe_b64decode(jwk["n"] + "==")
        assert (len(n), int.from_bytes(n, "big")) == (256, key.public_key.public_numbers().n)


def test_key_set_is_immutable(factory):
    """JW-08: a request is not affected by the next reload."""
    with pytest.raises(AttributeError):
        factory.keys.keys = ()


def test_key_set_shows_no_private_part(factory):
    """JW-13: in a log or a traceback a set shows only the names of its keys."""
    numbers = factory.private_key.private_numbers()
    text = repr(factory.keys)
    assert factory.kid in text
    assert not any(str(number) in text for number in (numbers.d, numbers.p, numbers.q))


def test_thumbprint_follows_the_standard():
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
