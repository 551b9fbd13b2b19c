"""Test for growth, lost writes and failures under long use, with figures by the minute (OP-07).

Users with one connection each read, change and log in, at a rate that leaves the machine mostly
idle. So growth follows the number of requests, and no queue hides it. Each user records its
acknowledged writes and reads them back, to count lost and duplicated ones. In every fifth minute, a
reader keeps the SQLite file open for the whole minute, like a backup: the log grows until then, and
must be short again afterwards (DB-07).

Memory is the sum of the resident memory (RSS in /proc) of the workers. Counting shared pages once
would show growth for an hour without new data: a page shared with the main process becomes a
worker's own when an object in it is touched. Memory counts as flat if the last third of the minutes
has at most a twentieth more than the third before, since caches fill at the beginning. The same
holds for open files and threads.

`--database-url` runs it on PostgreSQL; the columns of the SQLite file are then empty.
"""

import argparse
import json
import random
import secrets
import statistics
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from oneself.database import sqlite_driver
from tests.http.running import Running, running

USERS = 8
PASSWORD = "Violet tangent 47 harbour"  # noqa: S105 # for test users only
#: Seconds; slower responses count as failures.
TIMEOUT = 30.0
#: The allowed growth from one third of the minutes to the next.
GROWTH = 0.05
#: The longest log without a reader, in megabytes; the service empties it at 16.
LONGEST_LOG = 24.0
READER_EVERY = 5
MEGABYTE = 1024 * 1024


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


#: A grey square of 64 pixels.
PICTURE = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * 64) * 64))
    + _chunk(b"IEND", b"")
)


@dataclass
class Counts:
    """The counts of one minute."""

    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    acknowledged: int = 0
    unanswered: int = 0
    lost: int = 0
    duplicated: int = 0


class SoakUser:
    """A user who sends one request at a time, and records acknowledged writes."""

    def __init__(self, port: int, number: int) -> None:
        self.counts = Counts()
        self._random = random.Random(number)  # noqa: S311 # chooses requests, not secrets
        self._connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._email = f"soak{number}@example.com"
        signup = {
            "email": self._email,
            "password": PASSWORD,
            "display_name": "A Person",
            "tenant_name": "A Tenant",
        }
        self._token = self._ask("POST", "/v1/auth/signup", 201, signup)["data"]["session_token"]
        self._access = self._ask("GET", "/api/users/me/token/", 200)["access_token"]
        self._number = 0
        self._keys: dict[str, str] = {}
        self._acts = [
            *[self._read] * 9,
            *[self._change] * 4,
            *[self._look_up] * 2,
            self._log_in,
            self._make_key,
            self._revoke_key,
            self._fail,
            self._upload,
        ]

    def use(self) -> None:
        """Do one random thing."""
        with suppress(OSError, HTTPException):
            self._random.choice(self._acts)()

    def _ask(
        self,
        method: str,
        path: str,
        expected: int,
        body: Any = None,
        *,
        token: str | None = "",
        media_type: str = "application/json",
    ) -> Any:
        headers = {"Content-Type": media_type} if body is not None else {}
        if token is not None and path != "/v1/auth/signup":
            headers["Authorization"] = f"Bearer {token or self._token}"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        start = time.perf_counter()
        try:
            self._connection.request(method, path, content, headers)
            answer = self._connection.getresponse()
            read = answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self.counts.unanswered += 1
            raise
        self.counts.milliseconds.append((time.perf_counter() - start) * 1000)
        self.counts.statuses[answer.status] += 1
        if answer.status != expected:
            self.counts.unexpected[f"{method} {path} {answer.status}"] += 1
            raise OSError
        if method != "GET" and answer.status < 300:  # noqa: PLR2004 # a success
            self.counts.acknowledged += 1
        return json.loads(read) if read.startswith((b"{", b"[")) else None

    def _read(self) -> None:
        path = self._random.choice(
            ["/v1/me", "/api/v1/me", "/resources/me/profile", "/v1/me/events", "/v1/me/sessions"]
        )
        self._ask("GET", path, 200)
        self._ask("GET", "/api/users/me/", 200, token=self._access)

    def _change(self) -> None:
        self._number += 1
        self._ask("PUT", "/resources/me/settings", 200, {"n": self._number, "filling": "x" * 500})

    def _look_up(self) -> None:
        number = self._ask("GET", "/resources/me/settings", 200).get("n", 0)
        # A write without a response may have been done.
        if number != self._number and not self.counts.unanswered:
            self.counts.lost += 1
            self._number = number
        items = self._ask("GET", "/v1/api-keys", 200)["data"]["items"]
        names = Counter(item["name"] for item in items)
        self.counts.duplicated += sum(1 for times in names.values() if times > 1)
        self.counts.lost += len(self._keys.keys() - names.keys())
        self._keys = {item["name"]: item["api_key_id"] for item in items}

    def _log_in(self) -> None:
        login = {"email": self._email, "password": PASSWORD}
        opened = self._ask("POST", "/v1/auth/login", 200, login, token=None)
        other = opened["data"]["session_token"]
        self._ask("GET", "/v1/me", 200, token=other)
        self._ask("POST", "/v1/auth/logout", 200, token=other)
        self._ask("GET", "/v1/me", 401, token=other)

    def _make_key(self) -> None:
        if len(self._keys) < 20:  # noqa: PLR2004 # well below the limit of 50
            name = f"Key {random.getrandbits(60)}"
            body = {"name": name, "scopes": ["me/profile:read"]}
            created = self._ask("POST", "/v1/api-keys", 201, body)
            self._keys[name] = created["data"]["api_key_id"]

    def _revoke_key(self) -> None:
        if self._keys:
            name, key_id = self._keys.popitem()
            try:
                self._ask("DELETE", f"/v1/api-keys/{key_id}", 204)
            except OSError:
                self._keys[name] = key_id
                raise

    def _fail(self) -> None:
        problems = {"email": self._email, "password": "Not this one 9"}
        self._ask("POST", "/v1/auth/login", 401, problems, token=None)
        self._ask("GET", "/v1/me", 401, token="sess_" + "x" * 43)
        self._ask("GET", "/nowhere", 404)
        self._ask("PUT", "/resources/me/settings", 400, b"{", media_type="application/json")

    def _upload(self) -> None:
        self._ask("PUT", "/resources/me/profile/picture", 200, PICTURE, media_type="image/png")


