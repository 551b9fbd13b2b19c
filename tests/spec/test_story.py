"""The examples of the document tell one story of one person: the same facts in each dialect."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.crypto import tokens
from oneself.document import load_document, operation_specs
from oneself.example_dates import STORY_DAY

DOCUMENT = load_document()

#: What the examples say of the person, by the names that the dialects have for it.
PERSON = {
    "user_id": "usr_a1b2c3d4e5f6",
    "sub": "usr_a1b2c3d4e5f6",
    "identityId": "01933e8f-7c45-7123-9abc-123456789abc",
    "external_id": "abc123Zq90",
    "username": "alice",
    "display_name": "Alice Chen",
    "first_name": "Alice",
    "last_name": "Chen",
    "phone": "+15550100123",
    "locale": "de-DE",
    "timezone": "Europe/Berlin",
    "tz": "Europe/Berlin",
    "tenant_id": "tnt_f6e5d4c3b2a1",
    "tenant_name": "Acme Corp",
    "tenant_display_name": "Acme Corp",
    "X-Tenant-ID": "2489E9AD-2EE2-8E00-8EC9-32D5F69181C0",
}
#: Facts that change in the story, from the first to the last.
CHANGES = {
    "email": {"alice@example.com", "alice@example.net", "a…@e….com"},
    "picture": {
        "https://example.com/photo.jpg",
        "http://localhost:8080/resources/me/profile/picture",
    },
    "password": {"s3cur3P@ssw0rd!"},
    "current_password": {"s3cur3P@ssw0rd!"},
    "new_password": {"n3wS3cur3P@ss!"},
}
#: The kinds of secret of which the story has more than one: each mail has its own, and a renewed
#: token is another one.
SEVERAL = {"ots_": 4, "sess_": 2, "tok_": 2}
SECRETS = ("sess_", "tok_", "pat_", "ref_", "cls_", "ots_")


def _facts(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each scalar of an example, with the name that it has there."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _facts(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _facts(value, name)
    elif node is not None:
        yield name, node


def _examples(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the facts of all examples but those of refusals, which tell of no account."""
    if isinstance(node, dict):
        if "example" in node:
            yield from _facts(node["example"], node.get("name", name))
        for key, value in node.items():
            if key not in {"example", "examples", "required", "enum"}:
                yield from _examples(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _examples(value, name)


@pytest.fixture(scope="module")
def told() -> dict[str, set[Any]]:
    """All values in examples, by name."""
    values = defaultdict(set)
    for name, value in _examples(DOCUMENT):
        values[name].add(value)
    return values


@pytest.mark.parametrize("name", PERSON)
def test_examples_name_one_person(told, name):
    """Contract F9, section 6 (4): in each dialect, in requests and in responses."""
    assert told[name] == {PERSON[name]}


@pytest.mark.parametrize("name", CHANGES)
def test_changing_facts_have_the_values_of_the_story(told, name):
    assert told[name] <= CHANGES[name]


def test_examples_of_one_object_are_the_same_everywhere():
    """Ids, tokens and secrets: a list shows what was created."""
    found = defaultdict(set)
    texts = [value for _, value in _examples(DOCUMENT) if isinstance(value, str)]
    for text in texts:
        for prefix in re.findall(r"^(?:usr|tnt|cli|ses|key|req)_|^ipto_|^[a-z]{3,4}_", text):
            found[prefix].add(text)
    assert {prefix: len(found[prefix]) for prefix in found} == {
        **dict.fromkeys(found, 1),
        **SEVERAL,
    }
    assert {*SECRETS, "ipto_", "usr_", "tnt_", "cli_", "ses_", "key_", "req_"} <= {*found}


def test_tokens_of_examples_are_well_formed():
    """A client that checks the form, as secret scanners do, accepts each of them."""
    checked = 0
    for _, value in _examples(DOCUMENT):
        prefix = next((each for each in SECRETS if str(value).startswith(each)), None)
        if prefix is not None:
            assert tokens.is_well_formed(value, prefix), prefix
            checked += 1
    assert checked > 30


def test_hantera_shows_the_person_that_scaikey_shows():
    """Their profiles, and that of Hyperclast and ipto."""
    responses = DOCUMENT["components"]["responses"]
    shown = {
        name: responses[name]["content"]["application/json"]["example"]
        for name in ("ScaikeyProfile", "HanteraProfile", "HyperclastUser")
    }
    user = _example_of("ipto.getCurrentUser")["data"]
    assert shown["HanteraProfile"]["name"] == user["display_name"] == PERSON["display_name"]
    assert shown["ScaikeyProfile"]["id"] == user["user_id"]
    assert shown["HanteraProfile"]["id"] == PERSON["identityId"]
    assert len({each["email"] for each in (*shown.values(), user)}) == 1


@pytest.mark.parametrize(
    ("created", "listed"),
    [("ipto.createApiKey", "ipto.listApiKeys"), ("hantera.createPat", "hantera.listPats")],
)
def test_list_shows_what_was_created(created, listed):
    item, new = _example_of(listed), _example_of(created)
    if listed.startswith("ipto."):
        item, new = item["data"]["items"], new["data"]
    (shown,) = item
    assert {name: shown[name] for name in new.keys() & shown.keys()} == {
        name: new[name] for name in new.keys() & shown.keys()
    }


def test_personal_access_token_is_the_one_of_the_list():
    assert _example_of("hantera.getPat") == _example_of("hantera.listPats")[0]


def test_examples_happen_on_one_day():
    """Later dates are the ends of what began on it."""
    days = {
        (name, value[:10])
        for name, value in _examples(DOCUMENT)
        if re.match(r"\d{4}-\d\d-\d\dT", str(value))
    }
    ends = re.compile("erased|(latest_?)?expires|until", re.IGNORECASE)
    began = {day for name, day in days if not ends.match(name)}
    assert began == {STORY_DAY.isoformat()}
    assert all(day >= STORY_DAY.isoformat() for _, day in days)


def _example_of(operation_id: str) -> Any:
    (spec,) = (each for each in operation_specs(DOCUMENT) if each.operation_id == operation_id)
    return spec.responses[min(spec.responses)]["content"]["application/json"]["example"]
