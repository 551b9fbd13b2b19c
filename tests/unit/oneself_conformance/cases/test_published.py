"""Each operation of the five pages is seen with nothing but a user of the deployment."""

import pytest

from oneself_conformance.cases.published import fits_status, member_violations, pages
from oneself_conformance.cases.runner import is_self_contained
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.levels import PAGES, Level, level_of
from oneself_conformance.operations import OPERATIONS

#: These need a mailbox, or cannot be changed back.
WITHOUT_SUCCESS = {"hantera.requestEmailChange", "hantera.validateEmailChange"}
WITHOUT_EFFECT = WITHOUT_SUCCESS | {"scaikey.requestEmailVerification"}
ROWS = [
    row
    for row in load_rows()
    if row.level is Level.PUBLISHED and is_self_contained(row, can_sign_up=False)
]


def rows_of(operation_id: str) -> list[Row]:
    return [row for row in ROWS if row.operation_id == operation_id]


def test_pages_have_exactly_the_operations_that_are_no_extension():
    own = {
        each.operation_id
        for each in OPERATIONS.values()
        if each.dialect in PAGES and not each.is_extension
    }
    assert pages().keys() == own


@pytest.mark.parametrize("operation_id", sorted(pages().keys() - WITHOUT_SUCCESS))
def test_operation_has_a_success_row(operation_id: str):
    """contract F1."""
    assert [row for row in rows_of(operation_id) if row.status < 400]


@pytest.mark.parametrize(
    "operation_id",
    [name for name in sorted(pages().keys() - WITHOUT_EFFECT) if OPERATIONS[name].method != "get"],
)
def test_change_has_an_effect_row(operation_id: str):
    """contract F1."""
    assert [row for row in ROWS if row.raw.get("effect_of") == operation_id]


@pytest.mark.parametrize("operation_id", pages())
def test_each_refusal_of_the_page_has_a_row(operation_id: str):
    """contract F1."""
    for status in pages()[operation_id].statuses:
        if status.startswith("4"):
            assert [row for row in rows_of(operation_id) if fits_status(row.status, status)], status


def test_rows_of_pages_change_back_what_they_change():
    """contract 3: the second run finds the user of the first."""
    for row in ROWS:
        if row.raw.get("as") != "fresh" or row.status >= 400:
            continue
        changes = [
            each
            for each in (*row.raw.get("before", ()), row.raw)
            if OPERATIONS[each["operation"]].method != "get"
            and not each["operation"].startswith("scaikey.requestEmail")
        ]
        # An even number of changes of a password, a remembered token, or a step afterwards.
        is_even = len(changes) % 2 == 0
        assert is_even or "after" in row.raw or "remember" in str(row.raw), row


@pytest.mark.parametrize(
    ("source", "dialect", "level"),
    [
        ("Hyperclast, Users — Get Current User", "hyperclast", Level.PUBLISHED),
        ("Users — Get Access Token", "hyperclast", Level.PUBLISHED),
        ("ipto, Users — Session continuity", "oauth", Level.HOUSE),
        ("Hantera, Me — Profile Management; RFC 9110", "hantera", Level.PUBLISHED),
        ("RFC 7662, section 2.2; the document", "oauth", Level.STANDARD),
        ("The document — Rate limits; RFC 6585, section 4", "jitsudo", Level.HOUSE),
        ("LG-01; the document", "hyperclast", Level.HOUSE),
    ],
)
def test_level_is_that_of_the_first_source(source: str, dialect: str, level: Level):
    """contract F3."""
    assert level_of(source, dialect) is level


def test_members_of_a_page_are_compared_by_type_and_others_are_allowed():
    """contract F3."""
    shown = {"data": {"email": "string", "is_admin": "boolean"}, "roles": "array"}
    good = {"data": {"email": "a@example.com", "is_admin": False, "more": 1}, "roles": []}
    assert [*member_violations(shown, good)] == []
    bad = {"data": {"email": None}, "roles": {}}
    assert [*member_violations(shown, bad)] == [
        "body/data/email: is not of the type string",
        "body/data/is_admin: is missing",
        "body/roles: is not of the type array",
    ]
    assert [*member_violations(shown, None)] == ["body: is not an object"]


def test_standards_of_oauth_are_asked_of_others():
    """contract F3: OAuth has RFCs instead of a page, and needs no user."""
    asked = {
        row.dialect
        for row in load_rows()
        if row.level is Level.STANDARD and is_self_contained(row, can_sign_up=False)
    }
    assert "oauth" in asked
    assert "status" not in asked
    oauth = [row for row in load_rows() if row.level is Level.STANDARD and row.dialect == "oauth"]
    assert sum(is_self_contained(row, can_sign_up=False) for row in oauth) > 20
