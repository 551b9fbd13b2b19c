"""Export of rows as Hurl files, each of which runs with one binary and a file of variables."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from oneself_conformance.actors import API_KEYS, PASSWORD, Actor, Actors, Operator
from oneself_conformance.cases.assertions import COMPARED_HEADERS
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row
from oneself_conformance.document import load_document, resolve
from oneself_conformance.exports.hurl_syntax import (
    ANY,
    SUCCESS,
    Captured,
    Entry,
    NotExpressible,
    assert_body,
    assert_header,
    assert_members,
    pointer_query,
    template,
)
from oneself_conformance.http_client import Request, json_request
from oneself_conformance.levels import Level
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.placeholders import fill
from oneself_conformance.targets import Deployment, Unreachable

__all__ = ["Export", "export"]

_MAX_TIMES = 20
#: Pointers to objects, of which Hurl compares no whole ones.
_OBJECTS = ("", "/data")
_VARIABLE = re.compile(r"\{\{(\w+)")
_README = """# Rows as Hurl files

{written} of {count} rows are here. Each file is one row, and runs alone.

```sh
hurl --test --no-cookie-store --path-as-is --jobs 1 \\
  --variables-file variables.env --variable nonce=$(openssl rand -hex 4) */*.hurl */*/*.hurl
```

`variables.env` has a line `name=value` for each variable; `url` is the address of the deployment,
and the others are values of the users of a credentials file, such as `session_token` of `base`
and `other_tenant_email` of `other_tenant`:

{variables}

Timestamps are compared by their form only, and times in requests were computed on {date}.

