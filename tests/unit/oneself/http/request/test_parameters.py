"""Reading parameters, as a small document describes them."""

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


def _refused(**given):
    with pytest.raises(InvalidRequest) as refused:
        _read(**given)
    return [(each.place, each.field, each.rule) for each in refused.value.violations]


def test_parameters_are_read_by_their_python_names():
    """Path, query and header alike, for an operation that needs no credential here."""
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


def test_what_is_not_sent_is_its_default():
    """Or None where the document has none."""
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
def test_an_integer_is_digits(sent, read):
    """And perhaps a minus before them."""
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
def test_nothing_else_is_an_integer(sent):
    """Python would read many of these, and a client of another language would not (HT-05)."""
    assert _refused(query=f"limit={sent}") == [("query", ("limit",), "must be an integer")]


@pytest.mark.parametrize(
    ("sent", "rule"),
    [
        ("1001", "must be at most 1000"),
        ("-6", "must be at least -5"),
        ("9" * 18, "must be at most 1000"),
    ],
)
def test_an_integer_keeps_to_its_bounds(sent, rule):
    """A limit of any size would be any amount of work (HT-21)."""
    assert _refused(query=f"limit={sent}") == [("query", ("limit",), rule)]


@pytest.mark.parametrize("sent", ["True", "1", "yes", "", "TRUE"])
def test_a_truth_is_true_or_false(sent):
    """As JSON writes them, and not in any other way."""
    assert _read("deep=false")["deep"] is False
    assert _refused(query=f"deep={sent}") == [("query", ("deep",), "must be a boolean")]


def test_a_text_is_percent_encoded_utf_8():
    """A plus is a space, as forms have it."""
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
def test_a_query_that_cannot_be_read_is_refused_whole(query):
    """There are no two ways to read a query that is accepted (HT-05)."""
    ((place, field, _),) = _refused(query=query)
    assert (place, field) == ("query", ())


@pytest.mark.parametrize(
    "query", ["more=1", "limit=1&more=1", "Limit=1", "access_token=canary", "=1"]
)
def test_an_unknown_parameter_is_refused_and_not_named(query):
    """Its name is the caller's own; a token in the query is never read (HT-05, TK-19)."""
    assert _refused(query=query) == [("query", (), "has a parameter that is not documented")]


@pytest.mark.parametrize("query", ["limit=1&limit=1", "limit=1&limit=2", "limit=1&%6Cimit=2"])
def test_a_parameter_does_not_stand_twice(query):
    """Neither the first nor the last is meant (HT-05)."""
    assert _refused(query=query) == [("query", ("limit",), "must not stand twice")]


def test_a_missing_header_is_named():
    """It is required by the document."""
    assert _refused(headers={}) == [("header", ("X-Tenant-ID",), "is required")]


@pytest.mark.parametrize("sent", [b"", b"canary", TENANT.encode() + b"\xff", b"\xff"])
def test_a_header_of_the_wrong_form_is_named(sent):
    """Whatever its bytes are (HT-04)."""
    assert _refused(headers={b"x-tenant-id": sent}) == [
        ("header", ("X-Tenant-ID",), "must be a UUID")
    ]


def test_a_path_parameter_of_the_wrong_form_is_named():
    """The whole of it has to match (HT-12)."""
    for thing_id in ("t", "x1", "t1\n", ""):
        assert _refused(path={"thing_id": thing_id}) == [
            ("path", ("thing_id",), "must match ^t[0-9]+$")
        ]


def test_all_that_is_wrong_is_said_at_once():
    """A caller need not try again for each."""
    said = _refused(query="limit=x&deep=x", path={"thing_id": "x"}, headers={})
    assert [place for place, _, _ in said] == ["path", "query", "query", "header"]


@pytest.mark.parametrize(
    ("documented", "called"),
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
def test_a_parameter_has_a_python_name(documented, called):
    """No name of the document is changed for Python's sake."""
    assert python_name(documented) == called
