"""Who may do what, as the policies have it: a set of Cedar policies, and what it decides."""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cedarpy

from accounts.services.policy_lint import in_order, problems_of

__all__ = ["Decision", "InvalidPolicies", "Policies", "Question", "Subject"]

_log = logging.getLogger("accounts.services.policies")

#: Decisions that a set keeps.
_MOST_KEPT = 4096
#: Without any of these words, even in a comment, no policy can name anybody, and Cedar has nothing
#: that turns the id of an entity into a text: two people with the same attributes are the same to
#: such a set, and are decided once. A decision costs as much as all else of a reading.
_OF_SOMEBODY = re.compile(r"\b(User|Tenant|Account)\b")
#: The ids that such a set is asked about, in the places of a subject's own.
_ANYBODY = ("anybody", "anywhere")
_MOST_NOTICES = 20

_FAILED = re.compile(r"policy `(policy\d+)`")


class Subject(NamedTuple):
    """All that a decision sees of who asks: two ids, and their attributes."""

    user_id: str
    tenant_id: str
    roles: tuple[str, ...]
    provider: str
    is_platform_admin: bool


class Question(NamedTuple):
    """The whole input of a decision.

    `action` is an operationId, `credential` the value of a kind, `rights` are the scopes of the
    credential, and `required` is the scope that the operation needs, None for none.
    """

    subject: Subject
    action: str
    credential: str
    rights: frozenset[str]
    required: str | None


class Decision(NamedTuple):
    """What the policies say, in their own words and no others (AZ-09).

    `code` is the `@code` of the first policy that forbids and has one; `notices` are each
    `@notice` of the policies that decided, 20 at most. The order is that of the files' names, and
    in a file that of its policies.
    """

    allowed: bool
    code: str | None
    notices: tuple[str, ...]


_REFUSED = Decision(allowed=False, code=None, notices=())


