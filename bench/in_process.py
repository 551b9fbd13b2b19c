"""The application in the benchmark's process, without a server, a socket or a client."""

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
_LIMITS = ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL", "WRITE")


class Request(NamedTuple):
    """A request with the necessary headers."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def scope(self) -> dict[str, Any]:
        """A new ASGI scope for the request."""
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
    """A response, and the duration of the application call."""

    status: int
    body: bytes
    nanoseconds: int


class Application:
    """The service as deployed, except its background jobs, which would be measured too."""

    def __init__(self, folder: Path, *, database_url: str = "", **settings: Any) -> None:
        self.settings = Settings(
            data_dir=folder,
            database_url=database_url,
            secret_key="x" * 43,  # for a temporary database
            password_cost=10,
            **{f"throttle_{limit.lower()}": "1000000/3600" for limit in _LIMITS},
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

    def reset_after_fork(self) -> None:
        """Close what cannot be shared with a parent process."""
        self.database.close()
        self._runner = asyncio.Runner()

    def ask(self, requests: Iterable[Request]) -> list[Answer]:
        """Return the responses to requests, sent in sequence on one event loop."""
        return self._runner.run(self._ask([(request.scope, request.body) for request in requests]))

    async def _ask(self, requests: list[tuple[dict[str, Any], bytes]]) -> list[Answer]:
        answers = []
        for scope, body in requests:
            sent: list[Any] = []

            async def receive(body: bytes = body) -> dict[str, Any]:
                return {"type": "http.request", "body": body, "more_body": False}

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            start = time.perf_counter_ns()
            await self.call(scope, receive, send)
            elapsed = time.perf_counter_ns() - start
            answers.append(Answer(sent[0]["status"], sent[1]["body"], elapsed))
        return answers
