"""Live document: examples of the deployment replace those of the document, and nothing else."""

from copy import deepcopy

from oneself.document import load_document, resolve
from oneself_conformance.fuzz.live_document import live_document

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


#: What the overlay adds to schemas, or removes.
OVERLAID = {"additionalProperties", "client_id", "client_secret", "type", "format"}


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
                if name not in {"example", "links"} | OVERLAID
            }
        return [without_examples(item) for item in value] if isinstance(value, list) else value

    live, original = live_document(VALUES), load_document()
    for path in original["paths"]:
        assert without_examples(live["paths"][path]) == without_examples(original["paths"][path])


def test_live_document_leaves_the_original_unchanged():
    before = deepcopy(load_document())
    live_document(VALUES)
    assert load_document() == before


def test_overlay_gives_links_their_bodies():
    """Clients C1: the document has none, and a stateful run follows the links of tokens."""
    links = operation(live_document(VALUES), "/oauth/token", "post")["responses"]["200"]["links"]
    assert {name: link["requestBody"] for name, link in links.items()} == {
        "refresh": {
            "grant_type": "refresh_token",
            "refresh_token": "$response.body#/refresh_token",
        },
        "introspect": {"token": "$response.body#/access_token"},
        "revoke": {"token": "$response.body#/access_token"},
    }
    assert all(link["operationId"] for link in links.values())


def test_overlay_lets_only_strings_into_forms():
    """Clients C11: a list would be sent as a repeated parameter, which is rejected."""
    schemas = live_document(VALUES)["components"]["schemas"]
    forms = [name for name in schemas if name.startswith("Oauth") and name.endswith("Request")]
    assert len(forms) == 3
    for name in forms:
        assert schemas[name]["additionalProperties"]["type"] == "string", name
