"""Compare the logins per second of the service with a loop of `bcrypt.checkpw`.

Both use all processors, in turn in each round: the loop in one process per processor, the service
with one worker and 16 clients that log in continuously. The bcrypt cost is 12.
"""

import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from multiprocessing import Pool

import bcrypt
from service import served

COST, CLIENTS, ROUNDS, SECONDS = 12, 16, 5, 8.0
PROCESSORS = len(os.sched_getaffinity(0))
PASSWORD = b"n3wS3cur3P@ss!"


def hash_for(seconds: float) -> float:
    """Return the passwords that one process checks per second."""
    hashed = bcrypt.hashpw(PASSWORD, bcrypt.gensalt(COST))
    start, done = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        bcrypt.checkpw(PASSWORD, hashed)
        done += 1
    return done / (time.perf_counter() - start)


def log_in_for(port: int, body: str, seconds: float) -> float:
    """Return the successful logins per second."""
    deadline = time.perf_counter() + seconds
    answered: list[float] = []

    def log_in() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < deadline:
            connection.request("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:  # noqa: PLR2004 # the status of a login
                message = f"a login returned {answer.status}"
                raise RuntimeError(message)
            answered.append(time.perf_counter())

    threads = [threading.Thread(target=log_in) for _ in range(CLIENTS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(answered) / (max(answered) - start)


def rounds(log_in: Callable[[], float]) -> None:
    """Measure both in turn, and print the result."""
    loops, logins = [], []
    with Pool(PROCESSORS) as pool:
        for number in range(-1, ROUNDS):  # the first round is not counted
            loop, login = sum(pool.map(hash_for, [SECONDS] * PROCESSORS)), log_in()
            if number >= 0:
                loops.append(loop)
                logins.append(login)
    shares = [login / loop for login, loop in zip(logins, loops, strict=True)]
    print(f"bcrypt.checkpw, cost {COST}, {PROCESSORS} processes: ", end="")
    print(f"{statistics.median(loops):.2f}/s; logins: {statistics.median(logins):.2f}/s; ", end="")
    print(f"ratio {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")


def main() -> None:
    """Start the service and compare."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(folder, password_cost=COST, password_queue=2 * CLIENTS) as (server, users),
    ):
        user = users["other_tenant"]
        body = json.dumps({"email": user["email"], "password": user["password"]})
        rounds(lambda: log_in_for(server.port, body, SECONDS))


if __name__ == "__main__":
    main()
