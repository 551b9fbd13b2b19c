"""Host names and origins: those of settings, and the name in a `Host` header."""

import re
from functools import lru_cache

from pydantic import AnyHttpUrl, ValidationError

_MOST_HEADERS_KEPT = 64
_NAME = r"\[[0-9a-f:.]+\]|[a-z0-9._-]+"
_HOST = re.compile(_NAME)
#: A host with an optional port (RFC 3986 section 3.2.2).
_HEADER = re.compile(rf"(?P<name>{_NAME})(:[0-9]{{1,5}})?")
_ORIGIN_RULE = (
    "must be origins as browsers send them, such as https://app.example.com, separated by commas:"
    " a scheme, a host in lower case, a port only if it is not the default, and no path or wildcard"
)
_RULE = "must be host names without scheme, port or path, separated by commas"


@lru_cache(maxsize=_MOST_HEADERS_KEPT)
def read_host(header: bytes) -> str | None:
    """Return the name in a `Host` header, without its port; None if it is malformed."""
    match = _HEADER.fullmatch(header.decode("latin-1").lower())
    return match["name"] if match else None


def parse_hosts(text: str) -> tuple[str, ...]:
    """Parse host names separated by commas, as the host of a URL is parsed.

    Raises:
        ValueError: A part is not a host name, or is more than that.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(_parse_host(part) for part in parts if part)


def _parse_host(text: str) -> str:
    try:
        url = AnyHttpUrl(f"http://{text}")
    except ValidationError:
        raise ValueError(_RULE) from None
    host = url.host or ""
    # The parser adds a slash and drops a default port, and a wildcard would match nothing.
    if str(url) != f"http://{host}/" or text.endswith((":80", "/")) or not _HOST.fullmatch(host):
        raise ValueError(_RULE)
    return host


def require_hosts(text: str) -> str:
    """Return the text, after `parse_hosts` has parsed it."""
    parse_hosts(text)
    return text


def parse_origins(text: str) -> frozenset[str]:
    """Parse origins separated by commas, written as browsers send them (RFC 6454 section 6.2).

    Raises:
        ValueError: A part is not an origin, or browsers would write it in another way.
    """
    parts = (part.strip() for part in text.split(","))
    return frozenset(_parse_origin(part) for part in parts if part)


def _parse_origin(text: str) -> str:
    try:
        url = AnyHttpUrl(text)
    except ValidationError:
        raise ValueError(_ORIGIN_RULE) from None
    # The parser adds a slash, drops a default port and lowers the host.
    if str(url) != f"{text}/" or "@" in text or not _HOST.fullmatch(url.host or ""):
        raise ValueError(_ORIGIN_RULE)
    return text


def require_origins(text: str) -> str:
    """Return the text, after `parse_origins` has parsed it."""
    parse_origins(text)
    return text
