"""Live document: examples of the deployment replace those of the document, and nothing else."""

from copy import deepcopy

from oneself.conformance.fuzz.live_document import live_document
from oneself.document import load_document, resolve

VALUES = {
    "email": "alice@example.com",
    "password": "P",
    "other_password": "Q",
    "tenant_uuid": "01933e8f-7c45-7123-9abc-123456789abc",
    "client_id": "cli_0f0f0f0f0f0f",
    "client_secret": "cls_0",
    "session_token": "sess_0",
    "cursor": "c",
    "next_month": "2027-01-01T00:00:00Z",
    "own_scopes": ["me/profile:read"],
}


def operation(document, path, method):
    return document["paths"][path][method]


def test_body_examples_are_replaced():
    body = operation(live_document(VALUES), "/resources/me/pat", "post")["requestBody"]
    content = body["content"]["application/json"]
    assert content["example"]["clientId"] == "cli_0f0f0f0f0f0f"
    assert content["example"]["expiresAt"] == "2027-01-01T00:00:00Z"
    assert content["schema"]["properties"]["clientSecret"]["example"] == "cls_0"


def test_parameter_examples_are_replaced():
    parameters = operation(live_document(VALUES), "/v1/users/me/password", "post")["parameters"]
    assert {each["name"]: each["example"] for each in parameters} == {
        "X-Tenant-ID": VALUES["tenant_uuid"]
    }


def test_live_document_changes_only_examples():
    def without_examples(value):
        if isinstance(value, dict):
            resolved = resolve(load_document(), value)
            return {
                name: without_examples(child)
                for name, child in resolved.items()
                if name != "example"
            }
        return [without_examples(item) for item in value] if isinstance(value, list) else value

    live, original = live_document(VALUES), load_document()
    for path in original["paths"]:
        assert without_examples(live["paths"][path]) == without_examples(original["paths"][path])


def test_live_document_leaves_the_original_unchanged():
    before = deepcopy(load_document())
    live_document(VALUES)
    assert load_document() == before
