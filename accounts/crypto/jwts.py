"""JWT access tokens (RFC 9068): how they are signed, and which of them are ours and good.

PyJWT checks the signature, and nothing else. It does not look at `typ`, takes the last of two equal
JSON members, and takes a text or a fraction for a time (JW-02, JW-04, JW-06), so header and claims
are read here, by what `KeySet.sign` writes: everything else is refused.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from accounts.crypto.jwt_claims import (
    LONGEST_LIFETIME,
    Claims,
    decode_part,
    encode_part,
    read_claims,
    read_not_before,
    read_object,
    write_claims,
)
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

_NEVER = datetime.max.replace(tzinfo=UTC)

# It knows no other algorithm, so none can be chosen by a header (JW-01), and no claims: those that
# `jwt.decode` judges it judges by the wall clock, and the time here is that of the act.
_JWS = jwt.PyJWS(
    algorithms=[_ALGORITHM],
    options={"verify_signature": True, "enforce_minimum_key_length": True},
)


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
        payload = {"iss": issuer, **write_claims(claims)}
        if read_claims(payload).scopes != claims.scopes:
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
            header, payload, _ = map(decode_part, token.split("."))
            _JWS.decode(token, self._find_key(header, now), algorithms=[_ALGORITHM])
            # Only now: of what nobody signed, no more is read than the name of its key.
            members = read_object(payload)
            claims = read_claims(members)
            starts = max(claims.issued_at, read_not_before(members))
        except (ValueError, RecursionError, jwt.InvalidTokenError):
            return None
        good = members["iss"] == issuer and starts - SKEW <= now < claims.expires_at
        return claims if good else None

    def _find_key(self, header: bytes, now: datetime) -> RSAPublicKey:
        """The key that a header names, if the header is as `sign` makes it.

        A `kid` is compared with those at hand and goes no further: to a path or into a statement,
        or to the database to see whether there is a newer one (JW-05, JW-08).

        Raises:
            ValueError: It is not, or no key that verifies now has this name.
        """
        members = read_object(header)
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
    return encode_part(hashlib.sha256(members.encode()).digest())


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
    return encode_part(number.to_bytes((number.bit_length() + 7) // 8, "big"))