| rows | not expressible in Hurl |
|---|---|
{reasons}
"""


@dataclass(frozen=True)
class Export:
    """The number of written files, and of the rows that cannot be expressed, by reason."""

    written: int
    reasons: Counter[str]


def export(rows: Iterable[Row], hold: Level, folder: Path) -> Export:
    """Write a file for each row that Hurl can express, and a README.md."""
    written, variables, reasons = 0, {"url"}, Counter[str]()
    for number, row in enumerate(rows):
        try:
            text = "\n".join(_file(row, hold, number)) + "\n"
        except NotExpressible as error:
            reasons[str(error)] += 1
            continue
        except Unreachable as error:
            reasons[str(error).partition(":")[0]] += 1
            continue
        path = folder / row.file / f"{number:04}-{_slug(row.promise)}.hurl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        captured = {*re.findall(r"^(\w+): (?:jsonpath|header) ", text, re.MULTILINE)}
        variables |= {*_VARIABLE.findall(text)} - captured
        written += 1
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(
        _README.format(
            written=written,
            count=written + reasons.total(),
            variables="\n".join(f"- `{each}`" for each in sorted(variables - {"nonce"})),
            date=datetime.now(UTC).date(),
            reasons="\n".join(f"| {count} | {reason} |" for reason, count in reasons.most_common()),
        )
    )
    return Export(written, reasons)


def _slug(promise: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", promise.lower())[:60].strip("-")


class _User(Actor):
    """A user whose values are variables; a new one has those of its sign-up."""

    def __init__(self, deployment: Deployment, name: str, entries: list[Entry]) -> None:
        super().__init__(deployment, Operator(), {}, name)
        self._prefix = "" if name == "base" else f"{name}_"
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        if name == "client":
            return f"{self['client_id']}:{self['client_secret']}"
        if name not in self._values:
            self._values[name] = self._find(name)
        return self._values[name]

    def _find(self, name: str) -> str:
        # No file of users has the id that Hantera's profile shows.
        if self.name == "fresh" or name == "identity_id":
            self._obtain(name)
        return template(self._prefix + name)

    def _obtain(self, name: str) -> None:
        """Add the request that creates a credential of a new user."""
        headers = (("Authorization", f"Bearer {self['session_token']}"),)
        if name == "access_token":
            request = json_request("GET", "/api/users/me/token/", None, headers)
            query = "jsonpath \"$['access_token']\""
        elif name == "api_key":
            scopes = load_document()["components"]["schemas"]["ApiKeyScope"]["enum"]
            body = {"name": "everything", "scopes": [*scopes]}
            request = json_request("POST", API_KEYS, body, headers)
            query = "jsonpath \"$['data']['key']\""
        elif name == "identity_id":
            request = json_request("GET", "/resources/me/profile", None, headers)
            query = "jsonpath \"$['id']\""
        else:
            raise NotExpressible(f"it needs the {name} of a new user")
        self._entries.append(Entry(request, SUCCESS, captures={f"{self._prefix}{name}": query}))


class _Users(Actors):
    """Users whose values are variables."""

    def __init__(self, deployment: Deployment, number: int, entries: list[Entry]) -> None:
        super().__init__(deployment)
        self._number = number
        self._entries = entries
        self._found: dict[str, _User] = {}

    def find(self, name: str) -> Actor:
        """Return a user of the credentials file."""
        return self._found.setdefault(name, _User(self._deployment, name, self._entries))

    def sign_up(self, **chosen: str) -> Actor:
        """Add the request by which a user signs up."""
        if self._deployment.is_foreign:
            raise NotExpressible("its user has to sign up")
        body = {
            "email": f"fresh.{template('nonce')}{self._number:08x}@example.com",
            "display_name": "Alice Chen",
            "tenant_name": "Acme Corp",
            "password": PASSWORD,
            **chosen,
        }
        captured = ("session_token", "user_id", "tenant_id")
        captures = {f"fresh_{name}": f"jsonpath \"$['data']['{name}']\"" for name in captured}
        request = json_request("POST", "/v1/auth/signup", body)
        self._entries.append(Entry(request, SUCCESS, captures=captures))
        user = _User(self._deployment, "fresh", self._entries)
        user.remember({**body, **{name: template(f"fresh_{name}") for name in captured}})
        return user


@dataclass
class _Writer(CaseRunner):
    """Builds the requests of a row with variables in place of values."""

    entries: list[Entry] = field(default_factory=list)

    def write(self) -> None:
        """Add the entries of the steps and of the row."""
        raw = self.row.raw
        if self.row.dribbles:
            raise NotExpressible("it never completes its body")
        if "service" in raw:
            raise NotExpressible("it needs a deployment with other settings")
        for step in raw.get("before", ()):
            self._write_step(step)
        request = self.request_of(raw)
        self._actor(raw.get("as"))
        entry = Entry(request, self._status(), self._asserts(request), self._captures(raw))
        if any(template("request_id") in each for each in entry.asserts):
            entry.captures["request_id"] = 'header "X-Request-Id"'
        self.entries.append(entry)
        if self.users.must_change_back:
            for step in raw.get("after", ()):
                # It has nothing to change back if the row was refused.
                self._write_step(step, ANY)

    def look_up(self, name: str) -> Any:
        """Return the value of a placeholder, which is a variable of Hurl if it is not known."""
        if name == "service.url":
            return template("url")
        if name.startswith("upper ") and "{{" in str(super().look_up(name[6:])):
            raise NotExpressible("it changes the case of a variable")
        return super().look_up(name)

    def _write_step(self, step: Mapping[str, Any], status: str = SUCCESS) -> None:
        if "act" in step:
            raise NotExpressible("it needs an operator")
        if "mail" in step:
            raise NotExpressible("it needs access to email")
        if step.get("times", 1) > _MAX_TIMES:
            raise NotExpressible("it repeats a step too often")
        for _ in range(step.get("times", 1)):
            request = self.request_of(step)
            expected = str(step.get("status", status))
            self.entries.append(Entry(request, expected, captures=self._captures(step)))

    def _captures(self, step: Mapping[str, Any]) -> dict[str, str]:
        operation = OPERATIONS.get(step.get("operation", ""))
        is_list = operation is not None and any(
            resolve(load_document(), each["schema"]).get("type") == "array"
            for status, response in operation.responses.items()
            if status < HTTPStatus.BAD_REQUEST
            for each in response.get("content", {}).values()
        )
        captures = {}
        for name, pointer in step.get("keep", {}).items():
            captures[name] = pointer_query(pointer, is_list=is_list)
            if pointer in _OBJECTS:
                raise NotExpressible("it compares a whole object with an earlier one")
            self._variables[name] = Captured(template(name))
        if remembered := step.get("remember", {}):
            actor = self._actor(step.get("as"))
            prefix = "" if actor.name == "base" else f"{actor.name}_"
            for name, pointer in remembered.items():
                captures[prefix + name] = pointer_query(pointer, is_list=is_list)
                actor.remember({name: template(prefix + name)})
        return captures

    def _status(self) -> str:
        is_house = self.deployment.hold is Level.HOUSE
        return str(self.row.status) if is_house else self.row.printed_status

    def _asserts(self, request: Request) -> list[str]:
        row = self.row
        asserts: list[str] = []
        if row.level is Level.PUBLISHED and request.method != "HEAD":
            shown = row.page.members(row.status) if row.page else None
            asserts += assert_members(shown or {})
            if expected := fill(row.published.get("body"), self.look_up):
                asserts += assert_body(expected, is_open=True)
        if self.deployment.hold is Level.HOUSE:
            asserts += [*self._header_asserts(), *self._body_asserts(request)]
        return asserts

    def _header_asserts(self) -> Iterator[str]:
        refusal, headers = self.row.expected_refusal, self.row.expect.get("headers", {})
        if refusal is not None:
            headers = {"Content-Type": refusal.content_type, **refusal.headers, **headers}
        expected = {name.lower(): fill(value, self.look_up) for name, value in headers.items()}
        for name in sorted({*COMPARED_HEADERS, *expected}):
            value = expected.get(name) or []
            yield from assert_header(name, value if isinstance(value, list) else [value])

    def _body_asserts(self, request: Request) -> list[str]:
        row = self.row
        if row.expected_refusal is not None:
            expected = row.expected_refusal.body
        elif "body" not in row.expect and "body" in row.published:
            return []
        else:
            expected = fill(row.expect.get("body"), self.look_up)
        if expected is None or request.method == "HEAD":
            return ["bytes count == 0"]
        return assert_body(expected)


def _file(row: Row, hold: Level, number: int) -> Iterator[str]:
    deployment = Deployment(template("url"), {}, hold=hold)
    entries: list[Entry] = []
    variables = {"nonce": f"{template('nonce')}{number:04x}"}
    users = _Users(deployment, number, entries)
    _Writer(row, deployment, users, _variables=variables, entries=entries).write()
    yield f"# {row.promise}"
    yield f"# Source: {' '.join(row.source.split())}"
    for entry in entries:
        yield ""
        yield from entry.lines()
