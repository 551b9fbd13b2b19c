"""The HTML pages that mailed links open; they are not part of the OpenAPI document.

Opening a link only shows its purpose, since mail scanners open every link; the button on the page
acts on it (EM-11). No page needs its script.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import InvalidRequest
from accounts.origin import Origin
from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import find_locale
from accounts.services.policies.authorization import Decide, govern
from handlers.errors import CrossSiteRequest
from oneself.database import Database
from oneself.http.guard import RequestContext
from oneself.http.request.bodies import headers_of, media_type, read_body
from oneself.http.request.client_address import origin_of
from oneself.http.request.errors import MethodNotAllowed
from oneself.http.request.forms import FORM, parse_form
from oneself.http.response.error_handler import refusal_of
from oneself.http.response.responses import Answer
from oneself.runtime.thread_pools import Pool
from oneself.settings_parsers import Network
from oneself.web.frame import PageFrame
from oneself.web.languages import preferred_language
from oneself.web.page_forms import PAGES, Page, View, refuse

_METHODS = ("GET", "HEAD", "POST")
#: Enough for a secret and a password of 1,024 bytes, each byte percent-encoded.
_MOST_BYTES = 8192
_MOST_PARAMETERS = 50


@dataclass(frozen=True, slots=True)
class _Visit:
    """One request for a page, as the event loop has read it."""

    page: Page
    fields: Mapping[str, str]
    is_submitted: bool
    language: str
    origin: Origin


class _Shown(NamedTuple):
    """A page whose form was submitted, as it was before, and the language of its user."""

    view: View
    language: str


class PasswordRules(NamedTuple):
    """The rules for new passwords that depend on settings."""

    min_length: int
    password_classes: bool


class Pages:
    """ASGI middleware that serves the pages and passes all other requests on."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        database: Database,
        decide: Decide,
        pools: Mapping[str, Pool],
        frame: PageFrame,
        password_rules: PasswordRules,
        proxies: Sequence[Network],
        body_seconds: float,
    ) -> None:
        self._app = app
        self._database = database
        self._decide = decide
        self._pools = pools
        self._frame = frame
        self._templates = frame.templates
        self._proxies = proxies
        self._body_seconds = body_seconds
        self._password_rules = password_rules

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve a page, or pass the request on."""
        page = PAGES.get(scope["path"]) if scope["type"] == "http" else None
        if page is None:
            return self._app(scope, receive, send)
        return self._show(page, scope, receive, send)

    async def _show(self, page: Page, scope: Scope, receive: Receive, send: Send) -> None:
        request_context: RequestContext = scope["oneself.request_context"]
        request_context.operation_id = page.operation_id
        request_id = request_context.request_id
        origin = origin_of(scope, headers_of(scope), request_id, self._proxies)
        language = preferred_language(self._templates, scope)
        visit = _Visit(page, {}, scope["method"] == "POST", language, origin)
        try:
            visit = replace(visit, fields=await self._read(page, scope, receive))
            database = self._pools["database"]
            answer = await database.run(partial(self._look, visit), writing=False)
            if isinstance(answer, _Shown):
                # Its secret is good, if it has one; no other may wait for a thread that hashes.
                is_hashing = visit.fields.keys() >= {"secret", "new_password"}
                pool = self._pools["password"] if is_hashing else database
                answer = await pool.run(partial(self._act, visit, answer))
        except Exception as error:  # noqa: BLE001 # a user gets a page for every error
            view = _refused(error, replace(visit, fields={}), shown=None)
            answer = self._render(view, language)
        await request_context.send(send, answer)

    async def _read(self, page: Page, scope: Scope, receive: Receive) -> Mapping[str, str]:
        """Return the parameters of the link, or the fields of the form.

        Raises:
            MethodNotAllowed: The method is not GET, HEAD or POST.
            BodyTooLarge, RequestTimeout, MalformedRequest: The form cannot be read.
            CrossSiteRequest: Another site submitted the form.
            UnsupportedMediaType, InvalidRequest: No link or form of these pages is like this.
        """
        if scope["method"] not in _METHODS:
            raise MethodNotAllowed(_METHODS)
        if scope["method"] != "POST":
            return _read_query(scope["query_string"], page.parameters)
        headers = headers_of(scope)
        body = await read_body(receive, most_bytes=_MOST_BYTES, seconds=self._body_seconds)
        self._refuse_other_sites(headers)
        media_type(headers, {FORM: None})
        fields = parse_form(body)
        for unknown in fields.keys() - page.fields:
            raise InvalidRequest.of(unknown, "is not a field of this page")
        return fields

    def _refuse_other_sites(self, headers: Mapping[bytes, bytes]) -> None:
        """Reject cross-site form posts (CSRF, SE-09).

        Raises:
            CrossSiteRequest: Another site made the request.
        """
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            ours = site in {b"same-origin", b"none"}
        else:
            # Looks wrong because every sandboxed frame has the origin `null`. Is right because our
            # Referrer-Policy gives it to our own forms too, in browsers without Sec-Fetch-Site
            # (Fetch standard, "append a request Origin header"). Costs little: no cookie is read
            # here, and a form can do only what the secret in it allows.
            ours = headers.get(b"origin", b"null") in {b"null", self._frame.public_origin.encode()}
        if not ours:
            raise CrossSiteRequest

    def _look(self, visit: _Visit) -> Answer | _Shown:
        """Show the page, or return it if its form was submitted. Runs in a worker thread.

        The secret is read before the button acts on it: otherwise well-formed but invalid secrets,
        which are easy to make, would make all writers and all password hashes wait.
        """
        language = visit.language
        try:
            with self._database.transaction(writing=False, origin=visit.origin) as session:
                language = self._language_of(session, visit)
                view = visit.page.show(session, visit.fields)
        except Exception as error:  # noqa: BLE001 # as above, in the language of the user
            return self._render(_refused(error, visit, shown=None), language)
        return _Shown(view, language) if visit.is_submitted else self._render(view, language)

    def _act(self, visit: _Visit, shown: _Shown) -> Answer:
        """Act on a submitted form. Runs in a worker thread."""
        try:
            view = self._database.attempt(partial(self._submit, visit))
        except Exception as error:  # noqa: BLE001 # as above
            view = _refused(error, visit, shown=shown.view)
        return self._render(view, shown.language)

    def _submit(self, visit: _Visit) -> View:
        with self._database.transaction(writing=True, origin=visit.origin) as session:
            govern(session, self._decide, visit.page.action_of(visit.fields))
            return visit.page.submit(session, visit.fields)

    def _language_of(self, session: AccountSession, visit: _Visit) -> str:
        """Return the language of the secret's user if it is available, else the browser's."""
        secret = visit.fields.get("secret", "")
        locale = find_locale(session, visit.page.purpose, secret)
        return self._templates.find_language(locale) or visit.language

    def _render(self, view: View, language: str) -> Answer:
        values = {
            name: self._templates.format_time(value, language)
            if isinstance(value, datetime)
            else value
            for name, value in {**self._password_rules._asdict(), **view.values}.items()
        }
        page = self._frame.render(view.template, language, values, has_forms=True)
        return page._replace(
            status=view.status, code=view.code, headers={**page.headers, **view.headers}
        )


def _refused(error: Exception, visit: _Visit, *, shown: View | None) -> View:
    # In a function of its own, so that no traceback refers to a frame that refers to the error.
    request_id = visit.origin.request_id or ""
    return refuse(refusal_of(error), visit.page, visit.fields, shown=shown, request_id=request_id)


def _read_query(query: bytes, parameters: frozenset[str]) -> Mapping[str, str]:
    """Return the known parameters of a link; mail programs append others, which are ignored.

    Raises:
        InvalidRequest: A known parameter is repeated, or there are more than 50.
    """
    try:
        pairs = parse_qsl(query.decode("latin-1"), max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise InvalidRequest.of("query", "must have at most 50 parameters") from error
    wanted = [(name, value) for name, value in pairs if name in parameters]
    if len(dict(wanted)) != len(wanted):
        raise InvalidRequest.of("secret", "must stand once")
    return dict(wanted)
