"""Assertions that RFCs make on every answer, whatever its operation."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from oneself_conformance.http_client import Answer
from oneself_conformance.levels import Level, Violation

__all__ = ["find_standard_violations"]

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_CHALLENGE = re.compile(rf"{_NAME}( .*)?")
_METHODS = re.compile(rf"({_NAME}([ \t]*,[ \t]*{_NAME})*)?")
_JSON = re.compile(r"application/([a-z0-9.-]+\+)?json", re.IGNORECASE)
_TAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
#: Seconds, or one of the forms of a date: a server sends the first only.
_WAIT = re.compile(r"\d+|[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")


def find_standard_violations(answer: Answer) -> Iterator[Violation]:
    """Yield each demand of an RFC that an answer breaks, with its section."""
    for source, find in _DEMANDS.items():
        for text in find(answer):
            yield Violation(text, Level.STANDARD, source)


def _header(
    name: str, form: re.Pattern[str], what: str, *, needed_with: HTTPStatus | None = None
) -> Callable[[Answer], Iterator[str]]:
    """Return the demand that all values of a header have a form, and that a status has one."""

    def find(answer: Answer) -> Iterator[str]:
        values = answer.values(name)
        if answer.status == needed_with and not values:
            yield f"header {name}: is missing"
        if not all(map(form.fullmatch, values)):
            yield f"header {name}: is {what}"

    return find


def _not_with_nothing(name: str) -> Callable[[Answer], Iterator[str]]:
    """Return the demand that a 204 has no such header."""

    def find(answer: Answer) -> Iterator[str]:
        if answer.status == HTTPStatus.NO_CONTENT and answer.values(name):
            yield f"header {name}: is not allowed with a 204"

    return find


def _json(answer: Answer) -> Iterator[str]:
    if not answer.body or not _is_json(answer):
        return
    try:
        json.loads(answer.body.decode())
    except ValueError:
        yield "body: is not JSON in UTF-8, as its type says"


def _problem_status(answer: Answer) -> Iterator[str]:
    if not _media_type(answer).endswith("/problem+json"):
        return
    try:
        content = answer.json()
    except ValueError:
        return
    status = content.get("status") if isinstance(content, Mapping) else None
    if status is not None and status != answer.status:
        yield f"body/status: {status} is not {answer.status}"


def _is_json(answer: Answer) -> bool:
    return _JSON.fullmatch(_media_type(answer)) is not None


def _media_type(answer: Answer) -> str:
    types = answer.values("content-type")
    return types[0].partition(";")[0].strip() if types else ""


_DEMANDS: Mapping[str, Callable[[Answer], Iterator[str]]] = {
    "RFC 9110, sections 11.6.1 and 15.5.2": _header(
        "www-authenticate", _CHALLENGE, "not a challenge", needed_with=HTTPStatus.UNAUTHORIZED
    ),
    "RFC 9110, sections 10.2.1 and 15.5.6": _header(
        "allow", _METHODS, "not a list of methods", needed_with=HTTPStatus.METHOD_NOT_ALLOWED
    ),
    "RFC 9110, section 8.6": _not_with_nothing("content-length"),
    "RFC 9112, section 6.1": _not_with_nothing("transfer-encoding"),
    "RFC 8259, section 8.1": _json,
    "RFC 9457, section 3.1.3": _problem_status,
    "RFC 9110, section 8.8.3": _header("etag", _TAG, "not an entity tag"),
    "RFC 9110, section 10.2.3": _header("retry-after", _WAIT, "neither seconds nor a date"),
}
