"""Tests of the parts that the dialects share."""

from datetime import UTC, datetime

import pytest

from accounts.errors import InvalidRequest, NotFound, Violation
from handlers.dialect import Dialect, PlacedViolation, ResponseMeta

META = ResponseMeta("req_0a1b2c3d4e5f", datetime(2026, 4, 5, 10, 0, 0, 999_999, tzinfo=UTC), "")


def _violations(dialect, violation, places=None):
    body = dialect.refuse(InvalidRequest([violation]), 400, META, places or {})
    return body["violations"]


@pytest.fixture
def dialect():
    return Dialect(
        {},
        "application/json",
        lambda refusal: {"violations": refusal.violations},
        field_names={"new_password": "newPassword"},
    )


def test_timestamp_is_in_whole_seconds():
    assert META.timestamp == "2026-04-05T10:00:00Z"


def test_placed_violation_reads_as_a_sentence():
    violation = PlacedViolation(("scopes", 0), "must be known", "body")
    assert str(violation) == "body scopes/0: must be known"
    assert str(PlacedViolation((), "is required", "body")) == "body: is required"


@pytest.mark.parametrize(
    ("violation", "pointer"),
    [
        (PlacedViolation(("settings", "a/b~c", 0), "…", "body"), "/settings/a~1b~0c/0"),
        (PlacedViolation((), "…", "body"), ""),
        (PlacedViolation(("If-Match",), "…", "header"), "If-Match"),
    ],
)
def test_pointer_of_violation(violation, pointer):
    """HT-03, RFC 6901."""
    assert violation.pointer == pointer


def test_field_of_an_act_is_renamed_and_placed(dialect):
    [violation] = _violations(dialect, Violation(("new_password", 0), "is odd"))
    assert violation == PlacedViolation(("newPassword", 0), "is odd", "body")


def test_field_of_an_act_is_placed_at_the_parameter_of_its_name(dialect):
    [violation] = _violations(dialect, Violation(("cursor",), "is odd"), {"cursor": "query"})
    assert violation == PlacedViolation(("cursor",), "is odd", "query")


def test_input_as_a_whole_is_the_body(dialect):
    [violation] = _violations(dialect, Violation((), "is odd"))
    assert violation == PlacedViolation((), "is odd", "body")


def test_placed_violation_is_not_renamed(dialect):
    """Its names are those of the request already."""
    violation = PlacedViolation(("new_password",), "is not a documented field", "body")
    assert _violations(dialect, violation) == [violation]


def test_other_refusal_has_no_violations(dialect):
    assert dialect.refuse(NotFound(), 404, META) == {"violations": None}
