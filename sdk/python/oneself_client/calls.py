"""A call of an operation, before it is sent."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

__all__ = ["Call", "Credentials", "Operation"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_VISIBLE = re.compile("[!-~]+")


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the document."""

    operation_id: str
    method: str
    #: The security schemes that it accepts.
    credentials: frozenset[str]

    @property
    def is_safe(self) -> bool:
        """True if it only reads (RFC 9110 section 9.2.1), so that it may be sent twice."""
        return self.method in _SAFE


@dataclass(frozen=True, slots=True)
class Call:
    """An operation with its arguments, which can be secrets and are hidden from its `repr`."""

    operation: Operation
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, Any] | None = field(default=None, repr=False)
    json: Any = field(default=None, repr=False)
    data: Mapping[str, Any] | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)

    @property
    def may_be_sent_twice(self) -> bool:
        """True if a repetition is harmless: it only reads, or it has an `Idempotency-Key`."""
        return self.operation.is_safe or "Idempotency-Key" in self.headers


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a client, hidden from its `repr`."""

    token: str | Callable[[], str] | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    client: tuple[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Reject credentials that the service would reject with every operation.

        Raises:
            ValueError: Both a token and an API key are given, or one of them is malformed.
        """
        for credential in (self.token, self.api_key):
            if isinstance(credential, str):
                _require_visible(credential)
        if self.token is not None and self.api_key is not None:
            msg = "Give either a token or an API key: the service accepts exactly one per request."
            raise ValueError(msg)

    def headers_for(self, operation: Operation) -> dict[str, str]:
        """Return the header with the credential for an operation, if it accepts any.

        Raises:
            ValueError: The function for the token returned a malformed one.
        """
        if not operation.credentials:
            return {}
        if "client" in operation.credentials:
            return _basic(self.client) if self.client is not None else {}
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            _require_visible(token)
            return {"Authorization": f"Bearer {token}"}
        return {"X-API-Key": self.api_key} if self.api_key is not None else {}


def _require_visible(credential: str) -> None:
    """Reject a malformed credential here, since the HTTP library would repeat it in its error."""
    if not _VISIBLE.fullmatch(credential):
        msg = (
            "A token or API key has visible ASCII characters only. Remove spaces and line breaks,"
            " such as the one at the end of a file."
        )
        raise ValueError(msg)


def _basic(client: tuple[str, str]) -> dict[str, str]:
    # Form-encode each part before joining them with a colon (RFC 6749 section 2.3.1).
    joined = ":".join(quote(part, safe="") for part in client)
    return {"Authorization": f"Basic {base64.b64encode(joined.encode()).decode()}"}
