"""Other people's ids, at every operation that takes one: as if there were no such thing."""

import json
import re
import secrets
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from accounts.principal import CredentialKind
from oneself.document import load_document, resolve
from oneself.forms import FORM
from tests.support.asking import Answer, Request
from tests.support.operations import OPERATIONS
from tests.support.people import People, Person, people_of
from tests.support.service import Service, started
from tests.support.writing import credential_header, written_target

#: A name that somebody has given to a row, so that others can say which they mean.
NAME_OF_ROW = re.compile(r"(?:^|_)ids?$|[a-z]Ids?$|^cursor$")
#: What any request may write: that it was tried, and that a credential was used.
NOT_COMPARED = ("attempt_budget", "security_event", "event_link")
SECONDS_TO_DELIVER = 10

EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


class Named(NamedTuple):
    """A place in a request where a row is named."""

    operation_id: str
    place: str
    name: str

    def __str__(self) -> str:
        return f"{self.operation_id}-{self.name}"


def _named_in_document() -> Iterator[Named]:
    """Each such place: whatever is in a path or a header, and what is called an id elsewhere."""
    for operation_id, operation in OPERATIONS.items():
        for each in operation.parameters:
            if each["in"] in {"path", "header"} or NAME_OF_ROW.search(each["name"]):
                yield Named(operation_id, each["in"], each["name"])
        for body in operation.bodies.values():
            for name in resolve(load_document(), body).get("properties", {}):
                if NAME_OF_ROW.search(name):
                    yield Named(operation_id, "body", name)


@dataclass
class Neighbourhood:
    """Alice who asks, Dora of her tenant, Bruno of another, and what each of them has."""

    service: Service
    people: People
    _jwt: str = ""
    _made: dict[tuple[str, str], str] = field(default_factory=dict)

    def find(self, who: str) -> Person:
        return self.people.find({"alice": "base", "dora": "sso_user", "bruno": "other_tenant"}[who])

    def ask(
        self,
        named: Named,
        value: str,
        kind: str,
        *,
        body: Mapping[str, Any] | None = None,
        client: str = "alice",
    ) -> Answer:
        """Ask as Alice with the value in its place; `body` is what else the body has."""
        operation = OPERATIONS[named.operation_id]
        wanted: dict[str, Any] = {named.place: {named.name: value}}
        headers = [*wanted.get("header", {}).items()]
        if kind != "none":
            headers.append(self._credential(kind, client))
        if kind == "cookie":
            headers.append(("Sec-Fetch-Site", "same-origin"))
        sent = b""
        if operation.bodies:
            content = {**(body or {}), **wanted.get("body", {})}
            media = next(iter(operation.bodies))
            sent = (urlencode(content) if media == FORM else json.dumps(content)).encode()
            headers.append(("Content-Type", media))
        target = written_target(operation.path, None, wanted)
        method = operation.method.upper()
        return self.service.ask(Request(method, target, tuple(headers), sent))

    def _credential(self, kind: str, client: str) -> tuple[str, str]:
        alice = self.find("alice")
        if kind == "client":
            owner = self.find(client)
            return credential_header("basic", f"{owner['client_id']}:{owner['client_secret']}")
        if kind == "jwt":
            return credential_header("jwt", self.jwt())
        name = {"session": "session_token", "cookie": "session_token"}.get(kind, kind)
        return credential_header(kind, alice[name])

    def jwt(self) -> str:
        """Alice's session as a JWT of all scopes."""
        if not self._jwt:
            alice = self.find("alice")
            form = {**EXCHANGE, "subject_token": alice["session_token"]}
            headers = (self._credential("client", "alice"), ("Content-Type", FORM))
            asked = Request("POST", "/oauth/token", headers, urlencode(form).encode())
            self._jwt = self.service.ask(asked).json()["access_token"]
        return self._jwt

    def row(self, kind: str, whose: str) -> str:
        """The id of what somebody has, or had; made when it is asked for."""
        if (kind, whose) not in self._made:
            self._made[kind, whose] = ROWS[kind, whose](self)
        return self._made[kind, whose]

    def stored(self) -> Mapping[str, Any]:
        """All rows of all tables, after the last mail has gone."""
        deadline = time.monotonic() + SECONDS_TO_DELIVER
        path = self.service.data / "oneself.sqlite3"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            waiting = "SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL"
            while connection.execute(waiting).fetchone()[0]:
                assert time.monotonic() < deadline, "mail is not delivered"
                time.sleep(0.05)
            tables = [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
                if name not in NOT_COMPARED
            ]
            return {name: sorted(_rows(connection, name)) for name in tables}


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 # a name from the schema
        columns = zip(row.keys(), row, strict=True)
        yield repr([(name, value) for name, value in columns if name != "last_used_at"])