class InvalidPolicies(Exception):
    """A set that cannot be used; each problem is one sentence that names file and policy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = tuple(problems)


class Policies:
    """One valid set of policies with its schema. It never changes, so threads can share it.

    `digest` is SHA-256, in hex, over the files and the schema; `ids` are the `@id` of each policy.
    """

    __slots__ = (
        "_actions",
        "_annotations",
        "_answer",
        "_schema",
        "_set",
        "_stand_ins",
        "digest",
        "ids",
    )

    def __init__(
        self,
        policies: cedarpy.PolicySet,
        schema: cedarpy.Schema,
        *,
        actions: Mapping[str, list[dict[str, Any]]],
        digest: str,
        names_somebody: bool,
    ) -> None:
        """Take what `parse` has found to be valid; after this nothing is parsed (AZ-18)."""
        self._set, self._schema, self._actions = policies, schema, actions
        read = policies.to_pst().static_policies
        self._annotations = {position: read[position].annotations for position in in_order(read)}
        self.digest = digest
        self.ids = tuple(each["id"] for each in self._annotations.values())
        self._stand_ins = () if names_somebody else _ANYBODY
        # Of this set alone: whoever replaces the set replaces what it has decided.
        self._answer = lru_cache(maxsize=_MOST_KEPT)(self._ask_about)

    @classmethod
    def parse(cls, texts: Mapping[str, str], schema: Mapping[str, Any]) -> "Policies":
        """Read a set from texts by file name, and hold it to the schema (AZ-03, AZ-08).

        Raises:
            InvalidPolicies: A file cannot be read or breaks a rule, or there is no policy.
        """
        files = sorted(texts.items())
        try:
            known = cedarpy.Schema.from_json_str(json.dumps(schema))
        except ValueError as broken:
            raise InvalidPolicies([f"The schema: {broken}."]) from broken
        taken: dict[str, str] = {}
        problems = [each for name, text in files for each in problems_of(name, text, known, taken)]
        if not problems and not taken:
            problems = ["There is no policy, and without one nothing is allowed."]
        if problems:
            raise InvalidPolicies(problems)
        return cls(
            # Each file is whole by itself, so beside the others it says what it says alone.
            cedarpy.PolicySet.from_str("\n".join(text for _, text in files)),
            known,
            actions=_action_entities(schema),
            digest=hashlib.sha256(json.dumps([files, schema], sort_keys=True).encode()).hexdigest(),
            names_somebody=any(_OF_SOMEBODY.search(text) for text in texts.values()),
        )

    def decide(self, question: Question) -> Decision:
        """Answer a question; whatever goes wrong is a refusal (AZ-02)."""
        try:
            return self._answer(question.subject[len(self._stand_ins) :], question[1:])
        except Exception as error:  # noqa: BLE001 # no failure may open a door
            # Not kept, unlike an answer: memory that ran out is no property of the question.
            _log.warning("no decision on %s: %s", question.action, type(error).__name__)
            return _REFUSED

    def _ask_about(self, known: tuple[Any, ...], asked: tuple[Any, ...]) -> Decision:
        """Ask about all whose subject ends with what is known of it."""
        return self._ask(Question(Subject(*self._stand_ins, *known), *asked))

    def _ask(self, question: Question) -> Decision:
        """Ask Cedar, and believe its Allow only if no policy failed (AZ-01).

        Cedar leaves out a policy that fails, a `forbid` as well, and allows what that forbids. A
        failure lies in the policies and the question, so the refusal is kept as any answer is, and
        logged once.
        """
        result = cedarpy.is_authorized(
            _request(question),
            self._set,
            # The action as well: without its group, a `forbid` of the group would say nothing.
            [*_entities(question.subject), *self._actions.get(question.action, ())],
            self._schema,
        )
        errors = result.diagnostics.errors
        if errors or result.decision is cedarpy.Decision.NoDecision:
            # The errors quote entities, so nothing of them is logged but which policies failed.
            failed = ", ".join(self._failed(errors)) or "none"
            _log.warning("no decision on %s, failed policies: %s", question.action, failed)
            if result.allowed:
                return _REFUSED
        reasons = frozenset(result.diagnostics.reasons)
        decisive = [words for position, words in self._annotations.items() if position in reasons]
        notices = dict.fromkeys(words["notice"] for words in decisive if "notice" in words)
        return Decision(
            allowed=result.allowed,
            code=next((words["code"] for words in decisive if "code" in words), None),
            notices=tuple(notices)[:_MOST_NOTICES],
        )

    def _failed(self, errors: Sequence[str]) -> Iterator[str]:
        for error in errors:
            named = _FAILED.search(error)
            if named and named[1] in self._annotations:
                yield self._annotations[named[1]]["id"]


def _request(question: Question) -> dict[str, Any]:
    # Ids in dict form are data; in Cedar's own syntax a quote in one would be syntax (AZ-06).
    return {
        "principal": _uid("User", question.subject.user_id),
        "action": _uid("Action", question.action),
        "resource": _uid("Account", question.subject.user_id),
        "context": {
            "credential": question.credential,
            "scopes": sorted(question.rights),
            "required": question.required or "",
        },
    }


def _entities(subject: Subject) -> list[dict[str, Any]]:
    """All that there is for one decision: who asks, of which tenant, and their account (AZ-04)."""
    user, tenant = _uid("User", subject.user_id), _uid("Tenant", subject.tenant_id)
    attributes = {
        "tenant": {"__entity": tenant},
        "roles": subject.roles,
        "provider": subject.provider,
        "admin": subject.is_platform_admin,
    }
    account, owner = _uid("Account", subject.user_id), {"__entity": user}
    return [
        {"uid": user, "attrs": attributes, "parents": [tenant]},
        {"uid": tenant, "attrs": {}, "parents": []},
        {"uid": account, "attrs": {"owner": owner}, "parents": []},
    ]


def _action_entities(schema: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Each action of a schema as entities: itself and its groups."""
    entities: dict[str, list[dict[str, Any]]] = {}
    for action, described in schema[""]["actions"].items():
        groups = [_uid("Action", group["id"]) for group in described.get("memberOf", ())]
        entities[action] = [
            {"uid": _uid("Action", action), "attrs": {}, "parents": groups},
            *({"uid": group, "attrs": {}, "parents": []} for group in groups),
        ]
    return entities


def _uid(kind: str, name: str) -> Mapping[str, str]:
    return {"type": kind, "id": name}
