"""Tests of the validators and of the wording of their errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneself.http.request.schemas import Schemas, violations

DOCUMENT = {
    "components": {
        "schemas": {
            "Name": {"type": "string", "description": "A name.", "maxLength": 5, "example": "A"},
            "Maybe": {"type": "string", "nullable": True, "minLength": 2},
        }
    }
}
SCHEMAS = Schemas(DOCUMENT)
NAME = {"$ref": "#/components/schemas/Name"}
THING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": NAME,
        "maybe": {"$ref": "#/components/schemas/Maybe"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "kind": {"type": "string", "enum": ["this", "that"]},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "when": {"type": "string", "format": "date-time"},
        "tags": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
            "items": {"type": "string"},
        },
        "open": {"type": "object", "additionalProperties": True, "maxProperties": 1},
        "description": {"type": "boolean"},
        "other": {"not": {"type": "string"}},
    },
}


def _said(schema, value, *path):
    validator = SCHEMAS.validator(schema)
    found = violations(validator.iter_errors(value), "body", *path)
    assert validator.is_valid(value) is (found == [])
    return [(violation.field, violation.rule) for violation in found]


def _thing(**fields):
    return _said(THING, {"name": "A"} | fields)


def test_valid_body_has_no_violations():
    """A reference to a component is followed."""
    assert _thing(maybe="ab", count=5, kind="that", code="a", tags=["a"], open={"a": {}}) == []


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"name": 1}, ("name",), "must be a string"),
        ({"name": "canary"}, ("name",), "must have at most 5 characters"),
        ({"maybe": "a"}, ("maybe",), "must have at least 2 characters"),
        ({"count": "5"}, ("count",), "must be an integer"),
        ({"count": 0}, ("count",), "must be at least 1"),
        ({"count": 10}, ("count",), "must be at most 9"),
        ({"kind": "canary"}, ("kind",), "must be one of this, that"),
        ({"code": "A"}, ("code",), "must match ^[a-z]+$"),
        ({"when": "today"}, ("when",), "must be an RFC 3339 date and time with an offset"),
        ({"tags": []}, ("tags",), "must have at least 1 items"),
        ({"tags": ["a", "b", "c"]}, ("tags",), "must have at most 2 items"),
        ({"tags": ["a", "a"]}, ("tags",), "must not have an item twice"),
        ({"tags": ["a", 1]}, ("tags", 1), "must be a string"),
        ({"tags": {}}, ("tags",), "must be an array"),
        ({"open": {"a": 1, "b": 2}}, ("open",), "must have at most 1 names"),
        ({"open": []}, ("open",), "must be an object"),
        ({"description": "yes"}, ("description",), "must be a boolean"),
        ({"other": "canary"}, ("other",), "does not have the documented shape"),
        ({"more": 1}, ("more",), "is not a documented field"),
    ],
)
def test_violation_names_field_and_rule(fields, field, rule):
    """HT-03: a sentence that can follow the field's name, without the value."""
    assert _thing(**fields) == [(field, rule)]


def test_missing_field_is_named():
    assert _said(THING, {}, "outer") == [(("outer", "name"), "is required")]


@pytest.mark.parametrize("value", [None, [], "text", 5, True])
def test_violation_of_the_whole_body_names_no_field(value):
    assert _said(THING, value) == [((), "must be an object")]


def test_null_is_valid_only_where_nullable():
    """HT-04: Draft 4 has a type for OpenAPI's keyword."""
    assert _thing(maybe=None) == []
    assert _thing(maybe=5) == [(("maybe",), "must be null or a string")]
    assert _thing(name=None) == [(("name",), "must be a string")]


@pytest.mark.parametrize("value", [5.0, True, "5"])
def test_float_and_boolean_are_no_integers(value):
    assert _thing(count=value) == [(("count",), "must be an integer")]


def test_length_is_counted_in_code_points():
    """Not in bytes, and not in UTF-16 units."""
    assert _thing(name="👩👩👩👩👩") == []
    assert _thing(name="👩👩👩👩👩👩") != []


