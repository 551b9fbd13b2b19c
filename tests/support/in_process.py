"""The application in the tests' own process, where what it asks the database can be made fail."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine, event, inspect

from accounts.flows.password.password_reset import mail_requested_resets
from oneself.app import create_app
from oneself.commands.demo_data import make_demo
from oneself.conformance.http_client import Answer, Request
from oneself.database import Database, Location, open_engine
from oneself.mail.factory import open_delivery
from oneself.runtime.jobs import run_alone
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.support.databases import url_of

__all__ = ["Fault", "Faults", "InProcess"]

#: What happens to a connection at the moment that was chosen.
Fault = Callable[[Connection], None]

_PORT = 8080
_SECONDS_TO_BE_DONE = 20
_PREFIX = "ONESELF_"


class InProcess:
    """An application over a database, with the people of the demo and without jobs.

    It stands in for a started service: what asks that one can ask this one. What the jobs would do
    with mail is done after each request.
    """

    port = _PORT
    url = f"http://127.0.0.1:{_PORT}"

    def __init__(
        self, folder: Path, location: Location, *, timeout: int = 5000, threads: int = 4
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self.location = location
        self.environment = {
            "ONESELF_DATA_DIR": str(self.data),
            "ONESELF_DATABASE_URL": url_of(location),
            "ONESELF_SECRET_KEY": "x" * 43,
            "ONESELF_PUBLIC_URL": self.url,
            "ONESELF_VALIDATE_RESPONSES": "1",
            "ONESELF_PASSWORD_COST": "10",
            "ONESELF_DATABASE_THREADS": str(threads),
            **{
                f"ONESELF_THROTTLE_{budget}": "100000/1"
                for budget in ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL")
            },
        }
        named = {
            name.removeprefix(_PREFIX).lower(): value for name, value in self.environment.items()
        }
        settings = Settings(**named)
        # A hash costs as little as it can: here nobody has to wait for one.
        limits = replace(settings.limits, password_cost=4)
        self._database = Database(
            location, keys=open_keyring(settings), limits=limits, timeout=timeout
        )
        self.people: Mapping[str, Any] = make_demo(self._database)
        self._app = create_app(settings, database=self._database)
        self._delivery = open_delivery(settings, self._database)
        self._engine = open_engine(location)
        self.faults = Faults(self._engine.dialect.name)

    def ask(self, request: Request) -> Answer:
        """Answer one request; then, unless it is to fail, do what jobs would do with mail."""
        answer = asyncio.run(self._ask(request))
        if not self.faults.armed:
            run_alone(self._database, "mail", mail_requested_resets)
            self._delivery.deliver_pending()
        return answer

    async def _ask(self, request: Request) -> Answer:
        parts = urlsplit(request.target)
        headers = [(b"host", f"127.0.0.1:{_PORT}".encode())]
        headers += [
            (name.lower().encode(), value.encode("latin-1")) for name, value in request.headers
        ]
        if request.body or request.method in {"POST", "PUT", "PATCH"}:
            headers.append((b"content-length", str(len(request.body)).encode()))
        scope = {
            "type": "http",
            "method": request.method,
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "extensions": {},
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start, *bodies = sent
        read = tuple((name.decode(), value.decode("latin-1")) for name, value in start["headers"])
        return Answer(start["status"], read, b"".join(each.get("body", b"") for each in bodies))

    async def live(self, until: Callable[[], bool]) -> None:
        """Start, let the jobs be done until that is enough, and stop; nothing can be asked then.

        Each job is done at the start, now and then, and once more at the end.
        """
        said: asyncio.Queue[Any] = asyncio.Queue()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        living = asyncio.create_task(self._app({"type": "lifespan"}, said.get, heard.put))
        await said.put({"type": "lifespan.startup"})
        assert (await heard.get())["type"] == "lifespan.startup.complete"
        deadline = time.monotonic() + _SECONDS_TO_BE_DONE
        while not until():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await said.put({"type": "lifespan.shutdown"})
        assert (await heard.get())["type"] == "lifespan.shutdown.complete"
        await living

    def somebody(self) -> Mapping[str, str]:
        """Somebody new, with every kind of credential, in a tenant with a client."""
        person: Mapping[str, str] = make_demo(self._database)["base"]
        return person

    def stored(self, *but: str) -> Mapping[str, list[str]]:
        """All rows of all tables but some, read over a connection of nobody's."""
        with self._engine.connect() as connection:
            names = set(inspect(connection).get_table_names()) - {*but}
            return {
                name: sorted(
                    map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"').all())  # noqa: S608 # a name of the schema's
                )
                for name in sorted(names)
            }

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()
        self._engine.dispose()


class Faults:
    """Makes one statement or one commit of a request fail."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.armed = False
        self.happened = False

    @contextmanager
    def at(self, place: str, number: int, fault: Fault) -> Iterator[None]:
        """Let the n-th statement or commit fail, of whatever the application does meanwhile."""
        left = [number]

        def reach(connection: Any, *_rest: Any) -> None:
            if connection.dialect.name != self.dialect:
                return
            left[0] -= 1
            if left[0] == 0:
                self.happened = True
                fault(connection)

        name = {"statement": "before_cursor_execute", "commit": "commit"}[place]
        self.armed, self.happened = True, False
        event.listen(Engine, name, reach)
        try:
            yield
        finally:
            event.remove(Engine, name, reach)
            self.armed = False
