"""Contracts, handlers and tools agree with the tags, operations and codes of the document."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from accounts.services.credentials import SESSION_RIGHTS, rights
from accounts.services.policies.policy_set import Question, Subject
from accounts.services.principal import CredentialKind
from models import wire
from oneself.document import DOCUMENT_PATH, load_document, operation_specs, resolve
from oneself.runtime.policy_store import read_policies
from oneself_conformance.cases.loader import refusal_shapes
from oneself_conformance.cases.refusal_responses import update_document
from oneself_conformance.document import DATA
from oneself_conformance.fuzz.checks import reasons
from tests.support.error_classes import ALL_REFUSALS
from tests.third_party.journeys import FILES as JOURNEYS
from tests.third_party.journeys import read_steps

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
DOCUMENT = load_document()
OPERATIONS = {each.operation_id: each for each in operation_specs(DOCUMENT)}
TAGS = {tag["name"] for tag in DOCUMENT["tags"]}
FUZZING: Mapping[str, Any] = tomllib.loads((DATA / "schemathesis.toml").read_text())
ACCESS: Mapping[str, Any] = yaml.safe_load((CONTRACTS / "access.yaml").read_text())
SPECMATIC: Mapping[str, Any] = yaml.safe_load((CONTRACTS / "specmatic.yaml").read_text())


# ── Tags ─────────────────────────────────────────────────────────────────────────────────────────


def _independent_handlers() -> set[str]:
    """Return the handlers that import-linter keeps independent."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    [names] = [each["modules"] for each in contracts if each["name"] == "No dialect uses another"]
    return {name.removeprefix("handlers.") for name in names}


def _dialects_with_refusal_shape() -> set[str]:
    """Return the dialects that have a shape in refusals.yaml."""
    [dialects] = [
        node
        for name, node in yaml.compose((DATA / "refusals.yaml").read_text()).value
        if name.value == "dialects"
    ]
    return {name.value for name, _ in dialects.value}


#: The tags that each part of the repository covers.
BY_TAG = {
    "operations": {each.dialect for each in OPERATIONS.values()},
    "independent handlers": _independent_handlers(),
    "rows": {path.stem for path in (DATA / "rows").glob("*.yaml")} - {"edge"},
    "shapes of refusals": _dialects_with_refusal_shape(),
    "journeys": {path.name.partition(".")[0] for path in JOURNEYS},
}


@pytest.mark.parametrize("place", BY_TAG)
def test_every_tag_has_all_of_its_parts(place):
    """A new dialect fails here until it is complete, and so do remains of a removed one."""
    assert BY_TAG[place] == TAGS


# ── Types and refusals ───────────────────────────────────────────────────────────────────────────


def test_wire_types_and_schemas_correspond():
    """Also without the generator, no handler uses a type that the document no longer has."""
    schemas = DOCUMENT["components"]["schemas"]
    sources = "".join((ROOT / "handlers" / f"{tag}.py").read_text() for tag in TAGS)
    named = set(re.findall(r"\bwire\.([A-Za-z]+)", sources))
    assert named <= schemas.keys() & vars(wire).keys()
    objects = {name for name, schema in schemas.items() if schema.get("type") == "object"}
    assert objects <= vars(wire).keys()


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def test_components_are_used():
    """By an operation, or by a component that an operation uses."""
    used = set(_references(DOCUMENT["paths"]))
    while new := {
        reference
        for each in used
        for reference in _references(resolve(DOCUMENT, {"$ref": each}))
        if reference not in used
    }:
        used |= new
    components = {
        f"#/components/{kind}/{name}"
        for kind, members in DOCUMENT["components"].items()
        for name in members
        if kind not in {"securitySchemes", "examples"}
    }
    assert components - used == set()


def test_documented_refusals_are_up_to_date():
    """`tox run -e codegen` writes them from refusals.yaml."""
    text = DOCUMENT_PATH.read_text()
    assert update_document(text) == text


def test_refusals_are_generated_without_reading_the_document():
    """It may refer to a response that is not generated yet."""
    program = (
        "from oneself_conformance.cases.refusal_responses import update_document;"
        "from oneself_conformance.document import DATA, load_document;"
        "assert update_document((DATA / 'openapi.yaml').read_text());"
        "assert load_document.cache_info().misses == 0"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "contracts")}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("line", ["another", "    Ipto400: {}"])
