"""The document as it is served: its servers, its examples, and its parts for each dialect."""

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator
from schemathesis import openapi

from oneself.document import load_document, operation_specs
from oneself.example_dates import STORY_DAY
from oneself.published_document import PublishedDocument, describe_passwords

URL = "https://accounts.example.com"
TAGS = [tag["name"] for tag in load_document()["tags"]]
WHOLE = ("/openapi.yaml", "/openapi.json", "/openapi-3.1.json")
PATHS = (*WHOLE, *(f"/openapi/{tag}.json" for tag in TAGS))
json_paths = pytest.mark.parametrize("path", PATHS[1:])
every_path = pytest.mark.parametrize("path", PATHS)


def publish(*, today: date) -> PublishedDocument:
    noon = datetime.combine(today, time(12), UTC)
    return PublishedDocument(load_document(), url=URL, clock=lambda: noon)


@pytest.fixture(scope="module")
def published() -> PublishedDocument:
    return publish(today=STORY_DAY)


def read(published: PublishedDocument, path: str) -> Any:
    content = published.find(path)
    assert content is not None
    return load(content) if path.endswith(".yaml") else json.loads(content)


def load(text: str | bytes) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


def parts(document: Any, name: str) -> list[Any]:
    """Return the values of a member anywhere in a document."""
    if isinstance(document, list):
        return [each for below in document for each in parts(below, name)]
    if not isinstance(document, dict):
        return []
    own = [document[name]] if name in document else []
    return own + [each for below in document.values() for each in parts(below, name)]


def test_paths_are_those_of_the_versions_and_dialects(published):
    assert tuple(path for path, _ in published.items()) == PATHS
    assert published.find("/openapi/unknown.json") is None
    assert published.find("/openapi") is None


@pytest.mark.parametrize(
    "path",
    [
        *(pytest.param(path, marks=pytest.mark.nightly) for path in WHOLE[1:]),
        *(path for path in PATHS if path not in WHOLE),
    ],
)
def test_document_is_valid(published, path):
    """Issue 18: judged by a validator that is not ours."""
    is_31 = path == "/openapi-3.1.json"
    validator = OpenAPIV31SpecValidator if is_31 else OpenAPIV30SpecValidator
    validator(read(published, path)).validate()


@json_paths
def test_document_names_the_deployment_as_its_server(published, path):
    """Clients C9."""
    [server] = read(published, path)["servers"]
    assert server["url"] == URL


@json_paths
def test_document_has_whole_urls_of_contact_and_error_catalogue(published, path):
    """Contract section 6.9; openapi-generator rejects a relative one."""
    document = read(published, path)
    assert "account.example" not in published.find(path).decode()
    assert document["info"]["contact"]["url"] == f"{URL}/"
    urls = [each["url"] for each in parts(document, "externalDocs")]
    assert f"{URL}/errors" in urls
    assert all(url.startswith("https://") for url in urls)


@every_path
def test_document_leaves_out_how_the_service_works(published, path):
    text = published.find(path).decode()
    for internal in ("x-workload", "x-mailed-secret", "tox run", "contracts/"):
        assert internal not in text
    assert "x-scope" in text


def test_extensions_of_the_document_are_about_its_api(published):
    """Issue 18: a new one is internal until it stands here."""
    names = set(re.findall(r'"(x-[a-z-]+)":', published.find("/openapi.json").decode()))
    assert names <= {
        *(
            "x-scope",
            "x-policy",
            "x-recent-authentication",
            "x-alias-of",
            "x-roots",
            "x-deprecation",
            "x-refusals",
        ),
        *("x-extension", "x-extension-reason"),
        *("x-enum-varnames", "x-enum-descriptions", "x-extensible-enum"),
    }


def test_yaml_and_json_are_the_same_document():
    published = publish(today=date(2029, 2, 28))
    assert read(published, "/openapi.yaml") == read(published, "/openapi.json")


def test_operations_and_components_are_those_of_the_document(published):
    assert {**read(published, "/openapi.json"), "servers": None} == {
        **load(
            re.sub(r" +x-(workload|mailed-secret): .*\n", "", source()).replace(
                "https://account.example", URL
            )
        ),
        "servers": None,
    }


def source() -> str:
    return (Path(__file__).parents[3] / "openapi" / "openapi.yaml").read_text()


# ── Dialects ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("tag", TAGS)
def test_document_of_a_dialect_has_its_operations_only(published, tag):
    document = read(published, f"/openapi/{tag}.json")
    own = [each.operation_id for each in operation_specs(load_document()) if each.dialect == tag]
    assert [each.operation_id for each in operation_specs(document)] == own
    assert [each["name"] for each in document["tags"]] == [tag]
    linked = {link["operationId"] for each in parts(document, "links") for link in each.values()}
    assert linked <= set(own)


@pytest.mark.parametrize("tag", TAGS)
def test_document_of_a_dialect_has_exactly_the_components_that_it_uses(published, tag):
    document = read(published, f"/openapi/{tag}.json")
    used = {tuple(each.split("/")[2:]) for each in parts(document, "$ref")}
    used |= {
        ("securitySchemes", name)
        for each in parts(document["paths"], "security")
        for alternative in each
        for name in alternative
    }
    listed = {(kind, name) for kind, named in document["components"].items() for name in named}
    assert listed == used
    whole = read(published, "/openapi.json")["components"]
    assert all(document["components"][kind][name] == whole[kind][name] for kind, name in listed)


