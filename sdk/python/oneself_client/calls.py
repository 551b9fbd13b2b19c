"""One call of an operation, before it is sent."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

__all__ = ["Call", "Credentials", "Operation"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the document."""

    operation_id: str
    method: str
    #: The kinds of credential that it accepts, as the document names them.
    credentials: frozenset[str]

    @property
    def is_safe(self) -> bool:
        """Whether it only reads (RFC 9110 section 9.2.1), so that it may be sent twice."""
        return self.method in _SAFE


@dataclass(frozen=True, slots=True)
class Call:
    """An operation with the arguments that it was called with."""

    operation: Operation
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None
    json: Any = None
    data: Mapping[str, Any] | None = None
    content: bytes | None = None

    @property
    def may_be_sent_twice(self) -> bool:
        """Whether it does no more then: it only reads, or has a key with which it is done once."""
        return self.operation.is_safe or "Idempotency-Key" in self.headers


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks. Nothing of it is shown when it is printed."""

    token: str | Callable[[], str] | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    client: tuple[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what the service would refuse for every operation.

        Raises:
            ValueError: There are two of them for the same request.
        """
        if self.token is not None and self.api_key is not None:
            msg = "Give a token or an API key: the service takes exactly one with a request."
            raise ValueError(msg)

    def headers_for(self, operation: Operation) -> dict[str, str]:
        """The one credential that goes with a request, if its operation takes any."""
        if not operation.credentials:
            return {}
        if "client" in operation.credentials:
            return _basic(self.client) if self.client is not None else {}
        if self.token is not None:
            token = self.token if isinstance(self.token, str) else self.token()
            return {"Authorization": f"Bearer {token}"}
        return {"X-API-Key": self.api_key} if self.api_key is not None else {}


def _basic(client: tuple[str, str]) -> dict[str, str]:
    # Each part as in a form, before the colon joins them (RFC 6749 section 2.3.1).
    joined = ":".join(quote(part, safe="") for part in client)
    return {"Authorization": f"Basic {base64.b64encode(joined.encode()).decode()}"}
