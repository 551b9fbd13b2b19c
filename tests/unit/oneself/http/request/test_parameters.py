"""Tests of reading parameters, with a small document."""

import pytest

from accounts.errors import InvalidRequest
from oneself.document import operation_specs
from oneself.http.request.parameters import Parameters, python_name
from oneself.http.request.schemas import Schemas

DOCUMENT = {
    "paths": {
        "/things/{thing_id}": {
            "parameters": [{"$ref": "#/components/parameters/ThingId"}],
            "get": {
                "operationId": "status.getThing",
                "tags": ["status"],
                "x-scope": "public",
                "security": [],
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"$ref": "#/none"}},
                    {"name": "deep", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 5}},
                    {
                        "name": "X-Tenant-ID",
                        "in": "header",
                        "required": True,
                        "schema": {"type": "string", "format": "uuid"},
                    },
                ],
                "responses": {},
            },
        }
    },
    "components": {
        "parameters": {
            "ThingId": {
                "name": "thing_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "pattern": "^t[0-9]+$"},
            }
        }
    },
}
DOCUMENT["paths"]["/things/{thing_id}"]["get"]["parameters"][0]["schema"] = {
    "type": "integer",
    "minimum": -5,
    "maximum": 1000,
    "default": 20,
}
(DESCRIBED,) = operation_specs(DOCUMENT)
PARAMETERS = Parameters(DESCRIBED, Schemas(DOCUMENT))
TENANT = "01933e8f-7c45-7123-9abc-123456789abc"
PATH = {"thing_id": "t1"}
HEADERS = {b"x-tenant-id": TENANT.encode()}


def _read(query="", path=PATH, headers=HEADERS):
    return PARAMETERS.read(path, query.encode(), headers)


def _refused(**arguments):
    with pytest.raises(InvalidRequest) as refused:
        _read(**arguments)
    return [(each.place, each.field, each.rule) for each in refused.value.violations]


def test_parameters_are_read_by_their_python_names():
    """Path, query and header alike."""
    assert DESCRIBED.public
    assert PARAMETERS.types == {
        "thing_id": str,
        "limit": int,
        "deep": bool | None,
        "q": str | None,
        "x_tenant_id": str,
    }
    assert _read("limit=5&deep=true&q=a%20b") == {
        "thing_id": "t1",
        "limit": 5,
        "deep": True,
        "q": "a b",
        "x_tenant_id": TENANT,
    }


def test_absent_parameter_has_its_default():
    """Or None without one."""
    assert _read() == {
        "thing_id": "t1",
        "limit": 20,
        "deep": None,
        "q": None,
        "x_tenant_id": TENANT,
    }


@pytest.mark.parametrize(
    ("sent", "read"), [("0", 0), ("7", 7), ("1000", 1000), ("-5", -5), ("-0", 0)]
)
def test_integer_is_parsed(sent, read):
    """Digits, perhaps after a minus."""
    assert _read(f"limit={sent}")["limit"] == read


@pytest.mark.parametrize(
    "sent",
    [
        "1_0",
        "%201",
        "1%20",
        "+1",
        "%2B1",
        "%D9%A1",
        "01",
        "1.0",
        "1e2",
        "0x10",
        "",
        "one",
        "--1",
        "1%0A",
        "9" * 5000,
    ],
)
def test_malformed_integer_is_rejected(sent):
    """HT-05: Python reads many of these, and clients in other languages do not."""
    assert _refused(query=f"limit={sent}") == [("query", ("limit",), "must be an integer")]


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        ("1001", "must be at most 1000"),
        ("-6", "must be at least -5"),
        ("9" * 18, "must be at most 1000"),
    ],
)
def test_integer_out_of_bounds_is_rejected(sent, rule):
    """HT-21: an unbounded limit would be unbounded work."""
    assert _refused(query=f"limit={sent}") == [("query", ("limit",), rule)]


@pytest.mark.parametrize("sent", ["True", "1", "yes", "", "TRUE"])
def test_boolean_is_true_or_false(sent):
    """As in JSON."""
    assert _read("deep=false")["deep"] is False
    assert _refused(query=f"deep={sent}") == [("query", ("deep",), "must be a boolean")]


def test_string_is_percent_decoded():
    """A plus is a space, as in forms."""
    assert _read("q=%C3%9F+%E2%82%AC")["q"] == "ß €"
    assert _read("q=")["q"] == ""
    assert _refused(query="q=canary") == [("query", ("q",), "must have at most 5 characters")]


@pytest.mark.parametrize(
    "query",
    [
        "limit",
        "limit=1&&deep=true",
        "&",
        "=",
        "q=%FF",
        "q=%ED%A0%80",
        "q=%",
        "q=%4",
        "q=%zz",
        "q=100%25%",
        "q=\u00df",
        "a=1&" * 40,
    ],
)
def test_malformed_query_is_rejected(query):
    """HT-05: an accepted query has one reading."""
    ((place, field, _),) = _refused(query=query)
    assert (place, field) == ("query", ())


@pytest.mark.parametrize(
    "query", ["more=1", "limit=1&more=1", "Limit=1", "access_token=canary", "=1"]
)
def test_unknown_parameter_is_rejected_without_its_name(query):
    """HT-05, TK-19, newcomer F20: the caller chose the name; a token in the query is never read."""
    rule = "has a parameter that is not documented (documented: limit, deep, q)"
    assert _refused(query=query) == [("query", (), rule)]


@pytest.mark.parametrize("query", ["limit=1&limit=1", "limit=1&limit=2", "limit=1&%6Cimit=2"])
def test_repeated_parameter_is_rejected(query):
    """HT-05."""
    assert _refused(query=query) == [("query", ("limit",), "must not stand twice")]


def test_missing_header_is_named():
    assert _refused(headers={}) == [("header", ("X-Tenant-ID",), "is required")]


@pytest.mark.parametrize("sent", [b"", b"canary", TENANT.encode() + b"\xff", b"\xff"])
def test_malformed_header_is_named(sent):
    """HT-04."""
    assert _refused(headers={b"x-tenant-id": sent}) == [
        ("header", ("X-Tenant-ID",), "must be a UUID")
    ]


def test_malformed_path_parameter_is_named():
    """HT-12: the whole segment has to match."""
    for thing_id in ("t", "x1", "t1\n", ""):
        assert _refused(path={"thing_id": thing_id}) == [
            ("path", ("thing_id",), "must match ^t[0-9]+$")
        ]


def test_all_violations_are_listed():
    said = _refused(query="limit=x&deep=x", path={"thing_id": "x"}, headers={})
    assert [place for place, _, _ in said] == ["path", "query", "query", "header"]


@pytest.mark.parametrize(
    ("documented", "expected"),
    [
        ("X-Tenant-ID", "x_tenant_id"),
        ("identityId", "identity_id"),
        ("id", "id_"),
        ("type", "type_"),
        ("from", "from_"),
        ("session_id", "session_id"),
        ("limit", "limit"),
    ],
)
def test_python_name_of_parameter(documented, expected):
    assert python_name(documented) == expected
