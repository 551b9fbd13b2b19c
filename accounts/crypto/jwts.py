"""JWT access tokens (RFC 9068): signing and verification.

PyJWT computes the signature only. Its reader ignores `typ`, takes the last of two equal JSON
members, and accepts strings and fractions as times (JW-02, JW-04, JW-06). Header and claims are
therefore read here, once, and everything that `KeySet.sign` would not write is rejected.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from accounts.crypto.jwt_claims import (
    MAX_LIFETIME,
    Claims,
    decode_base64url,
    encode_base64url,
    read_claims,
    read_not_before,
    read_object,
    write_claims,
)
from accounts.errors import InvalidToken

__all__ = ["MAX_LIFETIME", "SKEW", "Claims", "KeySet", "LoadedKey", "looks_like_jwt", "thumbprint"]

#: Largest clock difference between two replicas (JW-14). It is allowed for tokens from the future,
#: and not for expired ones: there it would only make every token live longer.
SKEW = timedelta(seconds=30)

_ALGORITHM = "RS256"
_TYPE = "at+jwt"
_TYPES = frozenset({_TYPE, f"application/{_TYPE}"})  # RFC 9068 section 4

# An allow-list rejects `jku`, `x5u`, `jwk`, `x5c`, `crit`, `b64` and any other member that could
# make a reader use another key or another payload (RFC 8725 section 3.10).
_HEADER = frozenset({"alg", "kid", "typ"})

_MAX_CHARACTERS = 4096
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

_NEVER = datetime.max.replace(tzinfo=UTC)

# It knows one algorithm, so a header cannot choose another (JW-01). It only signs: its reader would
# decode and check each part of a token a second time, character by character.
_JWS = jwt.PyJWS(
    algorithms=[_ALGORITHM], options={"verify_signature": True, "enforce_minimum_key_length": True}
)
_RS256 = RSAAlgorithm(RSAAlgorithm.SHA256)


class LoadedKey(NamedTuple):
    """A key in memory: its name, when it starts to sign and when it stops verifying."""

    kid: str
    private_key: RSAPrivateKey
    active_from: datetime
    retires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys that verify, at least one; which of them signs depends on the time of the token."""

    keys: tuple[LoadedKey, ...]

    def sign(self, claims: Claims, *, issuer: str) -> str:
        """Sign a token with these claims; times are cut to whole seconds.

        Raises:
            ValueError: `verify` would always reject the token.
        """
        payload = {"iss": issuer, **write_claims(claims)}
        if read_claims(payload).scopes != claims.scopes:
            raise ValueError("A scope with a space in it would be read as two.")
        key = self.signing_key(claims.issued_at)
        token = _JWS.encode(
            json.dumps(payload, separators=(",", ":")).encode(),
            key.private_key,
            _ALGORITHM,
            {"kid": key.kid, "typ": _TYPE},
        )
        if not looks_like_jwt(token):
            raise ValueError(f"A token has at most {_MAX_CHARACTERS} characters.")
        return token

    def signing_key(self, time: datetime) -> LoadedKey:
        """Return the key that signs at `time`.

        Among the keys that have started, the one that verifies longest wins: it is the newest one,
        even if hosts disagree about the time of two rotations. If no key has started, the key was
        made by a host whose clock is ahead; signing with it does no harm, and refusing to sign
        would.
        """
        started = [key for key in self.keys if key.active_from <= time]
        if not started:
            return min(self.keys, key=lambda key: (key.active_from, key.kid))
        return max(started, key=lambda key: (key.retires_at or _NEVER, key.active_from, key.kid))

    def verify(self, token: str, *, issuer: str, audience: str | None, now: datetime) -> Claims:
        """Return the claims of a valid token of this issuer; an `audience` of None accepts any.

        Raises:
            InvalidToken: The token is not valid; the refusal is the same for every reason.
        """
        claims = self._read_valid(token, issuer, now)
        if claims is None or audience not in {None, claims.audience}:
            # Not within an `except`, whose exception quotes the token and would be the context.
            raise InvalidToken
        return claims

    def public(self) -> list[dict[str, str]]:
        """Return the public parts as JWKs (RFC 7517 section 4, RFC 7518 section 6.3.1).

        Keys that do not sign yet are included, so that clients can cache them in time.
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

    def _read_valid(self, token: str, issuer: str, now: datetime) -> Claims | None:
        """Return the claims of a valid token of this issuer, or None."""
        # Oversized tokens are not parsed at all (JW-07).
        if not looks_like_jwt(token):
            return None
        try:
            signed, _, signature = token.rpartition(".")
            header, payload = map(decode_base64url, signed.split("."))
            key = self._find_key(header, now)
            if not _RS256.verify(signed.encode(), key, decode_base64url(signature)):
                return None
            # Only now: from an unsigned token nothing is read but the name of its key.
            members = read_object(payload)
            claims = read_claims(members)
            not_before = max(claims.issued_at, read_not_before(members))
        except (ValueError, RecursionError):
            return None
        is_valid = members["iss"] == issuer and not_before - SKEW <= now < claims.expires_at
        return claims if is_valid else None

    def _find_key(self, header: bytes, now: datetime) -> RSAPublicKey:
        """Return the key named by a header that is as `sign` writes it.

        A `kid` is only compared with the keys in memory. It never reaches a path, a statement or
        the database (JW-05, JW-08).

        Raises:
            ValueError: The header is different, or no key of at least 2,048 bits that verifies now
                has this name.
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
                public_key = key.private_key.public_key()
                if _RS256.check_key_length(public_key) is None:
                    return public_key
        raise ValueError("No key of this name verifies.")


def looks_like_jwt(token: str) -> bool:
    """Return whether the text has the form of a JWS (RFC 7515 section 7.1) and at most 4 KiB."""
    return len(token) <= _MAX_CHARACTERS and _COMPACT.fullmatch(token) is not None


def thumbprint(key: RSAPublicKey) -> str:
    """Return the name of a key, derived from the key itself (RFC 7638)."""
    members = json.dumps(_public_members(key), separators=(",", ":"), sort_keys=True)
    return encode_base64url(hashlib.sha256(members.encode()).digest())


def _public_members(key: RSAPublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    return {"kty": "RSA", "n": _encode_number(numbers.n), "e": _encode_number(numbers.e)}


def _encode_number(number: int) -> str:
    # Without leading zeros (RFC 7518 section 2), or the thumbprint would be another.
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