@dataclass
class Sizes:
    """The resources of the workers and the files at one moment; sizes in megabytes."""

    memory: float
    files: int
    threads: int
    log: float
    database: float


def measure(main: int, database: Path) -> Sizes:
    """Add up the resources of the workers, and read the sizes of the files."""
    children = Path(f"/proc/{main}/task/{main}/children").read_text(encoding="ascii").split()
    memory = files = threads = 0
    for pid in children:
        process = Path("/proc") / pid
        with suppress(OSError):  # a process that has just ended
            status = (process / "status").read_text(encoding="ascii")
            memory += int(status.partition("\nVmRSS:")[2].split()[0])
            files += len(list((process / "fd").iterdir()))
            threads += len(list((process / "task").iterdir()))
    return Sizes(memory / 1024, files, threads, _megabytes(f"{database}-wal"), _megabytes(database))


def _megabytes(path: Path | str) -> float:
    return Path(path).stat().st_size / MEGABYTE if Path(path).exists() else 0.0


@contextmanager
def reading(database: Path, *, expected: bool) -> Iterator[None]:
    """Keep a reader on the SQLite file open until the end of the block."""
    if not expected or not database.exists():
        yield
        return
    connection = sqlite_driver().connect(database, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM user").fetchall()
    try:
        yield
    finally:
        connection.close()


def use_until(over: threading.Event, user: SoakUser, seconds: float) -> None:
    """Use the service at a fixed rate, without catching up after slow requests."""
    following = time.monotonic() + random.uniform(0, seconds)  # noqa: S311 # spreads the starts
    while not over.is_set():
        over.wait(max(0.0, following - time.monotonic()))
        following = max(following, time.monotonic() - seconds) + seconds
        user.use()


def take_counts(users: list[SoakUser]) -> Counts:
    """Return the counts of all users since the last call."""
    total = Counts()
    for user in users:
        counts, user.counts = user.counts, Counts()
        total.statuses += counts.statuses
        total.unexpected += counts.unexpected
        total.milliseconds += counts.milliseconds
        total.acknowledged += counts.acknowledged
        total.unanswered += counts.unanswered
        total.lost += counts.lost
        total.duplicated += counts.duplicated
    return total


HEAD = (
    "| minute | requests | acknowledged | lost | duplicated | unanswered | 5xx | p50 ms | p99 ms "
    "| memory MB | files | threads | log MB | file MB |"
)


def row(minute: int, counts: Counts, sizes: Sizes) -> str:
    """Return one minute as a row of the table."""
    taken = sorted(counts.milliseconds) or [0.0]
    failed = sum(times for status, times in counts.statuses.items() if status >= 500)  # noqa: PLR2004 # a 5xx
    cells = (
        minute,
        len(counts.milliseconds),
        counts.acknowledged,
        counts.lost,
        counts.duplicated,
        counts.unanswered,
        failed,
        f"{taken[len(taken) // 2]:.1f}",
        f"{taken[len(taken) * 99 // 100]:.1f}",
        f"{sizes.memory:.0f}",
        sizes.files,
        sizes.threads,
        f"{sizes.log:.1f}",
        f"{sizes.database:.1f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def find_problems(minutes: list[Sizes], logs: list[float], total: Counts) -> list[str]:
    """Return the problems found."""
    problems = []
    failed = sum(times for status, times in total.statuses.items() if status >= 500)  # noqa: PLR2004 # as above
    for name, number in (
        ("lost", total.lost),
        ("duplicated", total.duplicated),
        ("unanswered", total.unanswered),
        ("5xx", failed),
        ("unexpected statuses", sum(total.unexpected.values())),
    ):
        if number:
            problems.append(f"{name}: {number}")
    third = len(minutes) // 3
    if third:
        middle, last = minutes[-2 * third : -third], minutes[-third:]
        for name in ("memory", "files", "threads"):
            before, after = (
                statistics.median(getattr(each, name) for each in part) for part in (middle, last)
            )
            print(f"{name}: {before:.1f} in the second third, {after:.1f} in the last")
            if after > before * (1 + GROWTH):
                problems.append(f"{name} grows")
    if logs and max(logs) > LONGEST_LOG:
        problems.append(f"the log has {max(logs):.0f} MB without a reader")
    return problems


def soak(service: Running, options: argparse.Namespace) -> list[str]:
    """Use the service for some minutes; return the problems found."""
    database = service.folder / "data" / "oneself.sqlite3"
    users = [SoakUser(service.port, number) for number in range(USERS)]
    over = threading.Event()
    threads = [
        # An act is two requests on average.
        threading.Thread(target=use_until, args=(over, user, 2 * USERS / options.rate))
        for user in users
    ]
    for thread in threads:
        thread.start()
    total, minutes, logs = Counts(), [], []
    print(HEAD)
    print("|---" * HEAD.count(" |") + "|", flush=True)
    take_counts(users)
    start = time.monotonic()
    for minute in range(1, options.minutes + 1):
        reader = minute % READER_EVERY == 0
        with reading(database, expected=reader):
            time.sleep(max(0.0, start + minute * 60 - time.monotonic()))
        counts = take_counts(users)
        sizes = measure(service.process.pid, database)
        minutes.append(sizes)
        # The log is emptied seconds after a reader has closed, before the next minute ends.
        if not reader:
            logs.append(sizes.log)
        print(row(minute, counts, sizes), flush=True)
        for name in ("acknowledged", "unanswered", "lost", "duplicated"):
            setattr(total, name, getattr(total, name) + getattr(counts, name))
        total.statuses += counts.statuses
        total.unexpected += counts.unexpected
    over.set()
    for thread in threads:
        thread.join(TIMEOUT)
    print(f"\nstatuses: {dict(sorted(total.statuses.items()))}; acknowledged: {total.acknowledged}")
    for what, times in total.unexpected.most_common(10):
        print(f"unexpected status: {what}, {times} times")
    return find_problems(minutes, logs, total)


def main() -> None:
    """Run the test, and exit with 1 if there are problems."""
    parser = argparse.ArgumentParser(description="Use the service for a long time.")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=50, help="requests per second, approximately")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--database-url", help="an empty PostgreSQL database instead of a SQLite file"
    )
    options = parser.parse_args()
    settings = {"throttle_account": "1000000/3600", "throttle_mail": "1000000/3600"}
    if options.database_url:
        settings |= {"database_url": options.database_url, "secret_key": secrets.token_urlsafe(32)}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), workers=options.workers, password_cost=10, **settings) as service,
    ):
        problems = soak(service, options)
    print(f"{'FAIL: ' + '; '.join(problems) if problems else 'PASS'}")
    sys.exit(1 if problems else 0)


main()
