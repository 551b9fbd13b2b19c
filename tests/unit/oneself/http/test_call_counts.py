"""What a request costs in calls of Python and in statements, stage by stage.

Calls are counted and not timed, so that nothing else on the machine can make this fail. The
numbers are those of the day on which they were written, and a tenth more. Whoever adds to a stage
what is worth its cost raises its number; whoever did not mean to finds out here where it went.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from oneself.conformance.http_client import Request
from tests.support.databases import Storage
from tests.support.in_process import InProcess
from tests.support.stages import STAGES, CallCounter
from tests.support.statements import asked_of

ME = "/v1/me"
#: On PostgreSQL more is done of it by the driver, in Python.
pytestmark = pytest.mark.only_on("sqlite")


class Cost(NamedTuple):
    """The most that a request may cost: statements, and calls by the stages in their order."""

    statements: int
    calls: tuple[int, ...]


#: By request: the kind of credential, the method and the path, and the body.
COSTS: Mapping[tuple[str, str, str, str], Cost] = {
    ("session_token", "GET", ME, ""): Cost(1, (11, 4, 22, 4, 7, 31, 6, 11, 15)),
    ("access_token", "GET", ME, ""): Cost(1, (11, 4, 22, 4, 7, 30, 6, 11, 15)),
    ("api_key", "GET", ME, ""): Cost(1, (11, 4, 23, 4, 7, 33, 6, 11, 15)),
    ("pat", "GET", ME, ""): Cost(1, (11, 4, 22, 4, 7, 33, 6, 11, 15)),
    # PyJWT looks at each character of a token by itself, which is 1,121 of them.
    ("jwt", "GET", ME, ""): Cost(1, (11, 4, 1312, 4, 7, 33, 61, 11, 15)),
    ("session_token", "GET", "/v1/me/events", ""): Cost(2, (11, 4, 26, 10, 7, 97, 31, 17, 24)),
    ("session_token", "GET", "/resources/me/pat", ""): Cost(2, (11, 4, 26, 4, 7, 85, 13, 12, 24)),
    ("session_token", "PATCH", "/api/v1/me", '{"locale": "de-DE"}'): Cost(
        4, (12, 8, 36, 35, 8, 309, 50, 13, 28)
    ),
    ("session_token", "PATCH", "/resources/me/profile", '{"nonsense": 1}'): Cost(
        2, (9, 4, 41, 41, 2, 179, 6, 28, 25)
    ),
    ("", "GET", "/healthz", ""): Cost(0, (11, 4, 3, 4, 0, 0, 2, 11, 18)),
}


@pytest.fixture(scope="module")
def measured(
    storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[tuple[str, str, str, str], tuple[int, Counter[str]]]:
    """Each request, made until all that is kept is there, and then once more."""
    logging.getLogger("oneself.requests").setLevel(logging.WARNING)
    folder = tmp_path_factory.mktemp("calls")
    counter = CallCounter()
    found = {}
    with counter.installed():
        # One thread, or it would be a matter of luck which of them opens its connection meanwhile.
        there = InProcess(folder, storage.make(folder), threads=1)
        there.faults.armed = True  # the mail is no part of a request
        for case in COSTS:
            request = _request(there, *case)
            for _ in range(3):
                there.ask(request)
            # One after the other: whoever is listened to takes another way to the database.
            with asked_of(there.faults.dialect) as asked:
                there.ask(request)
            with counter.counting() as calls:
                there.ask(request)
            found[case] = sum(each.reads_or_writes for each in asked), calls
    there.close()
    storage.drop(there.location)
    return found


def _request(there: InProcess, kind: str, method: str, path: str, body: str) -> Request:
    base = there.people["base"]
    headers = [("Content-Type", "application/json")] if body else []
    if kind == "api_key":
        headers.append(("X-API-Key", base[kind]))
    elif kind:
        headers.append(("Authorization", f"Bearer {base[kind]}"))
    return Request(method, path, tuple(headers), body.encode())


@pytest.mark.parametrize("case", COSTS, ids=["-".join(filter(None, case[:3])) for case in COSTS])
def test_no_stage_calls_more_than_it_did(case, measured):
    """A stage that does is named, with both numbers."""
    _, calls = measured[case]
    most = dict(zip(STAGES, COSTS[case].calls, strict=True))
    grown = {stage: (most[stage], calls[stage]) for stage in STAGES if calls[stage] > most[stage]}
    assert grown == {}


@pytest.mark.parametrize("case", COSTS, ids=["-".join(filter(None, case[:3])) for case in COSTS])
def test_no_request_asks_the_database_more_than_it_did(case, measured):
    """Of a reading there is one statement for who asks, and one more for what is shown."""
    statements, _ = measured[case]
    assert statements <= COSTS[case].statements
