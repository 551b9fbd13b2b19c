"""Entries of Hurl files (https://hurl.dev), and what they can assert."""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oneself_conformance.cases.matching import (
    Either,
    Matcher,
    Other,
    Pattern,
    PublicUrl,
    SameRequestId,
    Timestamp,
    UnixTime,
)
from oneself_conformance.http_client import Request

__all__ = [
    "ANY",
    "SUCCESS",
    "Captured",
    "Entry",
    "NotExpressible",
    "assert_body",
    "assert_header",
    "assert_members",
    "pointer_query",
    "template",
]

#: The status of a request that only has to succeed, and of one that need not.
SUCCESS, ANY = "success", "*"
#: The longest body that is written into a file.
_MAX_BODY = 20_000
#: A variable of Hurl, also in percent encoding.
_VARIABLE = re.compile(r"\{\{([A-Za-z]\w*)\}\}")
_TEMPLATE = re.compile(r"\{\{[A-Za-z]\w*(?: urlEncode)?\}\}")
_ENCODED_VARIABLE = re.compile(r"%7B%7B([A-Za-z]\w*)%7D%7D")
_TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
#: Python's regular expressions that Rust's lack.
_LOOKAROUND = re.compile(r"\(\?(?:[=!]|<[=!])")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


class NotExpressible(Exception):
    """Hurl cannot express a row; the message says why."""


def template(name: str) -> str:
    """Return the placeholder of a variable."""
    return f"{{{{{name}}}}}"


class Captured(str):
    """The placeholder of a captured value, which keeps its type when it is compared."""

    __slots__ = ()


@dataclass
class Entry:
    """A request and what its response must have."""

    request: Request
    status: str
    asserts: list[str] = field(default_factory=list)
    captures: dict[str, str] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the entry."""
        request = self.request
        yield f"{request.method} {template('url')}{_decode(_escape(request.target, '#'))}"
        basic = ""
        for name, value in request.headers:
            credentials = _basic_credentials(name, value)
            if credentials:
                basic = credentials
            elif not value.strip():
                raise NotExpressible("it sends an empty header")
            else:
                yield f"{_escape(name, '#:')}: {_escape(value, '#')}"
        if basic:
            user, _, password = basic.partition(":")
            yield "[BasicAuth]"
            yield f"{_key(user)}: {_escape(password, '#')}"
        if request.body:
            yield _body(request)
        yield f"HTTP {self.status if self.status.isdecimal() else '*'}"
        if self.captures:
            yield "[Captures]"
            yield from (f"{name}: {query}" for name, query in self.captures.items())
        asserts = [*_status_class(self.status), *self.asserts]
        if asserts:
            yield "[Asserts]"
            yield from asserts


def pointer_query(pointer: str, *, is_list: bool) -> str:
    """Return the query of a JSON pointer of a row, whose `/headers` are those of the response."""
    steps = [each.replace("~1", "/").replace("~0", "~") for each in pointer.split("/")[1:]]
    if steps[:1] == ["headers"]:
        return f"header {quote(steps[1])}"
    # A row has a list below `items`.
    if is_list and steps[:1] == ["items"]:
        steps = steps[1:]
    return f"jsonpath {quote(_path(int(each) if each.isdecimal() else each for each in steps))}"


def assert_header(name: str, values: Iterable[Any]) -> Iterator[str]:
    """Yield that a response has a header with these values; none if there are no values."""
    wanted = [*values]
    subject = f"header {quote(name)}"
    if not wanted:
        yield f"{subject} not exists"
    elif name.lower() == "www-authenticate" and all(isinstance(each, str) for each in wanted[:1]):
        # The address of the resource's metadata may follow, which is another everywhere.
        yield f"{subject} startsWith {quote(wanted[0])}"
    elif len(wanted) == 1:
        yield from _assert_value(subject, wanted[0])
    else:
        if any(isinstance(each, Matcher) for each in wanted):
            raise NotExpressible("it needs a pattern among several values of a header")
        yield f"{subject} count == {len(wanted)}"
        yield from (f"{subject} includes {quote(each)}" for each in wanted)


def assert_body(expected: Any, *, is_open: bool = False) -> list[str]:
    """Return that a body has these values, and with `is_open` perhaps others."""
    return [*_assert_json(expected, (), is_open=is_open)]


def assert_members(shown: Mapping[str, Any], steps: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield that a body has the members that a page shows."""
    for name, value in shown.items():
        yield f"jsonpath {quote(_path((*steps, name)))} exists"
        if isinstance(value, Mapping):
            yield from assert_members(value, (*steps, name))


