"""The database fails at each statement and at each commit of each operation, in turn.

A request is repeated with the fault one statement later each time, until the fault comes too late
and the request is answered as its row promises: so whatever failed before has left nothing behind
that would keep it from being done (DB-04, DB-06).
"""

from collections.abc import Callable, Mapping
from itertools import count

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from oneself.conformance.actors import Actors
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.assertions import find_violations
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import Row, load_rows
from tests.support.in_process import InProcess
from tests.support.journal import Outcome
from tests.support.operator_acts import people_of

#: That somebody has tried is counted for itself, before what they try.
_TRUE_BY_ITSELF = "attempt_budget"
_MOST = 60


def _first_good_rows() -> dict[str, Row]:
    """For each operation the first row of the document's own examples that is a success."""
    found: dict[str, Row] = {}
    for row in load_rows():
        good = row.refusal is None and row.status < 300 and "path" not in row.raw
        # Nobody can sign up twice with an address that a row has fixed.
        repeatable = "email" not in row.raw.get("signup", {}) and not row.dribbles
        if good and row.operation_id and "service" not in row.raw and repeatable:
            found.setdefault(row.operation_id, row)
    return found


ROWS = _first_good_rows()


def _fail(_connection: Connection) -> None:
    raise OperationalError("", None, Exception("disk I/O error"), hide_parameters=True)


def _break(_connection: Connection) -> None:
    raise RuntimeError("a defect")


def _cut(connection: Connection) -> None:
    """The network is gone in this moment, and the server notices it sooner or later."""
    connection.connection.dbapi_connection.pgconn.finish()  # type: ignore[union-attr] # psycopg's


@pytest.fixture(scope="module")
def there(storage, tmp_path_factory):
    """The application over a database of its own."""
    folder = tmp_path_factory.mktemp("failing")
    location = storage.make(folder)
    made = InProcess(folder, location)
    yield made
    made.close()
    storage.drop(location)


@pytest.fixture(scope="module")
def people(there):
    with people_of(there) as known:
        yield known


def test_every_operation_has_a_row_that_succeeds():
    """DB-04: else what follows would leave it out."""
    assert ROWS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("place", ["statement", "commit"])
@pytest.mark.parametrize(
    ("fault", "refusal"),
    [(_fail, "unavailable"), (_break, "internal_error")],
    ids=["fails", "has a defect"],
)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_request_that_fails_half_way_has_done_nothing(  # noqa: PLR0917 # what is tried, and where
    row: Row,
    fault: Callable[[Connection], None],
    refusal: str,
    place: str,
    there: InProcess,
    people: Actors,
    outcomes: Mapping[str, Outcome],
):
    """DB-04, DB-05, OP-05: it is answered in its dialect, and can be made again as it is."""
    attempt = CaseRunner(row, there, people)
    request = attempt.prepare()
    # What fails on the event loop may do so for being busy, and a thread does it then; but not
    # where it fails in its commit.
    done_by_a_thread = (
        fault is _fail
        and there.faults.dialect == "sqlite"
        and row.operation.workload == "inline"
        and (place == "statement" or row.operation.method == "get")
    )
    before = there.stored(_TRUE_BY_ITSELF)
    failed = Row(row.file, {**row.raw, "expect": {"refusal": refusal}})
    outcome = outcomes[f"the n-th {place} {'fails' if fault is _fail else 'meets a defect'}"]
    for number in count(1):
        assert number < _MOST
        with there.faults.at(place, number, fault):
            answer = there.ask(request)
        expected = failed if there.faults.happened and not done_by_a_thread else row
        broken = find_violations(
            expected, request, answer, now=attempt.now, look_up=attempt.look_up
        )
        assert broken == [], f"{place} {number}"
        outcome.count_answer(answer.status, faulty=there.faults.happened)
        if not there.faults.happened:
            break
        now = there.stored(_TRUE_BY_ITSELF)
        if done_by_a_thread:
            # What was done on the event loop is undone: none of it is there twice.
            assert all(len(now[table]) - len(before[table]) <= 1 for table in now)
            before = now
        assert now == before, f"{place} {number}"


@pytest.mark.only_on("postgresql")  # a file has no connection that could break
@pytest.mark.parametrize("place", ["statement", "commit"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_connection_that_breaks_is_not_noticed(
    row: Row,
    place: str,
    there: InProcess,
    people: Actors,
    outcomes: Mapping[str, Outcome],
):
    """DB-12: whichever statement it breaks at, the request is begun again, and done once."""
    outcome = outcomes[f"the connection breaks at the n-th {place}"]
    for number in count(1):
        assert number < _MOST
        attempt = CaseRunner(row, there, people)
        request = attempt.prepare()
        with there.faults.at(place, number, _cut):
            answer = there.ask(request)
        broken = find_violations(row, request, answer, now=attempt.now, look_up=attempt.look_up)
        assert broken == [], f"{place} {number}"
        outcome.count_answer(answer.status, faulty=there.faults.happened)
        if not there.faults.happened:
            break
