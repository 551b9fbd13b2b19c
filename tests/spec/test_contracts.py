"""What has the document's tags, operations and codes by name agrees with it, in both directions."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from inspect import getsource
from pathlib import Path
from typing import Any

import pytest
import yaml

from accounts.services.credentials import SESSION_RIGHTS, rights
from accounts.services.policies import Question, Subject
from accounts.services.principal import CredentialKind
from models import wire
from oneself.commands import conformance as prove
from oneself.conformance.fuzz.checks import reasons
from oneself.conformance.rows.table import refusal_shapes
from oneself.conformance.suite import SUITES
from oneself.document import load_document, operation_specs, resolve
from oneself.runtime.policy_store import read_policies
from tests.support.error_classes import ALL_REFUSALS
from tests.third_party.journeys import FILES as JOURNEYS
from tests.third_party.journeys import read_steps

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
TAGS = {tag["name"] for tag in DOCUMENT["tags"]}
FUZZING: Mapping[str, Any] = tomllib.loads((CONTRACTS / "schemathesis.toml").read_text())
ACCESS: Mapping[str, Any] = yaml.safe_load((CONTRACTS / "access.yaml").read_text())
SPECMATIC: Mapping[str, Any] = yaml.safe_load((CONTRACTS / "specmatic.yaml").read_text())
#: Files of contracts/ that are about no dialect.
ABOUT_ALL = {"access", "edge", "probes", "reasons", "refusals", "specmatic", "specmatic-overlay"}


# ── Tags ─────────────────────────────────────────────────────────────────────────────────────────


def _kept_apart() -> set[str]:
    """The handlers that a linter keeps from each other."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    [names] = [each["modules"] for each in contracts if each["type"] == "independence"]
    return {name.removeprefix("handlers.") for name in names}


def _shaped() -> set[str]:
    """The dialects that refusals.yaml has a shape for."""
    [dialects] = [
        below
        for name, below in yaml.compose((CONTRACTS / "refusals.yaml").read_text()).value
        if name.value == "dialects"
    ]
    return {name.value for name, _ in dialects.value}


#: What there is of each tag, in every place that has something for each.
BY_TAG = {
    "operations": {each.dialect for each in OPERATIONS.values()},
    "handlers that use no other": _kept_apart(),
    "rows": {path.stem for path in CONTRACTS.glob("*.yaml")} - ABOUT_ALL,
    "shapes of refusals": _shaped(),
    "journeys": {path.name.partition(".")[0] for path in JOURNEYS},
}


@pytest.mark.parametrize("place", BY_TAG)
def test_a_tag_has_its_part_in_every_place(place):
    """A new dialect fails here until it is whole, and what is left of an old one too."""
    assert BY_TAG[place] == TAGS


def test_the_command_that_proves_knows_every_suite():
    """They are written again, so that its help needs nothing that proving needs."""
    [line] = [line for line in getsource(prove).splitlines() if line.startswith("_SUITES = ")]
    assert set(yaml.safe_load(f"[{line.partition('(')[2].rstrip(')')}]")) == {*SUITES}


# ── Types and refusals ───────────────────────────────────────────────────────────────────────────


def test_handlers_and_wire_types_have_the_schemas_of_the_document():
    """Without the generator: no handler is typed by what the document has no longer."""
    schemas = DOCUMENT["components"]["schemas"]
    written = "".join((ROOT / "handlers" / f"{tag}.py").read_text() for tag in TAGS)
    named = set(re.findall(r"\bwire\.([A-Za-z]+)", written))
    assert named <= schemas.keys() & vars(wire).keys()
    objects = {name for name, schema in schemas.items() if schema.get("type") == "object"}
    assert objects <= vars(wire).keys()


def _references(thing: Any) -> Iterator[str]:
    if isinstance(thing, Mapping):
        if isinstance(reference := thing.get("$ref"), str):
            yield reference
        for below in thing.values():
            yield from _references(below)
    elif isinstance(thing, list):
        for below in thing:
            yield from _references(below)


def test_every_component_is_used():
    """By an operation, or by what one uses: else a reader takes it for something that is served."""
    used = set(_references(DOCUMENT["paths"]))
    while new := {
        below
        for each in used
        for below in _references(resolve(DOCUMENT, {"$ref": each}))
        if below not in used
    }:
        used |= new
    here = {
        f"#/components/{kind}/{name}"
        for kind, components in DOCUMENT["components"].items()
        for name in components
        if kind not in {"securitySchemes", "examples"}
    }
    assert here - used == set()


def test_a_refusal_says_in_the_contracts_what_its_class_says():
    """Also those that no row brings about."""
    for each in ALL_REFUSALS.values():
        assert refusal_shapes().in_dialect("jitsudo", each.code).body["message"] == each.message


