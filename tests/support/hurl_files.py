"""Reader and runner of Hurl files, as far as the conformance tests write them.

Written from the published grammar and manual of Hurl, and not from the export that it tests: the
binary is in no package registry.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from oneself_conformance.http_client import Answer, Request, ask

__all__ = ["HurlEntry", "read_hurl", "run_hurl"]

_TEMPLATE = r"\{\{[A-Za-z]\w*(?: urlEncode)?\}\}"
_QUOTED = r'"(?:[^"\\]|\\["\\bfnrt]|\\u\{[0-9a-f]+\})*"'
_QUERY = rf"(?:status|bytes|header {_QUOTED}|jsonpath {_QUOTED})"
_VALUE = rf"(?:{_QUOTED}|-?\d+(?:\.\d+)?|true|false|null|{_TEMPLATE})"
_COMPARISON = "==|!=|<|>=|includes|startsWith|endsWith|matches"
_PREDICATE = rf"(?:(?:{_COMPARISON}) {_VALUE}|not exists|exists|isEmpty|isInteger)"
_ASSERT = re.compile(rf"({_QUERY})( count)? ({_PREDICATE})")
_CAPTURE = re.compile(rf"(\w+): ({_QUERY})")
_REQUEST = re.compile(rf"([A-Z]+) ((?:{_TEMPLATE}|\\.|[^\s#\\])+)")
_RESPONSE = re.compile(r"HTTP (\d{3}|\*)")
_PAIR = re.compile(rf"((?:[\w.@$\[\]-]|\\[#:]|{_TEMPLATE})+): ?((?:[^#\\]|\\.)*)")
_BODY = re.compile(r"`((?:[^#\\`]|\\[`#\\nrtbf]|\\u\{[0-9a-f]+\})*)`|base64,([A-Za-z0-9+/=]*);")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-f]+)\}|(.))", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_STEP = re.compile(r"\['([^']*)'\]|\[(\d+)\]|(\.\*)")


@dataclass
class HurlEntry:
    """A request and its expected response, as written."""

    method: str
    url: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    basic: tuple[str, str] | None = None
    body: str | bytes = b""
    status: str = "*"
    captures: dict[str, str] = field(default_factory=dict)
    asserts: list[tuple[str, bool, str]] = field(default_factory=list)


def read_hurl(text: str) -> list[HurlEntry]:
    """Return the entries of a file, or raise `ValueError` with the line that is none of Hurl's."""
    entries: list[HurlEntry] = []
    section = "response"
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        section = _read_line(line, section, entries)
    return entries


def _read_line(line: str, section: str, entries: list[HurlEntry]) -> str:
    """Add a line to the last entry, and return the section that it is in."""
    started = re.fullmatch(r"\[(BasicAuth|Captures|Asserts)\]", line)
    if section != "headers" and (found := _REQUEST.fullmatch(line)) and found[1] != "HTTP":
        entries.append(HurlEntry(found[1], found[2]))
        return "headers"
    entry = entries[-1]
    if started and (started[1] == "BasicAuth") == (section == "headers"):
        return started[1]
    if section in {"headers", "BasicAuth", "body"} and (found := _RESPONSE.fullmatch(line)):
        entry.status = found[1]
        return "response"
    if section in {"headers", "BasicAuth"} and (found := _BODY.fullmatch(line)):
        entry.body = base64.b64decode(found[2]) if found[2] is not None else found[1]
        return "body"
    if section in {"headers", "BasicAuth"} and (found := _PAIR.fullmatch(line)):
        if section == "BasicAuth":
            entry.basic = (found[1], found[2])
        else:
            entry.headers.append((found[1], found[2]))
    elif section == "Captures" and (found := _CAPTURE.fullmatch(line)):
        entry.captures[found[1]] = found[2]
    elif section == "Asserts" and (found := _ASSERT.fullmatch(line)):
        entry.asserts.append((found[1], bool(found[2]), found[3]))
    else:
        raise ValueError(f"not in {section}: {line}")
    return section


