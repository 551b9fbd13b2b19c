"""Costs of requests, in Python calls and in statements, by stage.

Calls are counted and not timed, so that load on the machine cannot make a test fail. The limits are
the numbers of the day on which they were written plus a tenth. A change that is worth its cost
raises its limit; any other learns here where the cost is.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from oneself_conformance.http_client import Request
from tests.support.databases import Storage
from tests.support.in_process import InProcess
from tests.support.stages import STAGES, CallCounter
from tests.support.statements import record_statements

ME = "/v1/me"
#: On PostgreSQL the driver does more of the work in Python.
pytestmark = pytest.mark.only_on("sqlite")


class Cost(NamedTuple):
    """The limits of a request: statements, and calls by the stages in their order."""

    statements: int
    calls: tuple[int, ...]


#: By request: the kind of credential, the method, the path and the body.
COSTS: Mapping[tuple[str, str, str, str], Cost] = {
    ("session_token", "GET", ME, ""): Cost(1, (11, 4, 22, 4, 7, 31, 8, 11, 26)),
    ("access_token", "GET", ME, ""): Cost(1, (11, 4, 22, 4, 7, 30, 8, 11, 26)),
    ("api_key", "GET", ME, ""): Cost(1, (11, 4, 23, 4, 7, 33, 8, 11, 26)),
    ("pat", "GET", ME, ""): Cost(1, (11, 4, 22, 4, 7, 33, 8, 11, 26)),
    # A token is decoded and checked once: PyJWT's reader alone would add 1,197 calls.
    ("jwt", "GET", ME, ""): Cost(1, (11, 4, 25, 4, 7, 35, 61, 11, 26)),
    ("session_token", "GET", "/v1/me/events", ""): Cost(2, (11, 4, 26, 10, 7, 97, 31, 17, 31)),
    ("session_token", "GET", "/resources/me/pat", ""): Cost(2, (11, 4, 26, 8, 7, 85, 18, 12, 31)),
    ("session_token", "PATCH", "/api/v1/me", '{"locale": "de-DE"}'): Cost(
        4, (12, 8, 36, 35, 8, 309, 50, 13, 41)
    ),
    ("session_token", "PATCH", "/resources/me/profile", '{"nonsense": 1}'): Cost(
        # It is refused before its transaction begins.
        1,
        (11, 4, 26, 41, 0, 32, 4, 28, 24),
    ),
    ("", "GET", "/healthz", ""): Cost(0, (11, 4, 3, 4, 0, 0, 2, 11, 18)),
}


@pytest.fixture(scope="module")
def measured(
    storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[tuple[str, str, str, str], tuple[int, Counter[str]]]:
    """Each request, sent until the caches are warm, and then once more."""
    logging.getLogger("oneself.requests").setLevel(logging.WARNING)
    folder = tmp_path_factory.mktemp("calls")
    counter = CallCounter()
    costs = {}
    with counter.installed():
        # One thread, or it would depend on chance which of them opens its connection.
        service = InProcess(folder, storage.make(folder), threads=1)
        service.faults.armed = True  # mail is not part of a request
        for case in COSTS:
            request = _request(service, *case)
            for _ in range(3):
                service.ask(request)
            # Apart from the calls, because a listener changes the path to the database.
            with record_statements(service.faults.dialect) as statements:
                service.ask(request)
            with counter.counting() as calls:
                service.ask(request)
            costs[case] = sum(statement.reads_or_writes for statement in statements), calls
    service.close()
    storage.drop(service.location)
    return costs


def _request(service: InProcess, kind: str, method: str, path: str, body: str) -> Request:
    base = service.actors["base"]
    headers = [("Content-Type", "application/json")] if body else []
    if kind == "api_key":
        headers.append(("X-API-Key", base[kind]))
    elif kind:
        headers.append(("Authorization", f"Bearer {base[kind]}"))
    return Request(method, path, tuple(headers), body.encode())


@pytest.mark.parametrize("case", COSTS, ids=["-".join(filter(None, case[:3])) for case in COSTS])
def test_calls_stay_within_limits(case, measured):
    """The failure names the stage, its limit and its number."""
    _, calls = measured[case]
    most = dict(zip(STAGES, COSTS[case].calls, strict=True))
    grown = {stage: (most[stage], calls[stage]) for stage in STAGES if calls[stage] > most[stage]}
    assert grown == {}


@pytest.mark.parametrize("case", COSTS, ids=["-".join(filter(None, case[:3])) for case in COSTS])
def test_statements_stay_within_limits(case, measured):
    """A read takes one statement for the caller, and one more for the resource."""
    statements, _ = measured[case]
    assert statements <= COSTS[case].statements
