"""The JSON Schema of rows, as editors use it, accepts all rows and rejects broken ones."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
import yaml

from oneself_conformance.cases.expansion import _SPREADS, _TRAITS
from oneself_conformance.cases.request_building import CREDENTIALS
from oneself_conformance.cases.table import FILES, SERVICES
from oneself_conformance.document import DATA

SCHEMA = json.loads((DATA / "rows.schema.json").read_bytes())
ROWS = DATA / "rows"


class Untagged(yaml.CSafeLoader):
    """A loader that reads a matcher as its value, as editors do."""


def _construct(loader: Untagged, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


Untagged.add_multi_constructor("!", _construct)


def problems(rows: Any) -> list[str]:
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(rows)]


def test_schema_is_valid_itself():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("file", FILES)
def test_rows_of_each_file_are_valid_and_name_the_schema(file: str):
    path = ROWS / f"{file}.yaml"
    first, rest = path.read_text().split("\n", 1)
    # A safe loader whose tags are values.
    assert problems(yaml.load(rest, Loader=Untagged)) == []  # noqa: S506
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == (DATA / "rows.schema.json").resolve()


def test_each_file_is_known():
    assert {path.relative_to(ROWS).as_posix() for path in ROWS.rglob("*")} - {"published"} == {
        f"{file}.yaml" for file in FILES
    }


def test_schema_has_the_words_of_the_code():
    definitions = SCHEMA["definitions"]
    family = definitions["family"]["properties"]
    assert family.keys() == {*_TRAITS, "spread", "except"}
    assert family["spread"]["enum"] == [each for each in _SPREADS if each != "once"]
    assert {*definitions["row"]["properties"]["service"]["enum"]} == SERVICES
    assert {*definitions["credentials"]["anyOf"][0]["enum"]} == {*CREDENTIALS, "none"}


ROW = {
    "promise": "A session reads the user",
    "source": "RFC 9110",
    "operation": "ipto.getCurrentUser",
    "expect": {"status": 200},
}
STEP = {"operation": "ipto.getCurrentUser"}


@pytest.mark.parametrize(
    "breaking",
    [
        lambda row: row.pop("promise"),
        lambda row: row.pop("source"),
        lambda row: row.pop("expect"),
        lambda row: row.pop("operation"),
        lambda row: row.update(promise=1),
        lambda row: row.update(operation="getCurrentUser"),
        lambda row: row.update(expected=200),
        lambda row: row.update(expect={}),
        lambda row: row.update(expect={"status": 2000}),
        lambda row: row.update(expect={"status": 200, "json": {}}),
        lambda row: row.update(expect={"refusal": "Not Found"}),
        lambda row: row.update(expect={"status": 200, "published": {"status": "20x"}}),
        lambda row: row.update(expect={"refusal": "a", "violations": [{"in": "body"}]}),
        lambda row: row.update({"with": "token"}),
        lambda row: row.update({"with": {"bearer": "a", "basic": "b"}}),
        lambda row: row.update({"with": []}),
        lambda row: row.update({"as": "Base User"}),
        lambda row: row.update(service="other"),
        lambda row: row.update(restores=False),
        lambda row: row.update(keep={"a": "b"}),
        lambda row: row.update(request={"body": {}}),
        lambda row: row.update(request={"raw": {"repeat": "a"}}),
        lambda row: row.update(request={"headers": {"A": 1}}),
        lambda row: row.update(request={"picture": {"format": "png", "size": [1]}}),
        lambda row: row.update(before=[]),
        lambda row: row.update(before=[{**STEP, "act": "add client"}]),
        lambda row: row.update(before=[{"times": 2}]),
        lambda row: row.update(before=[{**STEP, "times": 0}]),
        lambda row: row.update(for_each={"is_public": True}),
        lambda row: row.update(for_each={"spread": "all"}),
    ],
    ids=lambda breaking: str(breaking.__code__.co_firstlineno),
)
def test_broken_row_is_rejected(breaking: Callable[[dict[str, Any]], object]):
    row = json.loads(json.dumps(ROW))
    assert problems([row]) == []
    breaking(row)
    assert problems([row]) != []
