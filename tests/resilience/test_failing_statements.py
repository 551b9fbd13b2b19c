"""Each statement and each commit of each operation fails in turn.

A request is repeated with the fault one statement later each time, until the fault comes too late
and the request succeeds as its row says. This shows that the failures before left nothing behind
that would prevent it (DB-04, DB-06).
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from oneself.document import load_document, operation_specs
from oneself_conformance.actors import Actors
from oneself_conformance.cases.assertions import find_violations
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.operations import OPERATIONS
from tests.support.in_process import InProcess
from tests.support.journal import Outcome

#: Operations that run on the event loop.
INLINE = {
    each.operation_id for each in operation_specs(load_document()) if each.workload == "inline"
}
#: Attempts are counted in a transaction of their own, before what they are for.
#: Counted attempts, at passwords and at codes.
_COMMITTED_SEPARATELY = ("attempt_budget", "login_challenge")
_MAX_STATEMENTS = 60


def _successful_rows() -> dict[str, Row]:
    """Return for each operation the first row of the document's own examples that succeeds."""
    rows: dict[str, Row] = {}
    for row in load_rows():
        succeeds = row.refusal is None and row.status < 300 and "path" not in row.raw
        # A signup with a fixed address cannot be repeated.
        repeatable = "email" not in row.raw.get("signup", {}) and not row.dribbles
        if succeeds and row.operation_id and "service" not in row.raw and repeatable:
            rows.setdefault(row.operation_id, row)
    return rows


ROWS = _successful_rows()


def _fail(_connection: Connection) -> None:
    raise OperationalError("", None, Exception("disk I/O error"), hide_parameters=True)


def _raise_unexpected(_connection: Connection) -> None:
    raise RuntimeError("unexpected")


def _break_connection(connection: Connection) -> None:
    """Break the connection; the server notices it sooner or later."""
    connection.connection.dbapi_connection.pgconn.finish()  # type: ignore[union-attr] # psycopg's


def _cases() -> Iterator[Any]:
    """Yield each operation with each fault.

    By day an unexpected error strikes one write of each dialect: it is rolled back as a failure
    is, and `test_unexpected_error_returns_500_with_request_id_only` covers every operation.
    """
    shown = set()
    for name, row in ROWS.items():
        yield pytest.param(row, _fail, "unavailable", id=f"{name}-fails")
        is_first = row.dialect not in shown and OPERATIONS[name].method != "get"
        marks = () if is_first else pytest.mark.nightly
        case = f"{name}-unexpected error"
        yield pytest.param(row, _raise_unexpected, "internal_error", id=case, marks=marks)
        if is_first:
            shown.add(row.dialect)


def test_every_operation_has_a_successful_row():
    """DB-04: otherwise the tests below would miss some."""
    assert ROWS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("place", ["statement", "commit"])
@pytest.mark.parametrize(("row", "fault", "refusal"), [*_cases()])
def test_failed_request_changes_nothing(  # noqa: PLR0917 # parameters and fixtures
    row: Row,
    fault: Callable[[Connection], None],
    refusal: str,
    place: str,
    app: InProcess,
    actors: Actors,
    outcomes: Mapping[str, Outcome],
):
    """DB-04, DB-05, OP-05: its refusal has the dialect's shape, and it can be repeated as it is."""
    runner = CaseRunner(row, app, actors)
    request = runner.prepare()
    # A failure on the event loop may mean that the database is busy, so a thread repeats the
    # request; not after a failed commit.
    repeated_by_thread = (
        fault is _fail
        and app.faults.dialect == "sqlite"
        and row.operation_id in INLINE
        and (place == "statement" or row.operation.method == "get")
    )
    before = app.stored(*_COMMITTED_SEPARATELY)
    failed = Row(row.file, {**row.raw, "expect": {"refusal": refusal}})
    outcome = outcomes[f"n-th {place}: {'failure' if fault is _fail else 'unexpected error'}"]
    for number in count(1):
        assert number < _MAX_STATEMENTS
        with app.faults.at(place, number, fault):
            response = app.ask(request)
        expected = failed if app.faults.happened and not repeated_by_thread else row
        violations = find_violations(
            expected, request, response, now=runner.now, look_up=runner.look_up
        )
        assert violations == [], f"{place} {number}"
        outcome.count_answer(response.status, faulty=app.faults.happened)
        if not app.faults.happened:
            break
        # Each failure has used up one of the five attempts of a challenge.
        app.execute("UPDATE login_challenge SET attempts_left = 5")
        now = app.stored(*_COMMITTED_SEPARATELY)
        if repeated_by_thread:
            # The writes on the event loop were undone: nothing is duplicated.
            assert all(len(now[table]) - len(before[table]) <= 1 for table in now)
            before = now
        assert now == before, f"{place} {number}"


@pytest.mark.only_on("postgresql")  # SQLite has no connection that could break
@pytest.mark.parametrize("place", ["statement", "commit"])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_request_survives_a_broken_connection(
    row: Row, place: str, app: InProcess, actors: Actors, outcomes: Mapping[str, Outcome]
):
    """DB-12: at any statement, the request is retried, and done once."""
    outcome = outcomes[f"connection broken at the n-th {place}"]
    for number in count(1):
        assert number < _MAX_STATEMENTS
        runner = CaseRunner(row, app, actors)
        request = runner.prepare()
        with app.faults.at(place, number, _break_connection):
            response = app.ask(request)
        violations = find_violations(row, request, response, now=runner.now, look_up=runner.look_up)
        assert violations == [], f"{place} {number}"
        outcome.count_answer(response.status, faulty=app.faults.happened)
        if not app.faults.happened:
            break
