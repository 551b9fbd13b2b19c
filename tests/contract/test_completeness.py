"""The rows leave out nothing that the document promises."""

from collections import defaultdict
from functools import cache

import pytest

from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.table import Row, check_row, load_rows, refusal_shapes
from oneself.document import load_document
from tests.support.error_classes import ALL_REFUSALS

DOCUMENT = load_document()
#: What only a service that is broken or busy answers; the unit tests bring it about.
NOT_BY_ROWS = {"unavailable", "internal_error"}


def _produced() -> dict[str, set[int]]:
    """The statuses that rows bring about, by operation."""
    found = defaultdict(set)
    for row in load_rows():
        if row.operation_id is not None and "path" not in row.raw:
            found[row.operation_id].add(row.status)
    return found


@cache
def _codes() -> dict[str, set[tuple[int, str]]]:
    """The refusals that rows bring about, by response component."""
    found = defaultdict(set)
    for row in load_rows():
        if row.operation is not None and row.code is not None and "path" not in row.raw:
            raw = DOCUMENT["paths"][row.operation.path][row.operation.method]
            component = raw["responses"][str(row.status)]["$ref"].rpartition("/")[2]
            found[component].add(row.code)
    return found


REFUSALS = {
    name: set(content["examples"])
    for name, response in DOCUMENT["components"]["responses"].items()
    for content in response.get("content", {}).values()
    if "examples" in content
}


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_every_status_below_500_has_a_row(operation_id: str):
    """A status that nothing brings about is a promise that nobody has seen kept."""
    documented = {status for status in OPERATIONS[operation_id].responses if status < 500}
    assert documented <= _produced()[operation_id]


@pytest.mark.parametrize("component", REFUSALS)
def test_every_refusal_that_is_an_example_has_a_row(component: str):
    """The keys of the examples are codes, and each is brought about in its dialect and status."""
    assert REFUSALS[component] - NOT_BY_ROWS <= _codes()[component]


@pytest.mark.parametrize("component", REFUSALS)
def test_every_refusal_that_a_row_brings_about_is_an_example(component: str):
    """A reader of the document finds each code where it comes."""
    assert _codes()[component] <= REFUSALS[component]


def test_the_shapes_have_every_code_and_no_other():
    """A class without a shape could not be promised."""
    codes = {refusal.code for refusal in ALL_REFUSALS.values()}
    assert refusal_shapes().codes == codes


def test_a_row_says_where_its_promise_stands():
    """By the title of a page and its section, a standard, or the document."""
    sources = [str(row.raw.get("source", "")) for row in load_rows()]
    # Never a file that lies beside the repository: nobody who reads the row could open it.
    assert [each for each in sources if not each or ".txt" in each or "shared" in each] == []


def test_no_two_rows_have_the_same_name():
    """A failure names its row."""
    names = [str(row) for row in load_rows()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "ipto.getNobody"},
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
def test_a_row_about_nothing_that_there_is_cannot_be_loaded(wrong: dict[str, object]):
    """A misspelt row would else promise nothing, and be kept for ever."""
    row = {"promise": "It is kept", "operation": "ipto.getCurrentUser", "expect": {"status": 200}}
    check_row(Row("ipto", row))
    with pytest.raises(ValueError, match=r"are no keys|is no (operation|service|refusal)"):
        check_row(Row("ipto", row | wrong))
