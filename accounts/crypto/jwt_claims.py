"""The claims of a JWT as JSON: one way to write them, and a reader that is as strict (RFC 7519)."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

#: Longest lifetime of a token (JW-09).
MAX_LIFETIME = timedelta(minutes=10)

_ID = re.compile(r"[!-~]{1,36}")  # a `jti` must fit into `RevokedJwt`
_URI = re.compile(r"[!-~]{1,2048}")
_METHOD = re.compile(r"[!-~]{1,32}")
_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")  # RFC 6749 section 3.3
_EPOCHS = range(2**31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = range(253_402_300_800)  # up to the year 9999, the last one of `datetime`
_SECOND = timedelta(seconds=1)


class Claims(NamedTuple):
    """The claims of a token that is valid by itself.

    The database decides if its session, user and tenant are still active (JW-09).
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
    email_verified: bool = False
    amr: tuple[str, ...] = ("pwd",)
    acr: str = "aal1"


def write_claims(claims: Claims) -> dict[str, Any]:
    """Return the members of a payload, except the issuer; times are cut to whole seconds."""
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
        # As of now, for services that verify JWTs by themselves (OpenID Connect Core, section 5.1).
        # The address itself is left out: services are to know users by `sub`.
        "email_verified": claims.email_verified,
        # How the user authenticated at `auth_time` (RFC 9068 section 2.2.1, RFC 8176).
        "amr": list(claims.amr),
        "acr": claims.acr,
    }


def read_claims(payload: dict[str, Any]) -> Claims:
    """Read the required claims, except the issuer, and check their types and bounds.

    Unknown claims are ignored (RFC 7519 section 4), so that a later version can add one.

    Raises:
        ValueError: A claim is missing or wrong; the message has its name and not its value.
    """
    tells_methods = "amr" in payload or "acr" in payload
    claims = Claims(
        subject=_text(payload, "sub", _ID),
        session_id=_text(payload, "sid", _ID),
        client_id=_text(payload, "client_id", _ID),
        tenant_id=_text(payload, "tenant", _ID),
        audience=_text(payload, "aud", _URI),
        scopes=frozenset(_text(payload, "scope", _SCOPE).split(" ")),
        epoch=_integer(payload, "epoch", _EPOCHS),
        jti=_text(payload, "jti", _ID),
        issued_at=_time(payload, "iat"),
        expires_at=_time(payload, "exp"),
        # Not compared with `iat`: the login may have been recorded by a host whose clock is ahead.
        authenticated_at=_time(payload, "auth_time"),
        # Absent from tokens of earlier versions.
        email_verified=_boolean(payload, "email_verified"),
        # Tokens of earlier versions have neither: their users have logged in by password.
        amr=_methods(payload) if tells_methods else ("pwd",),
        acr=_text(payload, "acr", _METHOD) if tells_methods else "aal1",
    )
    _text(payload, "iss", _URI)
    if payload["scope"] != " ".join(sorted(claims.scopes)):
        raise ValueError("The claim scope is not sorted, or has a scope twice.")
    if not timedelta() < claims.expires_at - claims.issued_at <= MAX_LIFETIME:
        raise ValueError(f"A token is good for at most {MAX_LIFETIME}.")
    return claims


def read_not_before(payload: dict[str, Any]) -> datetime:
    """Read the time before which a token is not valid; the epoch if it has no `nbf`.

    Raises:
        ValueError: The claim is not a time.
    """
    return _time(payload, "nbf") if "nbf" in payload else _EPOCH


def encode_base64url(octets: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode_base64url(part: str) -> bytes:
    """Decode base64url, accepting only the spelling that `encode_base64url` writes.

    Raises:
        ValueError: The text is another spelling of the same bytes.
    """
    octets = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if encode_base64url(octets) != part:
        raise ValueError("Bits are set after the end.")
    return octets


def read_object(text: bytes) -> dict[str, Any]:
    """Read one JSON object in UTF-8 without duplicate members at any depth (RFC 8725 section 2.4).

    Raises:
        ValueError: The text is not such an object.
        RecursionError: The object is nested too deeply.
    """
    value = _DECODER.decode(text.decode())
    if not isinstance(value, dict):
        raise ValueError("Not an object.")  # noqa: TRY004 # the token is wrong, not the type
    return value


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("A member is repeated.")
    return members


def _reject_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicates, parse_constant=_reject_constant)


def _text(payload: dict[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = payload.get(name)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ValueError(f"The claim {name} is missing or not a text of its form.")
    return value


def _methods(payload: dict[str, Any]) -> tuple[str, ...]:
    methods = payload.get("amr")
    if not isinstance(methods, list) or not methods:
        raise ValueError("The claim amr is missing or not a list of methods.")
    for method in methods:
        if not isinstance(method, str) or _METHOD.fullmatch(method) is None:
            raise ValueError("The claim amr has a member that is not the name of a method.")
    return tuple(methods)


def _boolean(payload: dict[str, Any], name: str) -> bool:
    value = payload.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"The claim {name} is not a boolean.")  # noqa: TRY004 # as above
    return value


def _time(payload: dict[str, Any], name: str) -> datetime:
    return _EPOCH + _integer(payload, name, _SECONDS) * _SECOND


def _integer(payload: dict[str, Any], name: str, bounds: range) -> int:
    value = payload.get(name)
    # In Python a bool is an int, and 1.0 is in a range of integers.
    if type(value) is not int or value not in bounds:
        raise ValueError(f"The claim {name} is missing or not an integer within its bounds.")
    return value
