"""Completeness: the rows cover every status and refusal of the document."""

from collections import defaultdict
from functools import cache

import pytest

from oneself.document import load_document
from oneself_conformance.cases.loader import refusal_shapes
from oneself_conformance.cases.table import Row, check_row, load_rows
from oneself_conformance.operations import OPERATIONS
from tests.support.error_classes import ALL_REFUSALS

DOCUMENT = load_document()
#: Refusals of a broken or busy service only, which unit tests cover.
NOT_BY_ROWS = {"unavailable", "outcome_unknown", "internal_error"}


def _covered_statuses() -> dict[str, set[int]]:
    """Return the statuses that rows expect, by operation."""
    statuses = defaultdict(set)
    for row in load_rows():
        if row.operation_id is not None and "path" not in row.raw:
            statuses[row.operation_id].add(row.status)
    return statuses


@cache
def _covered_codes() -> dict[str, set[tuple[int, str]]]:
    """Return the refusals that rows expect, by response component."""
    codes = defaultdict(set)
    for row in load_rows():
        if row.operation is not None and row.code is not None and "path" not in row.raw:
            raw = DOCUMENT["paths"][row.operation.path][row.operation.method]
            component = raw["responses"][str(row.status)]["$ref"].rpartition("/")[2]
            codes[component].add(row.code)
    return codes


REFUSALS = {
    name: set(content["examples"])
    for name, response in DOCUMENT["components"]["responses"].items()
    for content in response.get("content", {}).values()
    if "examples" in content
}


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_status_below_500_has_a_row(operation_id: str):
    documented = {status for status in OPERATIONS[operation_id].responses if status < 500}
    assert documented <= _covered_statuses()[operation_id]


@pytest.mark.parametrize("component", REFUSALS)
def test_every_example_refusal_has_a_row(component: str):
    assert REFUSALS[component] - NOT_BY_ROWS <= _covered_codes()[component]


@pytest.mark.parametrize("component", REFUSALS)
def test_every_refusal_of_a_row_is_an_example(component: str):
    """The document lists each code at every status where it occurs."""
    assert _covered_codes()[component] <= REFUSALS[component]


def test_refusal_shapes_cover_exactly_the_error_codes():
    codes = {refusal.code for refusal in ALL_REFUSALS.values()}
    assert refusal_shapes().codes == codes


def test_every_row_has_a_source():
    """A source is a page with its section, a standard, or the document."""
    sources = [str(row.raw.get("source", "")) for row in load_rows()]
    # Never a file outside the repository, which readers of the row could not open.
    assert [each for each in sources if not each or ".txt" in each or "shared" in each] == []


def test_row_names_are_unique():
    names = [str(row) for row in load_rows()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "ipto.getUnknown"},
        {"service": "thawed"},
        {"expect": {"refusal": "no_such_code"}},
        {"expcet": {}},
        {"request": {"boddy": {}}},
        {"expect": {"status": 200, "boddy": {}}},
    ],
    ids=[
        "operation",
        "service",
        "code",
        "key of a row",
        "key of a request",
        "key of an expectation",
    ],
)
def test_row_with_unknown_names_is_rejected(wrong: dict[str, object]):
    """An ignored misspelling would be a missing assertion."""
    row = {
        "promise": "The request succeeds",
        "operation": "ipto.getCurrentUser",
        "expect": {"status": 200},
    }
    check_row(Row("ipto", row))
    with pytest.raises(ValueError, match=r"unknown (keys|operation|service|refusal)"):
        check_row(Row("ipto", row | wrong))
