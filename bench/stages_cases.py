"""The requests of the benchmarks of stages, by their names in the tables."""

import logging.config
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from bench.in_process import Application, Request
from oneself.commands.demo_data import make_demo
from oneself.database import open_engine
from oneself.database.migrations import upgrade
from oneself.logging import configuration

__all__ = ["CASES", "Case", "application_with_users"]

_JSON = ("content-type", "application/json")


class Case(NamedTuple):
    """A request of the demo user, and its expected status."""

    kind: str | None
    method: str
    path: str
    body: bytes = b""
    status: HTTPStatus = HTTPStatus.OK

    def request(self, users: Mapping[str, Any]) -> Request:
        """Return the request with its credential."""
        headers = [_JSON] if self.body else []
        if self.kind == "api_key":
            headers.append(("x-api-key", users["base"]["api_key"]))
        elif self.kind is not None:
            headers.append(("authorization", f"Bearer {users['base'][self.kind]}"))
        return Request(self.method, self.path, tuple(headers), self.body)


CASES: Mapping[str, Case] = {
    "GET /healthz": Case(None, "GET", "/healthz"),
    "GET /v1/me, session": Case("session_token", "GET", "/v1/me"),
    "GET /v1/me, access token": Case("access_token", "GET", "/v1/me"),
    "GET /v1/me, API key": Case("api_key", "GET", "/v1/me"),
    "GET /v1/me, PAT": Case("pat", "GET", "/v1/me"),
    "GET /v1/me, JWT": Case("jwt", "GET", "/v1/me"),
    "PATCH /api/v1/me": Case("session_token", "PATCH", "/api/v1/me", b'{"locale": "de-DE"}'),
    "PATCH rejected with 400": Case(
        "session_token",
        "PATCH",
        "/resources/me/profile",
        b'{"nonsense": 1}',
        HTTPStatus.BAD_REQUEST,
    ),
}


@contextmanager
def application_with_users() -> Iterator[tuple[Application, Mapping[str, Request]]]:
    """Create the application on a new SQLite file; yield it and the requests."""
    with (
        tempfile.TemporaryDirectory(prefix="oneself-stages-") as folder,
        # Write log lines as in a deployment, but discard them.
        Path(os.devnull).open("w") as nowhere,
        redirect_stderr(nowhere),
    ):
        logging.config.dictConfig(configuration())
        path = Path(folder) / "oneself.sqlite3"
        path.touch()
        engine = open_engine(path)
        upgrade(engine)
        engine.dispose()
        with Application(Path(folder), database_threads=1) as application:
            users = make_demo(application.database)
            yield application, {name: case.request(users) for name, case in CASES.items()}