# ── Access ───────────────────────────────────────────────────────────────────────────────────────

KINDS = {kind.name.lower(): kind for kind in CredentialKind}
CELLS = [
    (operation_id, KINDS[kind], word)
    for operation_id, (_, *words) in ACCESS["operations"].items()
    for kind, word in zip(ACCESS["kinds"], words, strict=True)
    if kind in KINDS and word != "unread" and OPERATIONS[operation_id].accepted
]


def test_the_policies_allow_what_the_table_of_access_allows():
    """AZ-07, TK-10: every cell, by the policies alone, whatever the document accepts."""
    policies = read_policies(ROOT / "policies", DOCUMENT)
    somebody = Subject("usr_1", "tnt_1", ("owner",), "local", is_platform_admin=False)
    wrong = []
    for operation_id, kind, word in CELLS:
        held, scope = rights(kind, SESSION_RIGHTS), OPERATIONS[operation_id].scope
        question = Question(somebody, operation_id, kind.value, held, scope)
        decision = policies.decide(question)
        refused = {"login", "kind"} & {word}
        # Where both refuse, each may call it by another of the two codes.
        if decision.allowed == bool(refused) or (refused and decision.code is None):
            wrong.append((operation_id, kind.value, word, decision))
    assert wrong == []
    assert len(CELLS) > 150


# ── The fuzzer ───────────────────────────────────────────────────────────────────────────────────


def _included(section: Mapping[str, Any]) -> list[str]:
    named = section["include-operation-id"]
    return named if isinstance(named, list) else [named]


def test_the_fuzzer_names_operations_that_there_are():
    """A misspelt one would be left out, and its exceptions would be another's."""
    named = [name for section in FUZZING["operations"] for name in _included(section)]
    assert set(named) <= OPERATIONS.keys()
    assert reasons().keys() <= OPERATIONS.keys()


def test_a_valid_request_may_be_refused_where_a_reason_is_given_and_nowhere_else():
    """Wider statuses without a reason would let anything pass; a reason without them is idle."""
    widened = {
        name
        for section in FUZZING["operations"]
        if "positive_data_acceptance" in section.get("checks", {})
        for name in _included(section)
    }
    assert widened == reasons().keys()


def test_the_fuzzer_takes_from_dictionaries_that_there_are_for_fields_that_there_are():
    """It passes over a name that it does not know, and every dictionary is for something."""
    taken = set()
    for section in FUZZING["operations"]:
        for field, value in section.get("parameters", {}).items():
            taken.add(value["dictionary"])
            for operation_id in _included(section):
                assert field in set(_fields(operation_id)), operation_id
    assert taken == FUZZING["dictionaries"].keys()


def _fields(operation_id: str) -> Iterator[str]:
    operation = OPERATIONS[operation_id]
    yield from (f"{each['in']}.{each['name']}" for each in operation.parameters)
    for schema in operation.bodies.values():
        yield from (f"body.{name}" for name in resolve(DOCUMENT, schema).get("properties", {}))


# ── Other judges ─────────────────────────────────────────────────────────────────────────────────


def test_every_operation_is_on_a_journey():
    """And each step is of an operation that there is."""
    assert {step.operation_id for path in JOURNEYS for step in read_steps(path)} == {*OPERATIONS}


@pytest.mark.parametrize("path", JOURNEYS, ids=lambda path: path.name.partition(".")[0])
def test_a_step_goes_by_schemes_that_there_are(path):
    """A name that respect does not know is no credential, and the step tries something else."""
    steps = [
        step for workflow in yaml.safe_load(path.read_text())["workflows"]
        for step in workflow["steps"]
    ]  # fmt: skip
    schemes = DOCUMENT["components"]["securitySchemes"]
    for each in (each for step in steps for each in step.get("x-security", ())):
        # Some are written out, where respect would send them under another name.
        inline = each.get("scheme", {}).items()
        assert each.get("schemeName") in schemes or any(
            inline and inline <= scheme.items() for scheme in schemes.values()
        )


def test_specmatic_is_told_of_operations_and_refusals_that_there_are():
    """What it cannot ask is named by operation, code and field, all of them the document's."""
    for each in SPECMATIC["unasked"]:
        assert {*each.get("of", ()), *each.get("except", ())} <= OPERATIONS.keys()
    codes = set(DOCUMENT["components"]["schemas"]["RefusalCode"]["enum"])
    for each in SPECMATIC["refused"]:
        assert each["code"] in codes
        for operation_id, fields in each["of"].items():
            known = {name.partition(".")[2] for name in _fields(operation_id)} | {""}
            assert {*fields} <= known, operation_id
