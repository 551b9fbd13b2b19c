"""The exchange: facts about a request, and a handler's reply."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType
from typing import Generic, NamedTuple, Self, TypeVar, cast

from handlers.errors import CrossSiteRequest
from handlers.etags import is_held, tag_of

#: The `__Host-` prefix makes browsers insist on Secure, Path=/ and no Domain (SE-08).
COOKIE_NAME = "__Host-oneself_session"
#: Without the prefix, since Hyperclast's pages read it by this name. What it holds belongs to one
#: session, so a cookie of this name that a subdomain has set is only a wrong one.
_CSRF_COOKIE = "csrftoken"

#: On documents that are the same for all callers: pages of every origin may read them.
_CROSS_ORIGIN: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

Body = TypeVar("Body")


class Reply(NamedTuple, Generic[Body]):
    """A handler's reply; the document lists its `headers` for the operation."""

    body: Body
    status: HTTPStatus = HTTPStatus.OK
    #: Set if the body is bytes; any other body is JSON.
    media_type: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    @classmethod
    def tagged(cls, body: Body) -> Self:
        """Make a JSON reply with an `ETag`, for a resource that clients change with `If-Match`."""
        return cls(body, headers={"ETag": tag_of(body)})

    @classmethod
    def cacheable(
        cls,
        body: Body,
        if_none_match: str | None,
        *,
        seconds: int,
        media_type: str | None = None,
        tag: str | None = None,
    ) -> Self:
        """Make a reply that caches and pages of every origin may keep; a 304 if they do.

        A `tag` that is known already is not computed from the body.
        """
        tag = tag or tag_of(body)
        cache = {"Cache-Control": f"public, max-age={seconds}", "ETag": tag}
        headers = {**_CROSS_ORIGIN, **cache}
        if is_held(if_none_match, tag):
            return cls(cast("Body", None), HTTPStatus.NOT_MODIFIED, headers=headers)
        return cls(body, media_type=media_type, headers=headers)


#: The reply of an operation that succeeds without a body.
NO_CONTENT: Reply[None] = Reply(None, HTTPStatus.NO_CONTENT)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Facts about a request; `by_cookie` tells whether its credential is a cookie."""

    user_agent: str | None
    same_origin: bool
    by_cookie: bool

    def require_same_origin(self) -> None:
        """Require a request of the service's own pages, before an act whose reply sets cookies.

        Raises:
            CrossSiteRequest: Another site may have sent it (login CSRF).
        """
        if not self.same_origin:
            raise CrossSiteRequest

    def session_cookie(self, token: str, *, now: datetime, expires_at: datetime) -> dict[str, str]:
        """Return the header that sets a browser's session cookie.

        Raises:
            CrossSiteRequest: As `require_same_origin`.
        """
        self.require_same_origin()
        return _set(_cookie(token, max_age=int((expires_at - now).total_seconds())))

    def browser_cookies(
        self, token: str, csrf_token: str, *, now: datetime, expires_at: datetime
    ) -> dict[str, str]:
        """Return the headers that set a browser's session cookie, and its CSRF token beside it.

        Raises:
            CrossSiteRequest: As `session_cookie`.
        """
        cookie = self.session_cookie(token, now=now, expires_at=expires_at)
        seconds = int((expires_at - now).total_seconds())
        return _set(cookie["Set-Cookie"], _csrf_cookie(csrf_token, max_age=seconds))

    def csrf_cookie(self, csrf_token: str, *, lifetime: timedelta) -> dict[str, str]:
        """Return the header that sets the CSRF token, if the request had the session cookie."""
        if not self.by_cookie:
            return {}
        return _set(_csrf_cookie(csrf_token, max_age=int(lifetime.total_seconds())))

    def require_csrf_token(self, *, matches: bool) -> None:
        """Require the session's CSRF token of a request that the cookie authenticates.

        Raises:
            CrossSiteRequest: It is missing or that of another session (SE-09).
        """
        if self.by_cookie and not matches:
            raise CrossSiteRequest

    def cleared_cookie(self) -> dict[str, str]:
        """Return the header that deletes the session cookie, if the request had one."""
        return _set(_cookie("", max_age=0)) if self.by_cookie else {}

    def cleared_browser_cookies(self) -> dict[str, str]:
        """Return the headers that delete both cookies, if the request had the session cookie."""
        cookies = _cookie("", max_age=0), _csrf_cookie("", max_age=0)
        return _set(*cookies) if self.by_cookie else {}


def _cookie(value: str, *, max_age: int) -> str:
    return f"{COOKIE_NAME}={value}; Path=/; Max-Age={max_age}; HttpOnly; Secure; SameSite=Lax"


def _csrf_cookie(value: str, *, max_age: int) -> str:
    # Not HttpOnly: a page of this origin reads it, which no other origin can.
    return f"{_CSRF_COOKIE}={value}; Path=/; Max-Age={max_age}; Secure; SameSite=Lax"


def _set(*cookies: str) -> dict[str, str]:
    return {"Set-Cookie": "\n".join(cookies)}