# ── OpenAPI 3.1 ──────────────────────────────────────────────────────────────────────────────────


def test_31_has_no_keyword_of_30(published):
    document = read(published, "/openapi-3.1.json")
    assert document["openapi"] == "3.1.0"
    for keyword in ("nullable", "exclusiveMinimum", "exclusiveMaximum"):
        assert parts(document, keyword) == []
    formats = {each for each in parts(document, "format") if isinstance(each, str)}
    assert not formats & {"binary", "byte"}


def test_31_has_the_scope_of_each_operation_where_tools_look(published):
    """Contract section 6 (3): in `security`, for each kind of credential that has scopes."""
    operations = [
        (operation, operation["x-scope"])
        for item in read(published, "/openapi-3.1.json")["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "x-scope" in operation
    ]
    assert len(operations) == len(parts(load_document()["paths"], "x-scope"))
    for operation, scope in operations:
        expected = [] if scope in {"public", "any", "client"} else [scope]
        for alternative in operation["security"]:
            assert all(scopes == expected for scopes in alternative.values())


def test_30_has_no_scopes_that_30_forbids(published):
    """A list that is not empty is for `oauth2` and `openIdConnect` only."""
    for alternatives in parts(read(published, "/openapi.json")["paths"], "security"):
        assert all(scopes == [] for each in alternatives for scopes in each.values())


@pytest.mark.nightly
def test_31_is_read_by_a_client_of_31(published):
    """Issue 18: by a parser that is not ours."""
    schema = openapi.from_dict(read(published, "/openapi-3.1.json"))
    assert schema.statistic.operations.total == len(parts(load_document()["paths"], "x-scope"))


@pytest.mark.parametrize("path", ["/openapi.json", "/openapi-3.1.json"])
def test_nullable_values_are_null_in_both_versions(published, path):
    schemas = read(published, path)["components"]["schemas"]
    phone = schemas["NullablePhone"]
    assert phone["type"] == (["string", "null"] if "3.1" in path else "string")


# ── Examples ─────────────────────────────────────────────────────────────────────────────────────


def timestamps(text: str) -> list[datetime]:
    return [
        datetime.fromisoformat(each)
        for each in re.findall(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    ]


@every_path
def test_examples_happen_today(path):
    """Issue 18: examples that never expire; all of them move by the same days."""
    today = date(2028, 11, 30)
    before = timestamps(publish(today=STORY_DAY).find(path).decode())
    after = timestamps(publish(today=today).find(path).decode())
    assert [each - (today - STORY_DAY) for each in after] == before
    assert not before or today in {each.date() for each in after}


def test_seconds_of_examples_move_with_their_timestamps():
    days = timedelta(days=400)
    [before, after] = [
        parts(read(publish(today=today), "/openapi/oauth.json")["paths"], "exp")
        for today in (STORY_DAY, STORY_DAY + days)
    ]
    assert after == [each + int(days.total_seconds()) for each in before] != []


def test_nothing_but_timestamps_moves():
    texts = [
        publish(today=today).find("/openapi.json").decode()
        for today in (STORY_DAY, date(2099, 12, 31))
    ]
    plain = [re.sub(r"\d{4}-\d\d-\d\dT|(?<=:)[14]\d{9}(?=[,}])", "", text) for text in texts]
    assert plain[0] == plain[1]


def test_examples_happen_today_in_a_process_that_runs_for_years():
    """Contract F9: three months after the start, a copied example would have expired."""
    now = datetime.combine(STORY_DAY, time(23, 59, 59), UTC)
    published = PublishedDocument(load_document(), url=URL, clock=lambda: now)
    contents = []
    for _ in range(2):
        contents.append(published.find("/openapi/hantera.json"))
        assert now.date() in {each.date() for each in timestamps(contents[-1].decode())}
        now += timedelta(days=730)
    assert contents[0] != contents[1]


def test_content_is_the_same_all_day():
    """For its ETag, and made once."""
    now = datetime.combine(STORY_DAY, time(), UTC)
    published = PublishedDocument(load_document(), url=URL, clock=lambda: now)
    first = published.find("/openapi.json")
    now += timedelta(hours=23, minutes=59)
    assert published.find("/openapi.json") is first


@pytest.mark.parametrize(
    ("min_length", "has_classes", "rule"),
    [
        (8, True, "At least 8 characters with an upper-case letter, a lower-case letter and a"),
        (12, True, "At least 12 characters with an upper-case letter, a lower-case letter and a"),
        (15, False, "At least 15 characters;\n"),
    ],
)
def test_rule_for_passwords_is_that_of_the_deployment(min_length, has_classes, rule):
    """Newcomer F23."""
    document = load_document()
    described = describe_passwords(document, min_length=min_length, has_classes=has_classes)
    served = PublishedDocument(described, url=URL, clock=partial(datetime.now, UTC))
    descriptions = {
        read(served, path)["components"]["schemas"]["NewPassword"]["description"] for path in WHOLE
    }
    [description] = descriptions
    assert description.startswith(rule)
    assert description.endswith("not made of words from the account.\n")
    assert document == load_document()