def run_hurl(text: str, variables: dict[str, str]) -> Iterator[str]:
    """Send the requests of a file, and yield what is not as it asserts."""
    known: dict[str, Any] = dict(variables)
    for entry in read_hurl(text):
        try:
            request = _request(entry, known)
        except KeyError as missing:
            yield f"no variable {missing}"
            return
        answer = ask(known["url"], request)
        shown = f"{request.method} {request.target}: {answer.status}"
        if entry.status not in {"*", str(answer.status)}:
            yield f"{shown} is not {entry.status} {answer.body[:300]!r}"
            return
        for name, query in entry.captures.items():
            found = _evaluate(query, answer, known)
            if found is ... or (found is None and query.startswith("header")):
                yield f"{shown}: nothing to capture for {name}"
                return
            known[name] = found
        for query, is_count, predicate in entry.asserts:
            value = _evaluate(query, answer, known)
            if is_count:
                value = len(value) if isinstance(value, list) else None
            if not _holds(value, predicate, known):
                yield f"{shown}: {query} {predicate}, but it is {value!r}"


def _request(entry: HurlEntry, known: dict[str, Any]) -> Request:
    headers = [(_unescape(name, known), _unescape(value, known)) for name, value in entry.headers]
    if entry.basic:
        pair = ":".join(_unescape(each, known) for each in entry.basic)
        headers.append(("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"))
    body = entry.body if isinstance(entry.body, bytes) else _unescape(entry.body, known).encode()
    target = _unescape(entry.url, known).removeprefix(known["url"])
    return Request(entry.method, target, tuple(headers), body)


def _unescape(text: str, known: dict[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        name, _, is_encoded = found[0][2:-2].partition(" ")
        return quote(str(known[name]), safe="") if is_encoded else str(known[name])

    plain = _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else _CONTROL.get(found[2], found[2]), text
    )
    return re.sub(_TEMPLATE, value, plain)


def _evaluate(query: str, answer: Answer, known: dict[str, Any]) -> Any:
    kind, _, argument = query.partition(" ")
    if kind == "status":
        return answer.status
    if kind == "bytes":
        return [*answer.body]
    argument = _unescape(argument[1:-1], known)
    if kind == "header":
        values = answer.values(argument)
        return (values[0] if len(values) == 1 else values) or None
    return _find(answer.json(), argument)


def _find(content: Any, path: str) -> Any:
    """Return the value at a path; of `.*`, all values, or the only one itself."""
    try:
        for name, number, everything in _STEP.findall(path.removeprefix("$")):
            if everything:
                values = [*content.values()]
                content = values[0] if len(values) == 1 else values
            else:
                content = content[int(number)] if number else content[name]
    except (LookupError, TypeError, AttributeError):
        return ...
    return content


def _holds(value: Any, predicate: str, known: dict[str, Any]) -> bool:
    name, _, argument = predicate.partition(" ")
    wanted: Any = None
    if argument and predicate != "not exists":
        if argument.startswith("{{"):
            wanted = known[argument[2:-2]]
        else:
            is_text = argument.startswith('"')
            wanted = _unescape(argument[1:-1], known) if is_text else json.loads(argument)
    if predicate in {"exists", "not exists"}:
        return (value is not ... and value is not None) == (predicate == "exists")
    tests: dict[str, Callable[[], bool]] = {
        "==": lambda: type(value) is type(wanted) and value == wanted,
        "!=": lambda: value != wanted,
        "<": lambda: value < wanted,
        ">=": lambda: value >= wanted,
        "includes": lambda: wanted in value,
        "startsWith": lambda: value.startswith(wanted),
        "endsWith": lambda: value.endswith(wanted),
        "matches": lambda: re.search(wanted, value) is not None,
        "isEmpty": lambda: not value,
        "isInteger": lambda: type(value) is int,
    }
    try:
        return tests[name]()
    except (AttributeError, TypeError):
        return False
