"""Checks of a policy file, before it becomes part of a set."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import cedarpy
from cedarpy.pst import Template

from accounts.errors import Forbidden, InvalidRequest
from accounts.values.names import normalize_name

_ANNOTATIONS = frozenset({"id", "code", "notice", "description"})
_LONGEST_ID = 100
_LONGEST_NOTICE = 200

#: Strings and comments of Cedar, in which brackets and semicolons have no meaning.
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*', re.DOTALL)
#: Each of these may nest an expression one level deeper. At 1,000 levels Cedar's parser overflows
#: the stack, and at 3,000 terms the reader of its result; both end the process (CWE-674).
_STEP = re.compile(r"[(\[{.*+-]|&&|\|\||\bif\b")
_MOST_STEPS = 300

#: The codes of the acts' refusals; the HTTP layer adds classes of its own.
_CODES = frozenset(
    refusal.code
    for refusal in Forbidden.__subclasses__()
    if refusal.__module__ == Forbidden.__module__
)

_POSITION = re.compile(r"^for policy `policy\d+`, ")


def find_problems(
    file: str, text: str, schema: cedarpy.Schema, ids: dict[str, str]
) -> Iterator[str]:
    """Yield the problems of a file, and add its policy ids to `ids`, with their positions."""
    if problem := _parse_problem(text):
        yield f"{file}: {problem}."
        return
    parsed = cedarpy.PolicySet.from_str(text).to_pst()
    for position in in_order(parsed.templates):
        yield f"{file}: policy {_number(position)} is a template, and nothing fills its slots."
    for position in in_order(parsed.static_policies):
        where = f"{file}: policy {_number(position)}"
        policy = parsed.static_policies[position]
        for problem in _annotation_problems(policy):
            yield f"{where} {problem}."
        name = policy.annotations.get("id", "")
        if name and name in ids:
            yield f"{where} has the @id {name!r} of {ids[name]}."
        ids.setdefault(name, where)
    invalid: dict[str, str] = {}
    for error in cedarpy.validate_policies(text, schema).errors:
        # The first error of each policy: Cedar repeats it for every action that it concerns.
        invalid.setdefault(error.policy_id, _POSITION.sub("", error.error))
    for position in in_order(invalid):
        yield f"{file}: policy {_number(position)} does not fit the schema: {invalid[position]}."


def _parse_problem(text: str) -> str | None:
    """Return which policy of a file is malformed or too large to be parsed safely, or None."""
    code, start = _TEXT.sub(lambda match: " " * len(match[0]), text), 0
    for number, statement in enumerate(code.split(";"), 1):
        if len(_STEP.findall(statement)) > _MOST_STEPS:
            return f"policy {number} is nested too deeply or too long, and must be split"
        end = start + len(statement) + 1
        try:
            cedarpy.PolicySet.from_str(text[start:end]).to_pst()
        except ValueError as error:
            return f"policy {number}: {error}"
        start = end
    return None


def _annotation_problems(policy: Template) -> Iterator[str]:
    annotations = policy.annotations
    for name in sorted(annotations.keys() - _ANNOTATIONS):
        yield f"has @{name}; only @id, @code, @notice and @description are known"
    for name, longest in (("id", _LONGEST_ID), ("notice", _LONGEST_NOTICE)):
        if name == "id" or name in annotations:
            yield from _text_problems(name, annotations.get(name, ""), longest)
    if "code" in annotations and policy.effect == "permit":
        yield "is a permit with a @code, and a permit refuses nothing"
    elif "code" in annotations and annotations["code"] not in _CODES:
        yield f"has the @code {annotations['code']!r}, which no refusal of the service has"


def _text_problems(name: str, text: str, longest: int) -> Iterator[str]:
    if not text:
        yield f"has no @{name}, or an empty one"
        return
    try:
        if normalize_name(text, name, longest) != text:
            yield f"has a @{name} that must be in Unicode's NFC"
    except InvalidRequest as refusal:
        yield f"has a @{name} that {refusal.violations[0].rule}"


def in_order(positions: Mapping[str, Any]) -> list[str]:
    """Sort Cedar's names policy0, policy1 and so on by number, which is the order of the text."""
    return sorted(positions, key=_number)


def _number(position: str) -> int:
    return int(position.removeprefix("policy")) + 1
