"""Check that the timing of failed logins does not reveal accounts (LG-01, LG-02).

Failed logins of five classes are sent in turn over one connection to the service. For each two
classes, the AUC is the probability that one of the first took longer than one of the second: 0.5
means no difference, 0 or 1 that a single attempt tells them apart. A naive login, which hashes only
for existing accounts, has 1. The same is measured for password reset requests with a known and an
unknown address.

Not measured: differences below the noise of this machine, which an attacker with more samples could
detect.
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
#: The range of an AUC that passes.
LOWEST, HIGHEST = 0.35, 0.65
#: Seconds; slower responses count as failures.
TIMEOUT = 30.0
LOG_IN, FORGOT = "/v1/auth/login", "/v1/auth/password/forgot"

Bodies = Mapping[str, Mapping[str, str]]


class Answer(NamedTuple):
    """The parts of a response that do not differ between requests."""

    status: int
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]]


def ask(connection: HTTPConnection, path: str, body: Mapping[str, str]) -> tuple[float, Answer]:
    """Send a request; return its milliseconds, to the last byte, and the response."""
    content = json.dumps(body)
    start = time.perf_counter()
    connection.request("POST", path, content, {"Content-Type": "application/json"})
    response = connection.getresponse()
    read = response.read()
    elapsed = (time.perf_counter() - start) * 1000
    own = {"request_id", "timestamp"}
    stable = {name: value for name, value in json.loads(read).items() if name not in own}
    headers = [
        (name, value)
        for name, value in response.getheaders()
        if name.lower() not in {"x-request-id", "date"}
    ]
    return elapsed, Answer(response.status, stable, headers)


def measure(port: int, path: str, bodies: Bodies) -> tuple[dict[str, list[float]], bool]:
    """Return the milliseconds of each class, and whether all responses were equal."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    milliseconds: dict[str, list[float]] = {name: [] for name in bodies}
    # The first request of each class warms caches, and is not counted.
    answers = [ask(connection, path, body)[1] for body in bodies.values()]
    for _ in range(SAMPLES):
        for name in random.sample(list(bodies), len(bodies)):
            elapsed, answer = ask(connection, path, bodies[name])
            milliseconds[name].append(elapsed)
            answers.append(answer)
    connection.close()
    first = answers[0]
    print(f"\nPOST {path}: {len(answers)} responses with {first.status}", end=", ")
    same = all(answer == first for answer in answers)
    print("all equal" if same else "NOT all equal")
    return milliseconds, same


def auc(ones: Sequence[float], others: Sequence[float]) -> float:
    """Return the probability that one of `ones` exceeds one of `others` (Mann-Whitney U)."""
    ranked = sorted(others)
    below = sum(bisect_left(ranked, one) + bisect_right(ranked, one) for one in ones) / 2
    return below / (len(ones) * len(others))


def report(milliseconds: Mapping[str, Sequence[float]]) -> bool:
    """Print the medians and the AUC of each two classes; return whether all pass."""
    for name, taken in milliseconds.items():
        print(f"  {name:38} median {statistics.median(taken):8.2f} ms")
    passed = True
    for one, other in itertools.combinations(milliseconds, 2):
        area = auc(milliseconds[one], milliseconds[other])
        ok = LOWEST <= area <= HIGHEST
        passed = passed and ok
        print(f"  {one + ' > ' + other:38} AUC {area:11.2f}    {'PASS' if ok else 'FAIL'}")
    return passed


def main() -> None:
    """Measure both operations; exit with 1 if one reveals accounts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        served(folder, password_cost=10) as (server, users),
    ):
        port = server.port
        disable = ("tenant", "disable", users["other_tenant"]["tenant_id"])
        run(*disable, settings={"ONESELF_DATA_DIR": folder})
        # Disabled accounts use their right passwords, which must not make a difference.
        disabled, tenant = users["disabled_user"], users["other_tenant"]
        classes = {
            "unknown address": ("unknown@example.com", "Wrong"),
            "wrong password": (users["base"]["email"], "Wrong"),
            "disabled user": (disabled["email"], disabled["password"]),
            "SSO user": (users["sso_user"]["email"], "Wrong"),
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
                "unknown address": {"email": "unknown@example.com"},
                "known address": {"email": users["base"]["email"]},
            },
        )
        passed = report(resets) and same_resets and passed
    print(f"\n{'PASS' if passed else 'FAIL'}: every AUC in {LOWEST} to {HIGHEST}, responses equal")
    sys.exit(0 if passed else 1)


main()
