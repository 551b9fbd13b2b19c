"""JWT access tokens (RFC 9068): how they are signed, and which of them are ours and good.

PyJWT checks the signature, and nothing else. It does not look at `typ`, takes the last of two equal
JSON members, and takes a text or a fraction for a time (JW-02, JW-04, JW-06), so header and claims
are read here, by what `KeySet.sign` writes: everything else is refused.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from accounts.errors import InvalidToken

__all__ = [
    "LONGEST_LIFETIME",
    "SKEW",
    "Claims",
    "HeldKey",
    "KeySet",
    "looks_like_jwt",
    "thumbprint",
]

#: How long a token is good at most (JW-09).
LONGEST_LIFETIME = timedelta(minutes=10)

#: How far the clocks of two replicas may be apart (JW-14). It is allowed where a token would be
#: from the future, and not where it has expired: there it would only make every token live longer.
SKEW = timedelta(seconds=30)

_ALGORITHM = "RS256"
_TYPE = "at+jwt"
_TYPES = frozenset({_TYPE, f"application/{_TYPE}"})  # RFC 9068 section 4

# An allow-list, so that `jku`, `x5u`, `jwk`, `x5c`, `crit` and `b64` are refused with whatever else
# could tell a reader to take another key or another payload (RFC 8725 section 3.10).
_HEADER = frozenset({"alg", "kid", "typ"})

_MOST_CHARACTERS = 4096
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

_ID = re.compile(r"[!-~]{1,36}")  # a `jti` has to fit into `RevokedJwt`
_URI = re.compile(r"[!-~]{1,2048}")
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749 section 3.3
_EPOCHS = range(2**31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = range(253_402_300_800)  # up to the year 9999, the last that a datetime has
_SECOND = timedelta(seconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)

# It knows no other algorithm, so none can be chosen by a header (JW-01), and no claims: those that
# `jwt.decode` judges it judges by the wall clock, and the time here is that of the act.
_JWS = jwt.PyJWS(
    algorithms=[_ALGORITHM],
    options={"verify_signature": True, "enforce_minimum_key_length": True},
)


class Claims(NamedTuple):
    """What a token says that is good by itself.

    Whether its session, its user and its tenant still live is the database's to say (JW-09).
    """

    subject: str
    session_id: str
    client_id: str
    tenant_id: str
    audience: str
    scopes: frozenset[str]
    epoch: int
    jti: str
    issued_at: datetime
    expires_at: datetime
    authenticated_at: datetime


class HeldKey(NamedTuple):
    """One key in memory: its name, when it begins to sign and when it ceases to verify."""

    kid: str
    private_key: RSAPrivateKey
    active_from: datetime
    retires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that verify, and among them the one that signs.

    `signing_kid` is the one that signed when the set was made. A set may be older than the moment
    at which a newer key begins to sign, so `sign` goes by the time of the token.
    """

    keys: tuple[HeldKey, ...]
    signing_kid: str

    @classmethod
    def of(cls, keys: Iterable[HeldKey], now: datetime) -> "KeySet":
        """Make the set of these keys, of which there is at least one."""
        held = tuple(keys)
        return cls(held, _signer(held, now).kid)

    def sign(self, claims: Claims, *, issuer: str) -> str:
        """Make the token that says this; of moments it keeps the whole seconds.

        Raises:
            ValueError: `verify` would refuse it, whenever and for whomever.
        """
        payload = {
            "iss": issuer,
            "sub": claims.subject,
            "aud": claims.audience,
            "exp": (claims.expires_at - _EPOCH) // _SECOND,
            "iat": (claims.issued_at - _EPOCH) // _SECOND,
            "jti": claims.jti,
            "client_id": claims.client_id,
            "scope": " ".join(sorted(claims.scopes)),
            "tenant": claims.tenant_id,
            "epoch": claims.epoch,
            "sid": claims.session_id,
            "auth_time": (claims.authenticated_at - _EPOCH) // _SECOND,
        }
        if _read_claims(payload).scopes != claims.scopes:
            raise ValueError("A scope with a space in it would be read as two.")
        key = _signer(self.keys, claims.issued_at)
        token = _JWS.encode(
            json.dumps(payload, separators=(",", ":")).encode(),
            key.private_key,
            _ALGORITHM,
            {"kid": key.kid, "typ": _TYPE},
        )
        if not looks_like_jwt(token):
            raise ValueError(f"A token has at most {_MOST_CHARACTERS} characters.")
        return token

    def verify(self, token: str, *, issuer: str, audience: str | None, now: datetime) -> Claims:
        """Read a token of this issuer that is good now, for one audience or, with None, for any.

        Raises:
            InvalidToken: It is not; for whatever reason, all alike.
        """
        claims = self._judge(token, issuer, now)
        if claims is None or audience not in {None, claims.audience}:
            # Not within an `except`: what is the context of a refusal there quotes the token.
            raise InvalidToken
        return claims

    def public(self) -> list[dict[str, str]]:
        """The public parts as JWKs (RFC 7517 section 4, RFC 7518 section 6.3.1).

        Those that do not sign yet are among them, so that whoever keeps the set for a while knows
        them in time.
        """
        return [
            {
                **_public_members(key.private_key.public_key()),
                "use": "sig",
                "alg": _ALGORITHM,
                "kid": key.kid,
            }
            for key in self.keys
        ]

    def _judge(self, token: str, issuer: str, now: datetime) -> Claims | None:
        """The claims of a token of this issuer that is good now, or None."""
        # Nothing is parsed of what is too long (JW-07).
        if not looks_like_jwt(token):
            return None
        try:
            header, payload, _ = map(_decode, token.split("."))
            _JWS.decode(token, self._find_key(header, now), algorithms=[_ALGORITHM])
            # Only now: of what nobody signed, no more is read than the name of its key.
            members = _read_object(payload)
            claims = _read_claims(members)
            not_before = _whole(members, "nbf", _SECONDS) if "nbf" in members else 0
        except (ValueError, RecursionError, jwt.InvalidTokenError):
            return None
        starts = max(claims.issued_at, _EPOCH + not_before * _SECOND)
        good = members["iss"] == issuer and starts - SKEW <= now < claims.expires_at
        return claims if good else None

    def _find_key(self, header: bytes, now: datetime) -> RSAPublicKey:
        """The key that a header names, if the header is as `sign` makes it.

        A `kid` is compared with those at hand and goes no further: to a path or into a statement,
        or to the database to see whether there is a newer one (JW-05, JW-08).

        Raises:
            ValueError: It is not, or no key that verifies now has this name.
        """
        members = _read_object(header)
        kind = members.get("typ")
        if (
            members.keys() != _HEADER
            or members["alg"] != _ALGORITHM
            or not isinstance(kind, str)
            or kind.lower() not in _TYPES
        ):
            raise ValueError("The header is not that of an access token.")
        for key in self.keys:
            if key.kid == members["kid"] and now < (key.retires_at or _NEVER):
                return key.private_key.public_key()
        raise ValueError("No key of this name verifies.")


