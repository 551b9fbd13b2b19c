"""What a JWT says: its claims as JSON, written in one way and read as strictly (RFC 7519)."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

__all__ = [
    "LONGEST_LIFETIME",
    "Claims",
    "decode_part",
    "encode_part",
    "read_claims",
    "read_not_before",
    "read_object",
    "write_claims",
]

#: How long a token is good at most (JW-09).
LONGEST_LIFETIME = timedelta(minutes=10)

_ID = re.compile(r"[!-~]{1,36}")  # a `jti` has to fit into `RevokedJwt`
_URI = re.compile(r"[!-~]{1,2048}")
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749 section 3.3
_EPOCHS = range(2**31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = range(253_402_300_800)  # up to the year 9999, the last that a datetime has
_SECOND = timedelta(seconds=1)


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


def write_claims(claims: Claims) -> dict[str, Any]:
    """Give the members of a payload, all but the issuer; of moments it keeps the whole seconds."""
    return {
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


def read_claims(payload: dict[str, Any]) -> Claims:
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


def read_not_before(payload: dict[str, Any]) -> datetime:
    """Read since when a token is good, if it says so.

    Raises:
        ValueError: What it says is no moment.
    """
    return _moment(payload, "nbf") if "nbf" in payload else _EPOCH


def encode_part(octets: bytes) -> str:
    """Give base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode_part(part: str) -> bytes:
    """Read base64url that is written as `encode_part` writes it.

    Raises:
        ValueError: Another text stands for the same bytes: a token has one spelling.
    """
    octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if encode_part(octets) != part:
        raise ValueError("Bits are set after the end.")
    return octets


def read_object(text: bytes) -> dict[str, Any]:
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
