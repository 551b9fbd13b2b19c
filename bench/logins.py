"""Prints whether a failed login tells by its time or its answer what there is (LG-01, LG-02).

Failed logins of five classes are sent in turn over one connection to the service itself, and for
each two classes there is the AUC: the probability that one of the first took longer than one of the
second. 0.5 is no difference, and 0 or 1 tells them apart by a single attempt; a naive login, which
hashes only where there is a record, has 1. The same of requests to reset a password, of an address
that is known and one that is not.

What it cannot show: a difference that is smaller than the noise of this machine, and that somebody
with more samples than these could measure.
"""

import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from typing import Any, NamedTuple

from service import run, served

SAMPLES = 200
#: Between these an AUC passes.
LOWEST, HIGHEST = 0.35, 0.65
#: Seconds; longer than this is no answer but a failure.
TIMEOUT = 30.0
LOG_IN, FORGOT = "/v1/auth/login", "/v1/auth/password/forgot"

Bodies = Mapping[str, Mapping[str, str]]


class Answer(NamedTuple):
    """All of an answer that does not differ from request to request."""

    status: int
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]]


def ask(connection: HTTPConnection, path: str, body: Mapping[str, str]) -> tuple[float, Answer]:
    """The milliseconds from the first byte sent to the last one read, and the answer."""
    content = json.dumps(body)
    began = time.perf_counter()
    connection.request("POST", path, content, {"Content-Type": "application/json"})
    response = connection.getresponse()
    read = response.read()
    took = (time.perf_counter() - began) * 1000
    own = {"request_id", "timestamp"}
    stable = {name: value for name, value in json.loads(read).items() if name not in own}
    headers = [
        (name, value)
        for name, value in response.getheaders()
        if name.lower() not in {"x-request-id", "date"}
    ]
    return took, Answer(response.status, stable, headers)


def measure(port: int, path: str, bodies: Bodies) -> tuple[dict[str, list[float]], bool]:
    """The milliseconds of each class, asked in turn, and whether all answers were the same."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    milliseconds: dict[str, list[float]] = {name: [] for name in bodies}
    # The first of each finds nothing prepared, and is not counted.
    answers = [ask(connection, path, body)[1] for body in bodies.values()]
    for _ in range(SAMPLES):
        for name in random.sample(list(bodies), len(bodies)):
            took, answer = ask(connection, path, bodies[name])
            milliseconds[name].append(took)
            answers.append(answer)
    connection.close()
    first = answers[0]
    print(f"\nPOST {path}: {len(answers)} answers of {first.status}", end=", ")
    same = all(answer == first for answer in answers)
    print("all the same" if same else "NOT all the same")
    return milliseconds, same


def auc(ones: Sequence[float], others: Sequence[float]) -> float:
    """The probability that one of these is larger than one of the others (Mann and Whitney's U)."""
    ranked = sorted(others)
    below = sum(bisect_left(ranked, one) + bisect_right(ranked, one) for one in ones) / 2
    return below / (len(ones) * len(others))


def report(milliseconds: Mapping[str, Sequence[float]]) -> bool:
    """Print the medians and the AUC of each two classes; tell whether all of them pass."""
    for name, taken in milliseconds.items():
        print(f"  {name:38} median {statistics.median(taken):8.2f} ms")
    passed = True
    for one, other in itertools.combinations(milliseconds, 2):
        area = auc(milliseconds[one], milliseconds[other])
        good = LOWEST <= area <= HIGHEST
        passed = passed and good
        print(f"  {one + ' > ' + other:38} AUC {area:11.2f}    {'PASS' if good else 'FAIL'}")
    return passed


def main() -> None:
    """Measure both operations; the exit status is 1 where something tells what there is."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(folder, password_cost=10) as (server, people),
    ):
        port = server.port
        disable = ("tenant", "disable", people["other_tenant"]["tenant_id"])
        run(*disable, settings={"ONESELF_DATA_DIR": folder})
        # The disabled ones with their own passwords, which must be of no more use than wrong ones.
        disabled, tenant = people["disabled_user"], people["other_tenant"]
        classes = {
            "unknown address": ("nobody@example.com", "Wrong"),
            "wrong password": (people["base"]["email"], "Wrong"),
            "disabled user": (disabled["email"], disabled["password"]),
            "SSO user": (people["sso_user"]["email"], "Wrong"),
            "disabled tenant": (tenant["email"], tenant["password"]),
        }
        logins, same_logins = measure(
            port,
            LOG_IN,
            {
                name: {"email": email, "password": password}
                for name, (email, password) in classes.items()
            },
        )
        passed = report(logins) and same_logins
        resets, same_resets = measure(
            port,
            FORGOT,
            {
                "unknown address": {"email": "nobody@example.com"},
                "known address": {"email": people["base"]["email"]},
            },
        )
        passed = report(resets) and same_resets and passed
    print(f"\n{'PASS' if passed else 'FAIL'}: every AUC in {LOWEST} to {HIGHEST}, answers the same")
    sys.exit(0 if passed else 1)


main()