def _assert_json(expected: Any, steps: tuple[Any, ...], *, is_open: bool) -> Iterator[str]:
    subject = f"jsonpath {quote(_path(steps))}"
    if isinstance(expected, Mapping):
        if not expected:
            yield f"{subject} isEmpty"
        elif len(expected) > 1 and not is_open:
            # One member alone would be taken for its value.
            yield f"jsonpath {quote(_path(steps) + '.*')} count == {len(expected)}"
        for name, value in expected.items():
            yield from _assert_json(value, (*steps, name), is_open=is_open)
    elif isinstance(expected, list):
        yield f"{subject} count == {len(expected)}" if expected else f"{subject} isEmpty"
        for number, value in enumerate(expected):
            yield from _assert_json(value, (*steps, number), is_open=is_open)
    else:
        yield from _assert_value(subject, expected)


def _assert_value(subject: str, expected: Any) -> Iterator[str]:
    if isinstance(expected, Captured):
        yield f"{subject} == {expected}"
    elif not isinstance(expected, Matcher):
        yield f"{subject} == {quote(expected) if isinstance(expected, str) else _literal(expected)}"
    elif isinstance(expected, Pattern):
        yield _matches(subject, expected.pattern)
    elif isinstance(expected, Timestamp):
        yield _matches(subject, _TIMESTAMP)
    elif isinstance(expected, UnixTime):
        yield f"{subject} isInteger"
    elif isinstance(expected, PublicUrl):
        yield f"{subject} endsWith {quote(expected.path)}"
    elif isinstance(expected, SameRequestId):
        yield f"{subject} == {quote(expected.prefix + template('request_id'))}"
    elif isinstance(expected, Other) and isinstance(expected.value, str):
        yield f"{subject} != {quote(expected.value)}"
    elif isinstance(expected, Either) and all(isinstance(e, str) for e in expected.alternatives):
        yield _matches(subject, "|".join(map(re.escape, expected.alternatives)))
    else:
        raise NotExpressible(f"it needs the matcher {type(expected).__name__}")


def _matches(subject: str, pattern: str) -> str:
    if _LOOKAROUND.search(pattern) or _VARIABLE.search(pattern):
        raise NotExpressible("its pattern is not one of Rust's regular expressions")
    return f"{subject} matches {quote(f'^(?:{pattern})$')}"


def _status_class(status: str) -> Iterator[str]:
    if status.endswith("xx"):
        yield f"status >= {status[0]}00"
        yield f"status < {int(status[0]) + 1}00"
    elif status == SUCCESS:
        yield "status < 400"


def _path(steps: Iterable[Any]) -> str:
    named = (f"[{each}]" if isinstance(each, int) else f"['{each}']" for each in steps)
    path = "$" + "".join(named)
    if path.count("'") != 2 * path.count("['"):
        raise NotExpressible("a member has a quotation mark in its name")
    return path


def quote(text: str) -> str:
    """Return a quoted string of Hurl, in which variables are replaced."""
    return f'"{_escape(text, chr(34))}"'


def _literal(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        return json.dumps(value)
    raise NotExpressible(f"it compares a {type(value).__name__}")


def _key(text: str) -> str:
    if not re.fullmatch(r"(?:[\w.@$-]|\{\{\w+\}\})+", text):
        raise NotExpressible("the id of its client has other characters")
    return text


def _escape(text: str, also: str) -> str:
    if "{{" in _TEMPLATE.sub("", text):
        raise NotExpressible("it has two braces, which begin a variable")
    escapes = {**_ESCAPES, **{each: f"\\{each}" for each in also}}
    return "".join(
        escapes.get(each) or (each if each.isprintable() else f"\\u{{{ord(each):x}}}")
        for each in text
    )


def _decode(text: str) -> str:
    """Return percent-encoded text with its variables, which are encoded when they are known."""
    return _ENCODED_VARIABLE.sub(r"{{\1 urlEncode}}", text)


def _basic_credentials(name: str, value: str) -> str:
    """Return the id and the secret in a header, if a variable is among them."""
    scheme, _, encoded = value.partition(" ")
    if name.lower() != "authorization" or scheme != "Basic":
        return ""
    try:
        text = b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""
    return text if _VARIABLE.search(text) else ""


def _body(request: Request) -> str:
    if len(request.body) > _MAX_BODY:
        raise NotExpressible("its body is too large for a file")
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        return f"base64,{b64encode(request.body).decode()};"
    return f"`{_escape(_decode(text), '`#')}`"
