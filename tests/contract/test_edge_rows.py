"""The generated rows, in this process: every rule at every operation, without a server.

A row takes milliseconds here; over the wire `test_rows` runs one of each rule for each dialect,
and all of them with `--nightly`.
"""

from collections.abc import Iterator

import pytest

from oneself_conformance.actors import Actors
from oneself_conformance.cases.runner import CaseRunner, run_case
from oneself_conformance.cases.table import load_rows
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Verdict
from tests.support.databases import Storage
from tests.support.edge_rows import edge_rows, repetitions
from tests.support.in_process import InProcess, open_application
from tests.support.operator_acts import open_actors

ROWS = edge_rows(load_rows())


@pytest.fixture(scope="module")
def app(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """The application over a database of its own."""
    with open_application(storage, tmp_path_factory.mktemp("app")) as in_process:
        yield in_process


@pytest.fixture(scope="module")
def app_actors(app: InProcess) -> Iterator[Actors]:
    """The users and clients of the rows, in that application."""
    with open_actors(app) as opened:
        yield opened


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_operation_keeps_every_generated_row(operation_id: str, app: InProcess, app_actors: Actors):
    """HT-24: status, headers, code, field and sentence of each row, as over the wire."""
    outcomes = [run_case(CaseRunner(row, app, app_actors)) for row in ROWS[operation_id]]
    broken = [each.as_text() for each in outcomes if each.verdict is not Verdict.PASSED]
    if broken:
        pytest.fail("\n\n".join(broken), pytrace=False)


def test_each_rule_has_one_row_over_the_wire_in_each_dialect():
    """Otherwise a rule could be left to this file alone."""
    repeated = repetitions(load_rows())
    remaining = [row for rows in ROWS.values() for row in rows if str(row) not in repeated]
    dialects = {each.dialect for each in OPERATIONS.values()}
    assert {row.dialect for row in remaining} == dialects
    refusals = {row.refusal for rows in ROWS.values() for row in rows}
    assert {row.refusal for row in remaining} == refusals
    assert len(remaining) + len(repeated) == sum(map(len, ROWS.values()))