@pytest.mark.parametrize("value", ["a\n", "\na", "a\nb"])
def test_pattern_does_not_match_before_a_line_break(value):
    """TK-01."""
    assert _thing(code=value) == [(("code",), "must match ^[a-z]+$")]


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (
            "uuid",
            ["01933e8f-7c45-7123-9abc-123456789abc", "01933E8F-7C45-7123-9ABC-123456789ABC"],
            ["", "01933e8f7c4571239abc123456789abc", "{01933e8f-7c45-7123-9abc-123456789abc}"],
        ),
        (
            "date-time",
            ["2026-04-05T10:00:00Z", "2026-04-05T10:00:00.5+05:30", "2024-02-29T00:00:00Z"],
            ["2026-04-05", "2026-04-05T10:00:00", "2026-02-29T00:00:00Z", "2026-04-05T25:00:00Z"],
        ),
        (
            "email",
            ["alice@example.com", "a.b+c@sub.example.com"],
            [
                "alice",
                "alice@localhost",
                "alice@[127.0.0.1]",
                "Alice <alice@example.com>",
                "a b@c.d",
            ],
        ),
        ("uri", ["https://example.com/a"], ["example.com", "/a", ""]),
    ],
)
def test_format_is_validated(form, good, bad):
    """The violation names the format."""
    schema = {"type": "string", "format": form}
    for value in good:
        assert _said(schema, value) == []
    for value in bad:
        ((field, rule),) = _said(schema, value)
        assert field == ()
        assert rule.startswith("must be a")


def test_unknown_format_is_named():
    assert _said({"type": "string", "format": "ipv4"}, "canary") == [((), "must be ipv4")]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("nmae", ("nmae",)),
        ("n" * 32, ("n" * 32,)),
        ("n" * 33, ()),
        ("two words", ()),
        ("", ()),
        ("sess_0-1", ()),
        ("1a", ()),
        ("name\n", ()),
        ("näme", ()),
    ],
)
def test_unknown_field_is_named_only_if_it_looks_like_a_name(name, shown):
    """HT-03, AZ-11: a misspelling is shown, a pasted value is not."""
    assert _thing(**{name: 1}) == [(shown, "is not a documented field")]


def test_violations_are_limited():
    """HT-03: an answer does not grow with the request."""
    assert len(_said({"type": "array", "items": NAME}, [1] * 1000)) == 20


def test_document_without_components():
    assert Schemas({}).validator({"type": "string"}).is_valid("a")


def test_equal_schemas_are_compiled_once():
    """A service refers to the same few schemas from hundreds of responses."""
    reference = {"$ref": "#/components/schemas/Maybe"}
    assert SCHEMAS.validator(reference) is SCHEMAS.validator({**reference})
    assert SCHEMAS.validator(reference) is not SCHEMAS.validator({"type": "string"})


def test_property_named_like_a_keyword_is_kept():
    schema = {
        "type": "object",
        "description": "Text.",
        "example": {"example": 1},
        "properties": {"description": {"type": "string"}, "example": {"type": "string"}},
    }
    assert _said(schema, {"description": "a", "example": "b"}) == []
    assert _said(schema, {"example": 1}) == [(("example",), "must be a string")]


CANARY = st.text(min_size=1).map(lambda text: f"canary{text}")
#: Spelled unlike any value: a short unknown name may be shown, the same text as a value may not.
NAMES = CANARY.map(str.upper)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | CANARY,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=10,
)
FIELDS = st.dictionaries(st.sampled_from(sorted(THING["properties"])) | NAMES, VALUES, max_size=8)


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)


@given(VALUES | FIELDS)
def test_violation_never_repeats_a_value(value):
    """HT-03."""
    said = str(_said(THING, value))
    for text in _texts(value):
        assert text not in said


@given(st.dictionaries(CANARY.map(lambda name: f"{name}-"), VALUES, min_size=1, max_size=3))
def test_violation_never_repeats_a_pasted_name(value):
    """HT-03."""
    assert "canary" not in str(_said(THING, {"name": "A"} | value))
