"""What a handler may know of the exchange beyond its parameters, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Generic, NamedTuple, Self, TypeVar

from handlers.errors import CrossSiteRequest
from handlers.etags import tag_of

__all__ = ["COOKIE_NAME", "NO_CONTENT", "Exchange", "Reply"]

#: The `__Host-` prefix makes browsers insist on Secure, Path=/ and no Domain (SE-08).
COOKIE_NAME = "__Host-oneself_session"

Body = TypeVar("Body")


class Reply(NamedTuple, Generic[Body]):
    """A handler's answer; `headers` are those that the document lists for the operation."""

    body: Body
    status: HTTPStatus = HTTPStatus.OK
    #: Of a body that is bytes; any other is JSON.
    media_type: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def tagged(cls, body: Body) -> Self:
        """An answer in JSON that its client may want to change, with the tag to name then."""
        return cls(body, headers={"ETag": tag_of(body)})


#: The answer of an operation that has nothing to say but that it was done.
NO_CONTENT: Reply[None] = Reply(None, HTTPStatus.NO_CONTENT)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The request as a whole. `by_cookie` tells whether a cookie is its credential.

    `issuer` is scheme, host and port of this service, as the operator has set them.
    """

    user_agent: str | None
    same_origin: bool
    by_cookie: bool
    issuer: str

    def session_cookie(self, token: str, *, now: datetime, expires_at: datetime) -> dict[str, str]:
        """The header that gives a browser its session.

        Raises:
            CrossSiteRequest: Another site may have sent the login, to slip its own session in.
        """
        if not self.same_origin:
            raise CrossSiteRequest
        return _cookie(token, max_age=int((expires_at - now).total_seconds()))

    def cleared_cookie(self) -> dict[str, str]:
        """The header that takes the session from a browser, if it had one."""
        return _cookie("", max_age=0) if self.by_cookie else {}


def _cookie(value: str, *, max_age: int) -> dict[str, str]:
    attributes = f"Path=/; Max-Age={max_age}; HttpOnly; Secure; SameSite=Lax"
    return {"Set-Cookie": f"{COOKIE_NAME}={value}; {attributes}"}
