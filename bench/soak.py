"""Prints by the minute whether the service grows, loses or fails while it is used for long (OP-07).

People who each have a connection read, change and log in, at a rate that leaves the machine idle
for the most part; what grows does so with the number of requests, and a queue does not hide it.
Each remembers what it was told is done and looks it up again, so that a lost or a doubled write is
counted. Every fifth minute somebody reads in the SQLite file for the whole minute, as a backup
would: its log grows until the end of that minute, and must be short again afterwards (DB-07).

Memory is what the workers have resident (RSS of /proc), added up. Counting what they share once
would let it grow for an hour without anything that is new: a page that was shared with the main
process becomes a worker's own when somebody looks at an object in it. It is flat if the last third
of the minutes has no more of it than the third before, but for a twentieth: caches fill in the
beginning. The same of open files and of threads.

`--database-url` has it on a PostgreSQL; the columns of the SQLite file are empty then.
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

PEOPLE = 8
PASSWORD = "Violet tangent 47 harbour"  # noqa: S105 # of nobody
#: Seconds; longer than this is no answer but a failure.
TIMEOUT = 30.0
#: What may be between two thirds of the minutes, as a share.
GROWTH = 0.05
#: The log may be as long as that when nobody reads, in megabytes: it is emptied at 16.
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
    """What one minute came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    acknowledged: int = 0
    unanswered: int = 0
    lost: int = 0
    doubled: int = 0


class Person:
    """Somebody who uses the service, one request at a time, and remembers what was done."""

    def __init__(self, port: int, number: int) -> None:
        self.counts = Counts()
        self._random = random.Random(number)  # noqa: S311 # what is asked for next, and no secret
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
        """Do one thing, chosen by chance."""
        with suppress(OSError, HTTPException):
            self._random.choice(self._acts)()

    def _ask(
        self,
        method: str,
        path: str,
        wanted: int,
        body: Any = None,
        *,
        token: str | None = "",
        media_type: str = "application/json",
    ) -> Any:
        headers = {"Content-Type": media_type} if body is not None else {}
        if token is not None and path != "/v1/auth/signup":
            headers["Authorization"] = f"Bearer {token or self._token}"
        content = body if isinstance(body, bytes) or body is None else json.dumps(body)
        began = time.perf_counter()
        try:
            self._connection.request(method, path, content, headers)
            answer = self._connection.getresponse()
            read = answer.read()
        except (OSError, HTTPException):
            self._connection.close()
            self.counts.unanswered += 1
            raise
        self.counts.milliseconds.append((time.perf_counter() - began) * 1000)
        self.counts.statuses[answer.status] += 1
        if answer.status != wanted:
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
        found = self._ask("GET", "/resources/me/settings", 200).get("n", 0)
        # One that was not answered may be there.
        if found != self._number and not self.counts.unanswered:
            self.counts.lost += 1
            self._number = found
        items = self._ask("GET", "/v1/api-keys", 200)["data"]["items"]
        there = Counter(item["name"] for item in items)
        self.counts.doubled += sum(1 for times in there.values() if times > 1)
        self.counts.lost += len(self._keys.keys() - there.keys())
        self._keys = {item["name"]: item["api_key_id"] for item in items}

    def _log_in(self) -> None:
        entered = {"email": self._email, "password": PASSWORD}
        opened = self._ask("POST", "/v1/auth/login", 200, entered, token=None)
        other = opened["data"]["session_token"]
        self._ask("GET", "/v1/me", 200, token=other)
        self._ask("POST", "/v1/auth/logout", 200, token=other)
        self._ask("GET", "/v1/me", 401, token=other)

    def _make_key(self) -> None:
        if len(self._keys) < 20:  # noqa: PLR2004 # well below the limit of 50
            name = f"Key {random.getrandbits(60)}"
            wanted = {"name": name, "scopes": ["me/profile:read"]}
            made = self._ask("POST", "/v1/api-keys", 201, wanted)
            self._keys[name] = made["data"]["api_key_id"]

    def _revoke_key(self) -> None:
        if self._keys:
            name, key_id = self._keys.popitem()
            try:
                self._ask("DELETE", f"/v1/api-keys/{key_id}", 204)
            except OSError:
                self._keys[name] = key_id
                raise

    def _fail(self) -> None:
        wrong = {"email": self._email, "password": "Not this one 9"}
        self._ask("POST", "/v1/auth/login", 401, wrong, token=None)
        self._ask("GET", "/v1/me", 401, token="sess_" + "x" * 43)
        self._ask("GET", "/nowhere", 404)
        self._ask("PUT", "/resources/me/settings", 400, b"{", media_type="application/json")

    def _upload(self) -> None:
        self._ask("PUT", "/resources/me/profile/picture", 200, PICTURE, media_type="image/png")


@dataclass
class Sizes:
    """What the processes have, at one moment; in megabytes."""

    memory: float
    files: int
    threads: int
    log: float
    database: float


def measure(main: int, database: Path) -> Sizes:
    """Add up the workers, and look at the files."""
    children = Path(f"/proc/{main}/task/{main}/children").read_text(encoding="ascii").split()
    memory = files = threads = 0
    for pid in children:
        process = Path("/proc") / pid
        with suppress(OSError):  # one that has just ended
            status = (process / "status").read_text(encoding="ascii")
            memory += int(status.partition("\nVmRSS:")[2].split()[0])
            files += len(list((process / "fd").iterdir()))
            threads += len(list((process / "task").iterdir()))
    return Sizes(memory / 1024, files, threads, _megabytes(f"{database}-wal"), _megabytes(database))


