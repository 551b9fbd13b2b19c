"""The application in the test process, with faults in its database statements."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine, event, inspect

from accounts.flows.password.password_reset import mail_requested_resets
from oneself.app import create_app
from oneself.commands.demo_data import make_demo
from oneself.database import Database, Location, open_engine
from oneself.mail.factory import open_delivery
from oneself.runtime.jobs import run_alone
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.levels import Level
from oneself_conformance.masking import SecretMask
from oneself_conformance.recipe import Recipe
from oneself_conformance.targets import Deployment
from oneself_conformance.traffic import Traffic
from tests.support.databases import Storage, location_url, translate_sql
from tests.support.deadlines import patient

__all__ = ["Fault", "Faults", "InProcess", "open_application"]

#: Acts on the connection of the chosen statement or commit.
Fault = Callable[[Connection], None]

_PORT = 8080
_TIMEOUT = 20
_PREFIX = "ONESELF_"
_NOW = partial(datetime.now, UTC)


class InProcess:
    """An application over a database, with the demo users and without background jobs.

    It replaces a started service: both have the same `ask`. Mail jobs run after each request.
    """

    port = _PORT
    url = f"http://127.0.0.1:{_PORT}"
    behind_proxy = False
    hold = Level.HOUSE
    is_foreign = False
    recipe = Recipe()
    timeout = 30.0
    mask = SecretMask()
    traffic = Traffic(None)

    def __init__(
        self,
        folder: Path,
        location: Location,
        *,
        timeout: int = 5000,
        threads: int = 4,
        clock: Callable[[], datetime] = _NOW,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self.location = location
        self.environment = {
            "ONESELF_DATA_DIR": str(self.data),
            "ONESELF_DATABASE_URL": location_url(location),
            "ONESELF_SECRET_KEY": "x" * 43,
            "ONESELF_PUBLIC_URL": self.url,
            "ONESELF_VALIDATE_RESPONSES": "1",
            "ONESELF_PASSWORD_COST": "10",
            "ONESELF_DATABASE_THREADS": str(threads),
            **{
                f"ONESELF_THROTTLE_{budget}": "100000/1"
                for budget in ("ACCOUNT_SOURCE", "ACCOUNT", "SOURCE", "SIGNUP", "MAIL", "WRITE")
            },
            **{f"{_PREFIX}{name.upper()}": value for name, value in settings.items()},
        }
        values = {
            name.removeprefix(_PREFIX).lower(): value for name, value in self.environment.items()
        }
        parsed = Settings(**values)
        # The lowest cost, for speed.
        limits = replace(parsed.limits, password_cost=4)
        self.keys = open_keyring(parsed)
        self._database = Database(
            location, keys=self.keys, limits=limits, timeout=timeout, clock=clock
        )
        self.actors: Mapping[str, Any] = make_demo(self._database)
        self._app = create_app(parsed, database=self._database)
        self._delivery = open_delivery(parsed, self._database)
        self._engine = open_engine(location)
        self.faults = Faults(self._engine.dialect.name)

    def ask(self, request: Request) -> Answer:
        """Answer one request; then run the mail jobs, unless a fault is armed."""
        answer = asyncio.run(self._ask(request))
        if not self.faults.armed:
            run_alone(self._database, "mail", mail_requested_resets)
            self._delivery.deliver_pending()
        return answer

    ask_json = Deployment.ask_json

    async def _ask(self, request: Request) -> Answer:
        parts = urlsplit(request.target)
        headers = [
            (name.lower().encode(), value.encode("latin-1")) for name, value in request.headers
        ]
        if not any(name == b"host" for name, _ in headers):
            headers.insert(0, (b"host", f"127.0.0.1:{_PORT}".encode()))
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
        return Answer(start["status"], read, b"".join(part.get("body", b"") for part in bodies))

    async def live(self, until: Callable[[], bool]) -> None:
        """Start, run the jobs until a condition holds, and shut down; no requests are possible.

        Each job runs at the start, periodically, and once more at the end.
        """
        received: asyncio.Queue[Any] = asyncio.Queue()
        sent: asyncio.Queue[Any] = asyncio.Queue()
        lifespan = asyncio.create_task(self._app({"type": "lifespan"}, received.get, sent.put))
        await received.put({"type": "lifespan.startup"})
        assert (await sent.get())["type"] == "lifespan.startup.complete"
        deadline = time.monotonic() + patient(_TIMEOUT)
        while not until():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await received.put({"type": "lifespan.shutdown"})
        assert (await sent.get())["type"] == "lifespan.shutdown.complete"
        await lifespan

    def create_demo_user(self) -> Mapping[str, str]:
        """Create a user with every kind of credential, in a tenant with a client."""
        user: Mapping[str, str] = make_demo(self._database)["base"]
        return user

    def stored(self, *but: str) -> Mapping[str, list[str]]:
        """Return the rows of all tables except some, read over a separate connection."""
        with self._engine.connect() as connection:
            names = set(inspect(connection).get_table_names()) - {*but}
            return {
                name: sorted(
                    map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"').all())  # noqa: S608 # names from the schema
                )
                for name in sorted(names)
            }

    def execute(self, statement: str, *parameters: Any) -> None:
        """Change stored rows over a separate connection."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                translate_sql(connection.dialect.name, statement), parameters
            )

    def close(self) -> None:
        """Close the database."""
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
        """Make the n-th statement or commit of the application fail until the end of the block."""
        remaining = [number]

        def count_down(connection: Any, *_rest: Any) -> None:
            if connection.dialect.name != self.dialect:
                return
            remaining[0] -= 1
            if remaining[0] == 0:
                self.happened = True
                fault(connection)

        name = {"statement": "before_cursor_execute", "commit": "commit"}[place]
        self.armed, self.happened = True, False
        event.listen(Engine, name, count_down)
        try:
            yield
        finally:
            event.remove(Engine, name, count_down)
            self.armed = False


@contextmanager
def open_application(storage: Storage, folder: Path, **options: Any) -> Iterator[InProcess]:
    """Open an application over a database of its own."""
    location = storage.make(folder)
    application = InProcess(folder, location, **options)
    yield application
    application.close()
    storage.drop(location)
