"""Examples that the deployment knows stand where they belong, and nothing else is changed."""

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


def test_the_example_of_a_body_and_of_its_fields_is_live():
    body = operation(live_document(VALUES), "/resources/me/pat", "post")["requestBody"]
    content = body["content"]["application/json"]
    assert content["example"]["clientId"] == "cli_0f0f0f0f0f0f"
    assert content["example"]["expiresAt"] == "2027-01-01T00:00:00Z"
    assert content["schema"]["properties"]["clientSecret"]["example"] == "cls_0"


def test_the_example_of_a_parameter_is_live():
    parameters = operation(live_document(VALUES), "/v1/users/me/password", "post")["parameters"]
    assert {each["name"]: each["example"] for each in parameters} == {
        "X-Tenant-ID": VALUES["tenant_uuid"]
    }


def test_only_examples_differ():
    def without_examples(thing):
        if isinstance(thing, dict):
            whole = resolve(load_document(), thing)
            return {
                name: without_examples(below) for name, below in whole.items() if name != "example"
            }
        return [without_examples(each) for each in thing] if isinstance(thing, list) else thing

    live, written = live_document(VALUES), load_document()
    for path in written["paths"]:
        assert without_examples(live["paths"][path]) == without_examples(written["paths"][path])


def test_the_document_itself_stays_as_it_is():
    before = deepcopy(load_document())
    live_document(VALUES)
    assert load_document() == before
