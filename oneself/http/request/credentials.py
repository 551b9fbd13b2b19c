"""Reads the one credential of a request; `accounts.services.authentication` looks it up."""

import base64
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote_plus

from accounts.crypto import tokens
from accounts.crypto.jwts import Claims
from accounts.errors import InvalidClient, InvalidToken
from accounts.services.clients import ClientCredentials
from accounts.services.credentials import BY_KIND
from accounts.services.principal import CredentialKind, Presented
from handlers.errors import CrossSiteRequest
from handlers.exchange import COOKIE_NAME
from oneself.http.request.errors import MultipleCredentials, NotAuthenticated

_COOKIE = f"{COOKIE_NAME}=".encode()
_BEARER_PREFIXES = {type_.prefix: kind for kind, type_ in BY_KIND.items() if type_.prefix}
#: The headers that a credential is read from, beside the cookie; few operations read the last.
CARRIERS = frozenset({b"authorization", b"x-api-key"})
SESSION_HEADER = b"x-session-token"
_LONGEST_CLIENT_ID = 64
_SAFE_METHODS = frozenset({"GET", "HEAD"})


def read_credential(
    headers: Sequence[tuple[bytes, bytes]],
    carriers: frozenset[bytes] = CARRIERS,
    *,
    brand: str,
    read_jwt: Callable[[str], Claims],
) -> tuple[Presented, bool]:
    """Return the one credential of a request, and whether a cookie carries it.

    Browsers add a cookie by themselves, so one beside a header counts for nothing, valid or not.

    A token with a wrong form, checksum or signature is rejected here, without the database (TK-01,
    JW-01).

    Raises:
        NotAuthenticated: There is none.
        MultipleCredentials: There is more than one (SE-10).
        InvalidToken: It cannot be a token of this service.
    """
    explicit: list[tuple[bytes, bytes]] = []
    cookies: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name in carriers:
            explicit.append((name, value))
        elif name == b"cookie":
            crumbs = (crumb.strip(b" \t") for crumb in value.split(b";"))
            cookies += [(name, crumb) for crumb in crumbs if crumb.startswith(_COOKIE)]
    carried = explicit or cookies
    if not carried:
        raise NotAuthenticated
    if len(carried) > 1:
        raise MultipleCredentials
    [(name, value)] = carried
    if name == b"authorization":
        return _read_bearer(value, read_jwt), False
    text = value.decode("latin-1")
    if name == b"cookie":
        return _read_token(text[len(_COOKIE) :], only=tokens.SESSION), True
    if name == SESSION_HEADER:
        return _read_token(text, only=tokens.SESSION), False
    if tokens.api_key_prefix(text, brand) is None:
        raise InvalidToken
    return Presented(CredentialKind.API_KEY, text), False


def _read_bearer(header: bytes, read_jwt: Callable[[str], Claims]) -> Presented:
    scheme, _, rest = header.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated
    token = rest.strip(" ")
    # The service's opaque tokens contain no dot.
    if "." in token:
        return Presented(CredentialKind.JWT, token, read_jwt(token))
    return _read_token(token)


def _read_token(token: str, *, only: str | None = None) -> Presented:
    for prefix, kind in _BEARER_PREFIXES.items():
        if token.startswith(prefix) and only in {None, prefix}:
            if tokens.is_well_formed(token, prefix):
                return Presented(kind, token)
            break
    raise InvalidToken


def read_client(headers: Mapping[bytes, bytes]) -> ClientCredentials | None:
    """Return the client's id and secret from a Basic header; None without a header.

    Raises:
        InvalidClient: The header is not Basic, or has no id and secret.
    """
    header = headers.get(b"authorization")
    if header is None:
        return None
    scheme, _, encoded = header.partition(b" ")
    try:
        text = base64.b64decode(encoded.strip(b" "), validate=True).decode()
    except ValueError:
        text = ""
    name, colon, secret = text.partition(":")
    if scheme.lower() != b"basic" or not colon or not 0 < len(name) <= _LONGEST_CLIENT_ID:
        raise InvalidClient
    # Both are form-encoded before they are joined (RFC 6749 section 2.3.1).
    return ClientCredentials(unquote_plus(name), unquote_plus(secret))


def is_same_origin(headers: Mapping[bytes, bytes], origins: frozenset[str]) -> bool:
    """Tell whether the service's own pages, or the user directly, made the request (SE-09).

    Browsers say so in `Sec-Fetch-Site`, which a page cannot set; older ones send an `Origin`. A
    request with neither does not count as same-origin: no browser that has the cookie sends it.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site in {b"same-origin", b"none"}
    origin = headers.get(b"origin")
    return origin is not None and origin.decode("latin-1") in origins


def refuse_cross_site(method: str, *, same_origin: bool) -> None:
    """Require that a request which a cookie authenticates is safe or from the same origin.

    Raises:
        CrossSiteRequest: Another site may have made the request.
    """
    if not same_origin and method not in _SAFE_METHODS:
        raise CrossSiteRequest


def sent_bearer(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a Bearer token was sent, valid or not."""
    return any(
        name == b"authorization" and value[:7].lower() == b"bearer " for name, value in headers
    )
