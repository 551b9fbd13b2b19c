"""Measure the deletion of a million ended sessions, and how long writes wait meanwhile.

The database is filled past the acts. Then the service starts, whose first job deletes what is over.
A user changes their settings all the time, over one connection after the other. It ends when no
ended session is left.
"""

import argparse
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import text

from oneself.database import Location, open_engine
from tests.http.running import Account, Running, open_account, running
from tests.support.bulk_insert import writing
from tests.support.databases import PostgresqlStorage, SqliteStorage, Storage, location_url
from tests.support.postgresql import databases

#: No write may wait for longer, in milliseconds.
MAX_WRITE_MS = 500.0
#: All must be deleted within this time, in seconds.
MAX_SECONDS = 900.0
PAUSE, TIMEOUT = 0.02, 60.0
KEY = "k" * 43


def ended_sessions(users: list[str], count: int) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of sessions that were revoked between 31 and 90 days ago."""
    now = datetime.now(UTC)
    for number in range(count):
        revoked_at = now - timedelta(days=31, seconds=number * 59 * 86_400 / count)
        yield {
            "id": f"{number:016x}",
            "user_id": users[number % len(users)],
            "token_digest": secrets.token_bytes(32),
            "key_id": "00000000",
            "user_agent": "Mozilla/5.0",
            "created_at": revoked_at - timedelta(days=3),
            "expires_at": revoked_at + timedelta(days=27),
            "last_used_at": revoked_at,
            "source_digest": secrets.token_bytes(32),
            "revoked_at": revoked_at,
        }


def fill(location: Location, count: int) -> None:
    """Add ended sessions of the users in the database."""
    engine = open_engine(location)
    with engine.connect() as connection:
        users = list(connection.execute(text('SELECT id FROM "user"')).scalars())
    engine.dispose()
    with writing(location) as write:
        rows = ended_sessions(users, count)
        while some := list(islice(rows, 50_000)):
            write("login_session", some)


def count_ended(location: Location) -> int:
    """Return the number of revoked sessions."""
    engine = open_engine(location)
    with engine.connect() as connection:
        statement = text("SELECT count(*) FROM login_session WHERE revoked_at IS NOT NULL")
        found: int = connection.execute(statement).scalar_one()
    engine.dispose()
    return found


def write_until_deleted(service: Running, user: Account, location: Location) -> list[float]:
    """Change settings until no ended session is left; return the milliseconds of each change."""
    taken: list[float] = []
    counted = began = time.monotonic()
    while True:
        start = time.perf_counter()
        answer = service.ask(
            "PATCH",
            "/resources/me/settings",
            headers=user.bearer,
            body={"n": len(taken)},
            timeout=TIMEOUT,
        )
        taken.append((time.perf_counter() - start) * 1000)
        if answer.status != 200:  # noqa: PLR2004 # a success
            sys.exit(f"a write is answered with {answer.status}: {answer.body!r}")
        if time.monotonic() - counted > 1:
            if count_ended(location) == 0:
                return taken
            counted = time.monotonic()
        if counted - began > 10 * MAX_SECONDS:
            sys.exit("the sessions are not deleted")
        time.sleep(PAUSE)


def measure(storage: Storage, folder: Path, count: int) -> bool:
    """Fill a database, measure, and print; return whether all limits are kept."""
    location = storage.make(folder)
    settings = {"database_url": location_url(location), "secret_key": KEY, "password_cost": 10}
    with running(folder, **settings) as service:
        user = open_account(service, "alice@example.com")
    fill(location, count)
    began = time.monotonic()
    with running(folder, **settings) as service:
        taken = write_until_deleted(service, user, location)
        seconds = time.monotonic() - began
    longest, p99 = max(taken), statistics.quantiles(taken, n=100)[-1]
    print(f"{count:,} sessions in {seconds:.0f} s, {count / seconds:,.0f} in a second")
    print(f"{len(taken):,} writes meanwhile: median {statistics.median(taken):.1f} ms,", end=" ")
    print(f"p99 {p99:.0f} ms, longest {longest:.0f} ms")
    return longest <= MAX_WRITE_MS and seconds <= MAX_SECONDS * max(1, count / 1_000_000)


def main() -> None:
    """Measure; exit with 1 if a write waits too long, or the deletion takes too long."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oneself-retention-")))
        storage: Storage = SqliteStorage(folder)
        if options.database == "postgresql":
            storage = PostgresqlStorage(stack.enter_context(databases()))
        place = folder / "service"
        place.mkdir()
        passed = measure(storage, place, options.sessions)
    print("PASS" if passed else "FAIL")
    sys.exit(0 if passed else 1)


main()
