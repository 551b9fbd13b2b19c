"""Tests of validating answers, with a small document."""

import pytest

from oneself.document import operation_specs
from oneself.http.request.schemas import Schemas
from oneself.http.response.response_validation import ResponseValidator
from oneself.http.response.responses import Answer

DOCUMENT = {
    "paths": {
        "/thing": {
            "get": {
                "operationId": "status.getThing",
                "tags": ["status"],
                "x-scope": "public",
                "security": [],
                "responses": {
                    "200": {"$ref": "#/components/responses/Thing"},
                    "204": {"description": "Nothing."},
                    "503": {
                        "description": "Busy.",
                        "headers": {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
                    },
                },
            }
        }
    },
    "components": {
        "headers": {"RetryAfter": {"required": True, "schema": {"type": "integer"}}},
        "responses": {
            "Thing": {
                "description": "A thing.",
                "headers": {
                    "Location": {"schema": {"type": "string"}},
                    "X-Request-Id": {"required": True, "schema": {"type": "string"}},
                },
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
            }
        },
        "schemas": {
            "Thing": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 3}},
            }
        },
    },
}
(DESCRIBED,) = operation_specs(DOCUMENT)
PROMISES = ResponseValidator(DESCRIBED, Schemas(DOCUMENT))
JSON = "application/json"


def _broken(status, content=None, content_type=None, headers=None):
    return PROMISES.find_violations(
        Answer(status, b"", content_type, headers or {}, content, "a_code")
    )


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"name": "abc"}, JSON),
        (200, {"name": "abc"}, JSON, {"Location": "/thing"}),
        (200, {"name": "abc"}, JSON, {"Connection": "close"}),
        (204,),
        (503, None, None, {"Retry-After": "1"}),
    ],
)
def test_documented_answer_has_no_violations(answer):
    assert _broken(*answer) == ""


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        ((404, {}, JSON), "status 404 (a_code) is not documented"),
        ((204, None, None, {"Location": "/"}), "headers ['Location'] are not documented for 204"),
        ((200,), "a body is missing"),
        ((200, {"name": "a"}, "text/html"), "text/html is not documented for 200"),
        ((204, {"name": "a"}, JSON), "application/json is not documented for 204"),
        ((200, {}, JSON), "body name: is required"),
        ((200, {"name": "a", "more": 1}, JSON), "body more: is not a documented field"),
    ],
)
def test_undocumented_answer_is_reported(answer, broken):
    """HT-24: before it is sent."""
    assert _broken(*answer) == broken


def test_report_has_no_values():
    """LO-01, HT-03: it is logged."""
    assert _broken(200, {"name": "canary"}, JSON) == "body name: must have at most 3 characters"


def test_missing_required_header_is_reported():
    """HT-01."""
    assert _broken(503) == "headers ['Retry-After'] are missing from 503"
