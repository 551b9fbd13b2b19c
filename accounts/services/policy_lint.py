"""What a file of policies must be like before a set is made of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import cedarpy
from cedarpy.pst import Template

from accounts.errors import AccountError, Forbidden, InvalidRequest
from accounts.values.names import clean_name

__all__ = ["in_order", "problems_of"]

_ANNOTATIONS = frozenset({"id", "code", "notice", "description"})
_LONGEST_ID = 100
_LONGEST_NOTICE = 200

#: Strings and comments of Cedar, in which no bracket and no semicolon counts.
_QUIET = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*', re.DOTALL)
#: Each of these may put an expression one level deeper. Of 1,000 levels Cedar's parser, and of
#: 3,000 terms what reads its result, overflows the stack, which ends the process (CWE-674).
_STEP = re.compile(r"[(\[{.*+-]|&&|\|\||\bif\b")
_MOST_STEPS = 300

_POSITION = re.compile(r"^for policy `policy\d+`, ")


def problems_of(
    file: str, text: str, schema: cedarpy.Schema, taken: dict[str, str]
) -> Iterator[str]:
    """Say what is wrong with a file, and enter its ids into `taken`, with where they are."""
    if unreadable := _unreadable(text):
        yield f"{file}: {unreadable}."
        return
    read = cedarpy.PolicySet.from_str(text).to_pst()
    for position in in_order(read.templates):
        yield f"{file}: policy {_number(position)} is a template, and nothing fills its slots."
    for position in in_order(read.static_policies):
        where = f"{file}: policy {_number(position)}"
        policy = read.static_policies[position]
        for broken in _broken_rules(policy):
            yield f"{where} {broken}."
        name = policy.annotations.get("id", "")
        if name and name in taken:
            yield f"{where} has the @id {name!r} of {taken[name]}."
        taken.setdefault(name, where)
    invalid: dict[str, str] = {}
    for error in cedarpy.validate_policies(text, schema).errors:
        # The first of each: one slip is told again for every action that it is about.
        invalid.setdefault(error.policy_id, _POSITION.sub("", error.error))
    for position in in_order(invalid):
        yield f"{file}: policy {_number(position)} does not fit the schema: {invalid[position]}."


def _unreadable(text: str) -> str | None:
    """Say which policy of a file has no meaning, or is more than can be read safely."""
    quiet, start = _QUIET.sub(lambda found: " " * len(found[0]), text), 0
    for number, statement in enumerate(quiet.split(";"), 1):
        if len(_STEP.findall(statement)) > _MOST_STEPS:
            return f"policy {number} is nested too deeply or too long, and must be split"
        end = start + len(statement) + 1
        try:
            cedarpy.PolicySet.from_str(text[start:end]).to_pst()
        except ValueError as broken:
            return f"policy {number}: {broken}"
        start = end
    return None


def _broken_rules(policy: Template) -> Iterator[str]:
    words = policy.annotations
    for name in sorted(words.keys() - _ANNOTATIONS):
        yield f"has @{name}; only @id, @code, @notice and @description are known"
    for name, longest in (("id", _LONGEST_ID), ("notice", _LONGEST_NOTICE)):
        if name == "id" or name in words:
            yield from _broken_text(name, words.get(name, ""), longest)
    if "code" in words and policy.effect == "permit":
        yield "is a permit with a @code, and a permit refuses nothing"
    elif "code" in words and words["code"] not in _codes(Forbidden):
        yield f"has the @code {words['code']!r}, which no refusal of the service has"


def _broken_text(name: str, text: str, longest: int) -> Iterator[str]:
    if not text:
        yield f"has no @{name}, or an empty one"
        return
    try:
        if clean_name(text, name, longest) != text:
            yield f"has a @{name} that must be in Unicode's NFC"
    except InvalidRequest as refusal:
        yield f"has a @{name} that {refusal.violations[0].rule}"


def _codes(kind: type[AccountError]) -> frozenset[str]:
    """Return the codes of the acts' refusals of a kind, new ones included."""
    below = [each for each in kind.__subclasses__() if each.__module__ == kind.__module__]
    return frozenset({each.code for each in below}).union(*map(_codes, below))


def in_order(positions: Mapping[str, Any]) -> list[str]:
    """Order what Cedar calls policy0, policy1 and so on, as it has read them."""
    return sorted(positions, key=_number)


def _number(position: str) -> int:
    return int(position.removeprefix("policy")) + 1
