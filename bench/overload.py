"""Prints what becomes of cheap reads beside ten times the logins that the service can do (OP-06).

First so many log in one after the other as there are threads that hash, which tells how many logins
a second the service can do. Then ten times as many are begun each second, whether or not the former
ones were answered. What finds the queue full has to be a 503 at once; what is in the queue is
answered in its turn, and how long that is is bounded by the queue. Beside it somebody reads their
own account, as they did before, on connections that stay open. Afterwards one login has to succeed
within five seconds.

The machine is shared by the service and by who asks it, so the columns are compared with each other
and with no other machine.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from tests.http.running import PASSWORD, Running, open_account, running

TIMES = 10
READS_A_SECOND = 50
#: The p99 of reads may be so many times what it is without load, or this long in milliseconds: on
#: two processors, hashes on both of them leave none free.
HIGHEST, HIGHEST_MS = 10.0, 100.0
RECOVERY = 5.0
TIMEOUT = 30.0
QUEUE = 32


@dataclass
class Seen:
    """The milliseconds of each answer, by its status; 0 is none."""

    taken: dict[int, list[float]] = field(default_factory=dict)

    def note(self, status: int, seconds: float) -> None:
        """Note one answer."""
        self.taken.setdefault(status, []).append(seconds * 1000)

    def counts(self) -> dict[int, int]:
        """How many answers there were of each status."""
        return dict(
            sorted(Counter({status: len(each) for status, each in self.taken.items()}).items())
        )

    def p(self, status: int, percent: float) -> float:
        """A percentile, as the value of the sample itself."""
        taken = sorted(self.taken.get(status, [0.0]))
        return taken[min(len(taken) - 1, int(len(taken) * percent / 100))]


async def ask(port: int, request: bytes) -> int:
    """The status of one request on a connection of its own; 0 for no answer."""
    writer = None
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            line = await reader.readline()
            return int(line.split()[1]) if line else 0
    except (OSError, TimeoutError):
        return 0
    finally:
        if writer is not None:
            writer.close()


async def timed(port: int, request: bytes, seen: Seen) -> None:
    """Ask once, and note how long it took."""
    began = time.perf_counter()
    status = await ask(port, request)
    seen.note(status, time.perf_counter() - began)


async def read(port: int, request: bytes, seen: Seen, over: asyncio.Event) -> None:
    """Ask at a steady rate, until it is over."""
    asked = []
    while not over.is_set():
        asked.append(asyncio.create_task(timed(port, request, seen)))
        await asyncio.sleep(1 / READS_A_SECOND)
    await asyncio.gather(*asked)


async def log_in_until(port: int, request: bytes, seen: Seen, ends: float) -> None:
    """Log in one time after the other."""
    while time.perf_counter() < ends:
        await timed(port, request, seen)


async def offer(port: int, request: bytes, seen: Seen, rate: float, seconds: float) -> None:
    """Begin so many logins each second, whatever becomes of them."""
    began = time.perf_counter()
    asked = []
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(int(passed * rate) - len(asked)):
            asked.append(asyncio.create_task(timed(port, request, seen)))  # noqa: PERF401 # one at a time
        await asyncio.sleep(0.005)
    await asyncio.gather(*asked)


def requests_of(service: Running) -> tuple[bytes, bytes]:
    """A login, and a read of one's own account."""
    alice = open_account(service, "alice@example.com")
    body = json.dumps({"email": alice.email, "password": PASSWORD}).encode()
    host = f"Host: localhost:{service.port}\r\nConnection: close\r\n"
    login = (
        f"POST /v1/auth/login HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    # By a token that no login takes the place of, as the oldest session gives way past fifty.
    reading = (
        f"GET /api/users/me/ HTTP/1.1\r\n{host}Authorization: Bearer {alice.access_token}\r\n\r\n"
    ).encode()
    return login, reading


async def measure(service: Running, threads: int, seconds: float) -> list[str]:
    """Measure without load, the capacity, and with ten times that; returns what is wrong."""
    login, reading = requests_of(service)
    port = service.port
    alone, beside, possible, overload = Seen(), Seen(), Seen(), Seen()
    over = asyncio.Event()
    reader = asyncio.create_task(read(port, reading, alone, over))
    await asyncio.sleep(seconds / 4)
    over.set()
    await reader
    ends = time.perf_counter() + seconds / 4
    await asyncio.gather(*(log_in_until(port, login, possible, ends) for _ in range(threads)))
    capacity = possible.counts().get(HTTPStatus.OK, 0) / (seconds / 4)
    over = asyncio.Event()
    reader = asyncio.create_task(read(port, reading, beside, over))
    began = time.perf_counter()
    await offer(port, login, overload, TIMES * capacity, seconds)
    lasted = time.perf_counter() - began
    over.set()
    await reader
    recovered = time.perf_counter()
    status = 0
    while status != HTTPStatus.OK and time.perf_counter() < recovered + TIMEOUT:
        status = await ask(port, login)
    recovery = time.perf_counter() - recovered
    done = overload.counts().get(HTTPStatus.OK, 0)
    print(
        f"capacity: {capacity:.1f} logins/s; offered: {TIMES * capacity:.0f}/s for {seconds:.0f} s"
    )
    print(f"logins: {overload.counts()}; {done / lasted:.1f}/s done")
    print(f"a 503 took {overload.p(503, 50):.1f} ms, p99 {overload.p(503, 99):.1f} ms", end="; ")
    print(f"a 200 took {overload.p(200, 50):.0f} ms, p99 {overload.p(200, 99):.0f} ms")
    for name, seen in (("alone", alone), ("beside", beside)):
        print(f"reads {name}: p50 {seen.p(200, 50):.1f} ms, p99 {seen.p(200, 99):.1f} ms", end=" ")
        print(seen.counts())
    print(f"the first login afterwards took {recovery:.1f} s")
    wrong = []
    if beside.counts().keys() != {200}:
        wrong.append(f"reads were answered with {beside.counts()}")
    if overload.counts().keys() - {200, 503}:
        wrong.append(f"logins were answered with {overload.counts()}")
    if beside.p(200, 99) > max(HIGHEST * alone.p(200, 99), HIGHEST_MS):
        wrong.append("reads became slow")
    if not overload.counts().get(503):
        wrong.append("nothing was refused: it was no overload")
    if overload.p(503, 50) > HIGHEST_MS:
        wrong.append("a 503 came late")
    longest = (QUEUE + threads) / max(capacity, 1) * 1000
    if overload.p(200, 99) > 3 * longest:
        wrong.append(f"who waited did so for longer than the queue is, {longest:.0f} ms")
    if recovery > RECOVERY:
        wrong.append("it did not recover")
    return wrong


def main() -> None:
    """Measure, and exit with 1 where something is wrong."""
    parser = argparse.ArgumentParser(description="Ask for ten times what the service can do.")
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    budgets = {"throttle_account": "1000000/1", "throttle_mail": "1000000/1"}
    with (
        tempfile.TemporaryDirectory() as folder,
        running(
            Path(folder), password_cost=12, password_threads=1, password_queue=QUEUE, **budgets
        ) as service,
    ):
        wrong = asyncio.run(measure(service, 1, asked.seconds))
    print(f"{'FAIL: ' + '; '.join(wrong) if wrong else 'PASS'}")
    sys.exit(1 if wrong else 0)


main()