def _megabytes(path: Path | str) -> float:
    return Path(path).stat().st_size / MEGABYTE if Path(path).exists() else 0.0


@contextmanager
def reading(database: Path, *, wanted: bool) -> Iterator[None]:
    """Somebody who reads in the file until the end."""
    if not wanted or not database.exists():
        yield
        return
    connection = sqlite_driver().connect(database, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM user").fetchall()
    try:
        yield
    finally:
        connection.close()


def use_until(over: threading.Event, user: Person, seconds: float) -> None:
    """Use the service at a rate, and not more often to make up for what was slow."""
    following = time.monotonic() + random.uniform(0, seconds)  # noqa: S311 # when to begin
    while not over.is_set():
        over.wait(max(0.0, following - time.monotonic()))
        following = max(following, time.monotonic() - seconds) + seconds
        user.use()


def take_counts(people: list[Person]) -> Counts:
    """What all of them counted since the last time."""
    total = Counts()
    for user in people:
        counts, user.counts = user.counts, Counts()
        total.statuses += counts.statuses
        total.unexpected += counts.unexpected
        total.milliseconds += counts.milliseconds
        total.acknowledged += counts.acknowledged
        total.unanswered += counts.unanswered
        total.lost += counts.lost
        total.doubled += counts.doubled
    return total


HEAD = (
    "| minute | requests | acknowledged | lost | doubled | unanswered | 5xx | p50 ms | p99 ms "
    "| memory MB | files | threads | log MB | file MB |"
)


def row(minute: int, counts: Counts, sizes: Sizes) -> str:
    """One minute."""
    taken = sorted(counts.milliseconds) or [0.0]
    failed = sum(times for status, times in counts.statuses.items() if status >= 500)  # noqa: PLR2004 # a 5xx
    cells = (
        minute,
        len(counts.milliseconds),
        counts.acknowledged,
        counts.lost,
        counts.doubled,
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


def judge(minutes: list[Sizes], logs: list[float], total: Counts) -> list[str]:
    """What is wrong."""
    wrong = []
    failed = sum(times for status, times in total.statuses.items() if status >= 500)  # noqa: PLR2004 # as above
    for name, number in (
        ("lost", total.lost),
        ("doubled", total.doubled),
        ("unanswered", total.unanswered),
        ("5xx", failed),
        ("not what was wanted", sum(total.unexpected.values())),
    ):
        if number:
            wrong.append(f"{name}: {number}")
    third = len(minutes) // 3
    if third:
        middle, last = minutes[-2 * third : -third], minutes[-third:]
        for name in ("memory", "files", "threads"):
            before, after = (
                statistics.median(getattr(each, name) for each in part) for part in (middle, last)
            )
            print(f"{name}: {before:.1f} in the second third, {after:.1f} in the last")
            if after > before * (1 + GROWTH):
                wrong.append(f"{name} grows")
    if logs and max(logs) > LONGEST_LOG:
        wrong.append(f"the log is {max(logs):.0f} MB although nobody reads")
    return wrong


def soak(service: Running, asked: argparse.Namespace) -> list[str]:
    """Use the service for so many minutes; returns what is wrong."""
    database = service.folder / "data" / "oneself.sqlite3"
    people = [Person(service.port, number) for number in range(PEOPLE)]
    over = threading.Event()
    threads = [
        # An act is two requests, one with another.
        threading.Thread(target=use_until, args=(over, user, 2 * PEOPLE / asked.rate))
        for user in people
    ]
    for thread in threads:
        thread.start()
    total, minutes, logs = Counts(), [], []
    print(HEAD)
    print("|---" * HEAD.count(" |") + "|", flush=True)
    take_counts(people)
    began = time.monotonic()
    for minute in range(1, asked.minutes + 1):
        reader = minute % READER_EVERY == 0
        with reading(database, wanted=reader):
            time.sleep(max(0.0, began + minute * 60 - time.monotonic()))
        counts = take_counts(people)
        sizes = measure(service.process.pid, database)
        minutes.append(sizes)
        # What a reader has kept is emptied within seconds, and so before the next minute is over.
        if not reader:
            logs.append(sizes.log)
        print(row(minute, counts, sizes), flush=True)
        for name in ("acknowledged", "unanswered", "lost", "doubled"):
            setattr(total, name, getattr(total, name) + getattr(counts, name))
        total.statuses += counts.statuses
        total.unexpected += counts.unexpected
    over.set()
    for thread in threads:
        thread.join(TIMEOUT)
    print(f"\nstatuses: {dict(sorted(total.statuses.items()))}; acknowledged: {total.acknowledged}")
    for what, times in total.unexpected.most_common(10):
        print(f"not what was wanted: {what}, {times} times")
    return judge(minutes, logs, total)


def main() -> None:
    """Soak, and exit with 1 where something is wrong."""
    parser = argparse.ArgumentParser(description="Use the service for long.")
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, default=50, help="requests in a second, about")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--database-url", help="a PostgreSQL that is empty; else a SQLite file")
    asked = parser.parse_args()
    settings = {"throttle_account": "1000000/3600", "throttle_mail": "1000000/3600"}
    if asked.database_url:
        settings |= {"database_url": asked.database_url, "secret_key": secrets.token_urlsafe(32)}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), workers=asked.workers, password_cost=10, **settings) as service,
    ):
        wrong = soak(service, asked)
    print(f"{'FAIL: ' + '; '.join(wrong) if wrong else 'PASS'}")
    sys.exit(1 if wrong else 0)


main()