def test_edited_refusals_of_the_document_are_written_again(line):
    text = DOCUMENT_PATH.read_text()
    edited = text.replace("    Ipto400:\n", f"{line}\n    Ipto400:\n", 1)
    assert update_document(edited) == text


def test_document_without_a_place_for_refusals_is_rejected():
    with pytest.raises(ValueError, match="no place"):
        update_document("openapi: 3.0.3")


def test_messages_in_refusals_yaml_match_the_classes():
    """Also of refusals that no row causes."""
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


def test_policies_agree_with_the_access_table():
    """AZ-07, TK-10: every cell, by the policies alone."""
    policies = read_policies(ROOT / "policies", DOCUMENT)
    user = Subject(
        "usr_1",
        "tnt_1",
        "uuid-1",
        ("owner",),
        "local",
        is_platform_admin=False,
        email_verified=False,
    )
    wrong = []
    for operation_id, kind, word in CELLS:
        scopes, scope = rights(kind, SESSION_RIGHTS), OPERATIONS[operation_id].scope
        action = OPERATIONS[operation_id].action
        question = Question(user, action, kind.value, scopes, scope)
        decision = policies.decide(question)
        refused = {"login", "kind"} & {word}
        # If both refuse, the two codes may differ.
        if decision.allowed == bool(refused) or (refused and decision.code is None):
            wrong.append((operation_id, kind.value, word, decision))
    assert wrong == []
    assert len(CELLS) > 150


# ── The fuzzer ───────────────────────────────────────────────────────────────────────────────────


def _included(section: Mapping[str, Any]) -> list[str]:
    named = section["include-operation-id"]
    return named if isinstance(named, list) else [named]


def test_fuzzer_configuration_names_existing_operations():
    """A misspelt one would be ignored."""
    named = [name for section in FUZZING["operations"] for name in _included(section)]
    assert set(named) <= OPERATIONS.keys()
    assert reasons().keys() <= OPERATIONS.keys()


def test_valid_requests_are_refused_only_for_a_listed_reason():
    """Additional statuses without a reason would accept anything."""
    widened = {
        name
        for section in FUZZING["operations"]
        if "positive_data_acceptance" in section.get("checks", {})
        for name in _included(section)
    }
    assert widened == reasons().keys()


def test_fuzzer_dictionaries_are_used_for_existing_fields():
    """Schemathesis ignores unknown names."""
    used = set()
    for section in FUZZING["operations"]:
        for field, value in section.get("parameters", {}).items():
            used.add(value["dictionary"])
            for operation_id in _included(section):
                assert field in set(_fields(operation_id)), operation_id
    assert used == FUZZING["dictionaries"].keys()


def _fields(operation_id: str) -> Iterator[str]:
    operation = OPERATIONS[operation_id]
    yield from (f"{each['in']}.{each['name']}" for each in operation.parameters)
    for schema in operation.bodies.values():
        yield from (f"body.{name}" for name in resolve(DOCUMENT, schema).get("properties", {}))


# ── Third-party tools ────────────────────────────────────────────────────────────────────────────


def test_every_operation_is_part_of_a_journey():
    """And each step is an existing operation."""
    assert {step.operation_id for path in JOURNEYS for step in read_steps(path)} == {*OPERATIONS}


@pytest.mark.parametrize("path", JOURNEYS, ids=lambda path: path.name.partition(".")[0])
def test_journey_steps_use_existing_security_schemes(path):
    """Respect sends no credential for an unknown name."""
    steps = [
        step for workflow in yaml.safe_load(path.read_text())["workflows"]
        for step in workflow["steps"]
    ]  # fmt: skip
    schemes = DOCUMENT["components"]["securitySchemes"]
    for each in (each for step in steps for each in step.get("x-security", ())):
        # Inline, where respect would send them under another name.
        inline = each.get("scheme", {}).items()
        assert each.get("schemeName") in schemes or any(
            inline and inline <= scheme.items() for scheme in schemes.values()
        )


def test_specmatic_exceptions_name_existing_operations_codes_and_fields():
    for each in SPECMATIC["uncovered"]:
        assert {*each.get("of", ()), *each.get("except", ())} <= OPERATIONS.keys()
    codes = set(DOCUMENT["components"]["schemas"]["RefusalCode"]["x-extensible-enum"])
    for each in SPECMATIC["refused"]:
        assert each["code"] in codes
        for operation_id, fields in each["of"].items():
            known = {name.partition(".")[2] for name in _fields(operation_id)} | {""}
            assert {*fields} <= known, operation_id
