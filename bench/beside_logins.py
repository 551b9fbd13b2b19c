"""Prints how long GET /v1/me takes beside 60 logins at once, and beside none (LG-13).

The p99 is that of whole requests as a client sees them: one at a time, in turn over four
connections that stay open, with a pause of 0 to 4 ms before each, so that the service is idle but
for them. 60 others log in over and over, with the right password and bcrypt at its cost of 12, from
another process, whose threads do nothing but wait.

What it measures is the service together with the machine. All of it shares the same processors: on
two of them, two hashes at once leave none free, and a client that waits for a processor itself
counts that as the service's time. So in turn with each request the same client sends a line to
another process that does nothing but send it back: the row "echo" is the part that no change of the
service could take away. A ratio far above the echo's is the service's own doing. The queue of
password operations is long enough that none of the 60 is refused.
"""

import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection
from multiprocessing import Event, Process, SimpleQueue
from multiprocessing.synchronize import Event as EventType
from typing import Any, NamedTuple

from service import served

REQUESTS = 2000
CONNECTIONS = 4
LOGINS = 60
COST = 12
LONGEST_PAUSE = 0.004
#: A p99 this many times the unloaded one passes.
HIGHEST = 5.0
#: Seconds; longer than this is no answer but a failure.
TIMEOUT = 120.0


class Times(NamedTuple):
    """The milliseconds of each request, and of each line that was sent back."""

    requests: list[float]
    echoes: list[float]


def echo(connection: socket.socket) -> None:
    """Send back whatever comes."""
    while line := connection.recv(64):
        connection.sendall(line)


def log_in_until(over: EventType, port: int, user: Mapping[str, str], done: Any) -> None:
    """Log in over and over from as many threads; `done` gets the status of each answer."""
    body = json.dumps({"email": user["email"], "password": user["password"]})
    statuses: list[int] = []

    def log_in() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        while not over.is_set():
            connection.request("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)

    threads = [threading.Thread(target=log_in, daemon=True) for _ in range(LOGINS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.put(statuses)


def measure(port: int, session: str, echoing: socket.socket) -> Times:
    """Ask for one's own account again and again, and for an echo in between."""
    head = (
        f"GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {session}\r\n\r\n"
    ).encode()
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    times = Times([], [])
    for number in range(-CONNECTIONS * 20, REQUESTS):  # the first ones are not counted
        time.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 # a pause, and no secret
        began = time.perf_counter()
        exchange(connections[number % CONNECTIONS], head)
        answered = time.perf_counter()
        time.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 # as above
        sent = time.perf_counter()
        echoing.sendall(b"x")
        echoing.recv(64)
        if number >= 0:
            times.requests.append((answered - began) * 1000)
            times.echoes.append((time.perf_counter() - sent) * 1000)
    for connection in connections:
        connection.close()
    return times


def exchange(connection: socket.socket, head: bytes) -> None:
    """Send a request and read its answer, which comes whole or in two."""
    connection.sendall(head)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(65_536)
    answered, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in answered.partition(b"\r\n")[0]:
        sys.exit(answered.decode())
    length = int(answered.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65_536)


def p(milliseconds: list[float], percent: float) -> float:
    """A percentile, as the value of the sample itself."""
    return sorted(milliseconds)[int(len(milliseconds) * percent / 100)]


def compare(workers: int) -> bool:
    """Measure with so many workers, beside logins and without; tell whether it passes."""
    own, other = socket.socketpair()
    Process(target=echo, args=(other,), daemon=True).start()
    other.close()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(
            folder, "--workers", str(workers), password_cost=COST, password_queue=2 * LOGINS
        ) as (server, people),
    ):
        port, session = server.port, people["base"]["session_token"]
        alone = measure(port, session, own)
        over = Event()
        done: SimpleQueue[list[int]] = SimpleQueue()
        # As somebody else: past 50 sessions of one user the oldest, which asks here, would end.
        user = people["other_tenant"]
        crowd = Process(target=log_in_until, args=(over, port, user, done), daemon=True)
        crowd.start()
        time.sleep(2)  # until all of them wait
        beside = measure(port, session, own)
        over.set()
        statuses = done.get()
        crowd.join()
    own.close()
    if set(statuses) != {HTTPStatus.OK}:
        sys.exit(f"not all logins were answered with 200: {set(statuses)}")
    print(f"\nworkers: {workers}; logins at once: {LOGINS}, in all: {len(statuses)}")
    ratio = 0.0
    for name, before, after in (
        ("echo", alone.echoes, beside.echoes),
        ("GET /v1/me", alone.requests, beside.requests),
    ):
        ratio = p(after, 99) / p(before, 99)
        print(f"  {name:12} median {p(before, 50):6.2f} ms, beside {p(after, 50):6.2f} ms", end="")
        print(f"    p99 {p(before, 99):6.2f} ms, beside {p(after, 99):7.2f} ms", end="")
        print(f"    ratio {ratio:5.1f}")
    print(f"  {'PASS' if ratio <= HIGHEST else 'FAIL'}: at most {HIGHEST:.0f}")
    return ratio <= HIGHEST


if __name__ == "__main__":
    print(f"{os.cpu_count()} processors, for the service and for all who ask it")
    results = [compare(workers) for workers in (1, 2)]
    sys.exit(0 if all(results) else 1)
