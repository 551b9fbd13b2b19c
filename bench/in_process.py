"""The application in the process of a benchmark, asked without a server, a socket or a client."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from oneself.app import create_app
from oneself.database import Database
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings

__all__ = ["Answer", "Application", "Request"]

_HOST = ("host", "localhost:8080")
_BUDGETS = ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL")


class Request(NamedTuple):
    """What is asked, with the headers that matter."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def scope(self) -> dict[str, Any]:
        """The request as a server gives it to an application; each one is used once."""
        headers = [_HOST, *self.headers]
        if self.body:
            headers.append(("content-length", str(len(self.body))))
        return {
            "type": "http",
            "method": self.method,
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "extensions": {},
        }


class Answer(NamedTuple):
    """What was answered, and how long that took from the call of the application to its return."""

    status: int
    body: bytes
    nanoseconds: int


class Application:
    """The service as it is deployed, but for its jobs, which would be measured with it."""

    def __init__(self, folder: Path, *, database_url: str = "", **settings: Any) -> None:
        self.settings = Settings(
            data_dir=folder,
            database_url=database_url,
            secret_key="x" * 43,  # of a database that is thrown away
            password_cost=10,
            **{f"throttle_{budget.lower()}": "1000000/3600" for budget in _BUDGETS},
            **settings,
        )
        self.keys = open_keyring(self.settings)
        self.database = Database(
            self.settings.location, keys=self.keys, limits=self.settings.limits
        )
        self.call = create_app(self.settings, database=self.database)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._runner.close()
        self.database.close()

    def begin_anew(self) -> None:
        """Let go of what cannot be shared with another process, as after a fork."""
        self.database.close()
        self._runner = asyncio.Runner()

    def ask(self, requests: Iterable[Request]) -> list[Answer]:
        """The answers to some requests, one after the other on one event loop."""
        return self._runner.run(self._ask([(each.scope, each.body) for each in requests]))

    async def _ask(self, requests: list[tuple[dict[str, Any], bytes]]) -> list[Answer]:
        answers = []
        for scope, body in requests:
            sent: list[Any] = []

            async def receive(body: bytes = body) -> dict[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            began = time.perf_counter_ns()
            await self.call(scope, receive, send)
            took = time.perf_counter_ns() - began
            answers.append(Answer(sent[0]["status"], sent[1]["body"], took))
        return answers
