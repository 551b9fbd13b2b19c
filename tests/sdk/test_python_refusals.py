"""Refusals in Python: each example of the document is raised as its own exception."""

import inspect
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import yaml
from oneself_client import Oneself, OneselfError, Refused, Retries, errors

from tests.support.service import ROOT

DOCUMENT = yaml.safe_load((ROOT / "openapi" / "openapi.yaml").read_text())
CODES = DOCUMENT["components"]["schemas"]["RefusalCode"]["x-extensible-enum"]


def examples() -> Iterator[Any]:
    for name, response in DOCUMENT["components"]["responses"].items():
        if name[-3:].isdigit() and int(name[-3:]) >= 400:
            (content,) = response["content"].values()
            for code, example in content["examples"].items():
                yield pytest.param(int(name[-3:]), code, example["value"], id=f"{name}-{code}")


EXAMPLES = list(examples())


def client_with_response(status: int, body: Any, **headers: str) -> Oneself:
    """Return a client that gets this response to every request."""
    answer = httpx2.Response(status, json=body, headers=headers)
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _: answer))
    return Oneself("http://account.example", http=http, retries=Retries(attempts=1))


def test_each_code_has_an_example():
    assert {parameter.values[1] for parameter in EXAMPLES} == set(CODES)


@pytest.mark.parametrize(("status", "code", "body"), EXAMPLES)
def test_example_is_raised_as_the_class_of_its_code(status, code, body):
    class_ = getattr(errors, "".join(word.capitalize() for word in code.split("_")))
    with pytest.raises(Refused) as refused:
        client_with_response(
            status, body, **{"X-Request-Id": "req_0a1b2c3d4e5f"}
        ).status.get_health()
    error = refused.value
    assert type(error) is class_
    assert issubclass(class_, OneselfError)
    assert (error.code, error.status, error.body) == (code, status, body)
    assert error.message == body.get("message", error.message)
    assert error.message in str(body)
    assert error.request_id == "req_0a1b2c3d4e5f"
    assert str(error).endswith(f"({status} {code}, request req_0a1b2c3d4e5f)")
    parts = [error.message, *error.notices, *map(str, error.violations)]
    assert [part for part in parts if part not in str(error)] == []
    assert bool(error.violations) == any(f"'{key}'" in str(body) for key in ("violations", "loc"))


def test_classes_match_the_codes():
    classes = {
        class_
        for _, class_ in inspect.getmembers(errors, inspect.isclass)
        if issubclass(class_, Refused) and class_ is not Refused
    }
    assert {class_.code for class_ in classes} == set(CODES)
    assert set(errors.REFUSALS.values()) == classes


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            403,
            {
                "error": {
                    "code": "policy_denied",
                    "message": "No.",
                    "details": {"notices": ["Later."]},
                },
                "request_id": "req_0a1b2c3d4e5f",
                "timestamp": "2026-04-05T10:00:00Z",
            },
        ),
        (403, {"code": "policy_denied", "message": "No.", "notices": ["Later."]}),
    ],
)
def test_notices_of_policies_are_listed(status, body):
    with pytest.raises(errors.PolicyDenied) as refused:
        client_with_response(status, body).status.get_health()
    assert refused.value.notices == ("Later.",)


@pytest.mark.parametrize(
    "body",
    [
        {
            "code": "weak_password",
            "message": "No.",
            "details": {
                "violations": [
                    {"in": "body", "field": "/new_password", "rule": "must have a digit"}
                ]
            },
        },
        {
            "detail": [
                {
                    "loc": ["body", "new_password"],
                    "msg": "must have a digit",
                    "type": "weak_password",
                }
            ]
        },
    ],
)
def test_violations_are_alike_in_every_dialect(body):
    with pytest.raises(errors.WeakPassword) as refused:
        client_with_response(422, body).status.get_health()
    assert refused.value.violations == (
        errors.Violation("body", "/new_password", "must have a digit"),
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {
                "error": {
                    "code": "invalid_request",
                    "message": "The request does not have the documented shape.",
                    "details": {
                        "violations": [
                            {"in": "body", "field": "/email", "rule": "is required"},
                            {"in": "body", "field": "", "rule": "must be an object"},
                        ]
                    },
                }
            },
            (
                "The request does not have the documented shape. body /email: is required;"
                " body: must be an object (422 invalid_request, request req_0a1b2c3d4e5f)"
            ),
        ),
        (
            {"detail": [{"loc": ["body", "locale"], "msg": "is wrong", "type": "invalid_request"}]},
            "body /locale: is wrong (422 invalid_request, request req_0a1b2c3d4e5f)",
        ),
        (
            {"code": "policy_denied", "message": "No.", "notices": ["Later."]},
            "No. Later. (422 policy_denied, request req_0a1b2c3d4e5f)",
        ),
    ],
)
def test_refusal_is_printed_with_its_fields_and_request_id(body, text):
    """newcomer F19."""
    client = client_with_response(422, body, **{"X-Request-Id": "req_0a1b2c3d4e5f"})
    with pytest.raises(Refused) as refused:
        client.status.get_health()
    assert str(refused.value) == text


def test_unknown_code_is_a_refusal():
    with pytest.raises(Refused) as refused:
        client_with_response(400, {"code": "too_good", "message": "No."}).status.get_health()
    assert type(refused.value) is Refused
    assert refused.value.code == "too_good"


def test_unknown_scopes_and_event_kinds_are_accepted():
    """clients C10: a service newer than the client."""
    operations = DOCUMENT["paths"]
    [pat] = operations["/resources/me/pat"]["get"]["responses"]["200"]["content"][
        "application/json"
    ]["example"]
    pats = client_with_response(200, [{**pat, "scopes": ["me/stars:read"]}]).hantera.list_pats()
    assert pats[0].scopes == ["me/stars:read"]
    page = operations["/v1/me/events"]["get"]["responses"]["200"]["content"]["application/json"][
        "example"
    ]
    events = client_with_response(
        200,
        {
            **page,
            "data": {
                **page["data"],
                "items": [{**each, "kind": "star_seen"} for each in page["data"]["items"]],
            },
        },
    ).ipto.list_events()
    assert {each.kind for each in events.data.items} == {"star_seen"}


@pytest.mark.parametrize(
    ("status", "body"), [(418, {}), (500, "<h1>502</h1>"), (200, []), (200, {"state": "ok"})]
)
def test_undocumented_response_is_not_a_refusal(status, body):
    with pytest.raises(errors.UnexpectedAnswer) as unexpected:
        client_with_response(status, body).status.get_health()
    assert unexpected.value.status == status


def test_unknown_enum_value_and_field_are_accepted():
    health = client_with_response(200, {"status": "splendid", "since": "today"}).status.get_health()
    assert health.status == "splendid"