def looks_like_jwt(token: str) -> bool:
    """Tell whether a text has the form of a JWS (RFC 7515 section 7.1) and no more than 4 KiB."""
    return len(token) <= _MOST_CHARACTERS and _COMPACT.fullmatch(token) is not None


def thumbprint(key: RSAPublicKey) -> str:
    """Give the name that follows from the key itself (RFC 7638)."""
    members = json.dumps(_public_members(key), separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(members.encode()).digest())


def _signer(keys: tuple[HeldKey, ...], moment: datetime) -> HeldKey:
    """The key that signs at a moment.

    Of those that have begun, the one that verifies longest, which is the newest, also where hosts
    disagree about the time of two rotations. Where none has begun, it was made by a host whose
    clock is ahead; signing with it harms nobody, and not signing would.
    """
    begun = [key for key in keys if key.active_from <= moment]
    if not begun:
        return min(keys, key=lambda key: (key.active_from, key.kid))
    return max(begun, key=lambda key: (key.retires_at or _NEVER, key.active_from, key.kid))


def _public_members(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {"kty": "RSA", "n": _encode_number(numbers.n), "e": _encode_number(numbers.e)}


def _encode_number(number: int) -> str:
    # Without leading zeros (RFC 7518 section 2), or the thumbprint would be another.
    return _encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    """Read base64url that is written as `_encode` writes it.

    Raises:
        ValueError: Another text stands for the same bytes: a token has one spelling.
    """
    octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if _encode(octets) != part:
        raise ValueError("Bits are set after the end.")
    return octets


def _read_object(text: bytes) -> dict[str, Any]:
    """Read one JSON object in UTF-8, without a member twice at any depth (RFC 8725 section 2.4).

    Raises:
        ValueError: It is something else.
        RecursionError: It is nested too deep.
    """
    value = _DECODER.decode(text.decode())
    if not isinstance(value, dict):
        raise ValueError("Not an object.")  # noqa: TRY004 # it is the token that is wrong
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("A member stands twice.")
    return members


def _no_number(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)


def _read_claims(payload: dict[str, Any]) -> Claims:
    """Read the claims that a token must have, all but the issuer, of their types and in bounds.

    Others are let be (RFC 7519 section 4), so that a later version can add one.

    Raises:
        ValueError: One is missing or wrong; the message names it, and not what it says.
    """
    claims = Claims(
        subject=_text(payload, "sub", _ID),
        session_id=_text(payload, "sid", _ID),
        client_id=_text(payload, "client_id", _ID),
        tenant_id=_text(payload, "tenant", _ID),
        audience=_text(payload, "aud", _URI),
        scopes=frozenset(_text(payload, "scope", _SCOPE).split(" ")),
        epoch=_whole(payload, "epoch", _EPOCHS),
        jti=_text(payload, "jti", _ID),
        issued_at=_moment(payload, "iat"),
        expires_at=_moment(payload, "exp"),
        # Not compared with `iat`: another host, whose clock is ahead, may have seen the login.
        authenticated_at=_moment(payload, "auth_time"),
    )
    _text(payload, "iss", _URI)
    if payload["scope"] != " ".join(sorted(claims.scopes)):
        raise ValueError("The claim scope is not sorted, or has a scope twice.")
    if not timedelta() < claims.expires_at - claims.issued_at <= LONGEST_LIFETIME:
        raise ValueError(f"A token is good for at most {LONGEST_LIFETIME}.")
    return claims


def _text(payload: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ValueError(f"The claim {name} is missing or not a text of its form.")
    return value


def _moment(payload: dict[str, Any], name: str) -> datetime:
    return _EPOCH + _whole(payload, name, _SECONDS) * _SECOND


def _whole(payload: dict[str, Any], name: str, bounds: range) -> int:
    value = payload.get(name)
    # To Python a bool is an int, and so is 1.0 in a range.
    if type(value) is not int or value not in bounds:
        raise ValueError(f"The claim {name} is missing or not an integer within its bounds.")
    return value
