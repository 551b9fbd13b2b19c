"""Sets of Cedar policies, and their decisions."""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import cedarpy

from accounts.services.policies.lint import find_problems, in_order
from accounts.services.principal import CredentialKind, PublicCredential
from accounts.values.authentication_methods import AuthenticationLevel

_log = logging.getLogger("accounts.services.policies")

#: The most decisions that a set caches.
_MOST_KEPT = 4096
#: A policy that names something contains one of these words, even if only in a comment, and Cedar
#: cannot turn the id of an entity into text. Only names in quotes can be spelled with an escape.
#: A set without the words decides alike for all users with the same attributes, so one cached
#: decision serves them all. A decision costs as much as the rest of a read.
_NAMES_A_USER = re.compile(r"\b(User|Account)\b")
_NAMES_A_TENANT = re.compile(r"\b(Tenant|tenant)\b|\\[ux]")
_NAMES_THE_SOURCE = re.compile(r"\bsource\b|\\[ux]")
_NAMES_THE_AGE = re.compile(r"\bauthentication_age\b|\\[ux]")
#: The placeholders for the first fields of a subject: its own id, and the two of its tenant.
_PLACEHOLDERS = ("anybody", "anywhere", "anywhere")
_MOST_NOTICES = 20

_FAILED = re.compile(r"policy `(policy\d+)`")
_ANNOTATION = re.compile(r'@\w+\s*\(\s*"(?:[^"\\]|\\.)*"\s*\)')

#: The group of the actions that need no credential.
PUBLIC = "public"


class Subject(NamedTuple):
    """The user as a decision sees them: ids of user and tenant, and attributes."""

    user_id: str
    tenant_id: str
    tenant_uuid: str
    roles: tuple[str, ...]
    provider: str
    is_platform_admin: bool
    email_verified: bool


#: The subject of an act without an account. A `User` like any other, so that policies about the
#: attributes of users are valid for every action; its ids are those of no user and no tenant.
ANONYMOUS = Subject(
    "anonymous", "anonymous", "anonymous", (), "none", is_platform_admin=False, email_verified=False
)


class Question(NamedTuple):
    """The whole input of a decision.

    `action` is an operationId, `credential` the value of a kind or of a `PublicCredential`,
    `rights` are the scopes of the credential, and `required` is the scope that the operation needs,
    or None. `level` is that of the person's authentication. The client address and the age of the
    authentication are passed beside it, since few sets ask for them.
    """

    subject: Subject
    action: str
    credential: str
    rights: frozenset[str]
    required: str | None
    level: AuthenticationLevel = AuthenticationLevel.NONE


class Decision(NamedTuple):
    """The result of a decision, with texts from the policies and no others (AZ-09).

    `code` is the `@code` of the first forbidding policy that has one; `notices` are the `@notice`
    texts of the determining policies, at most 20. Policies are in the order of the file names, and
    within a file in the order of the text.
    """

    allowed: bool
    code: str | None
    notices: tuple[str, ...]


_REFUSED = Decision(allowed=False, code=None, notices=())
_ALLOWED = Decision(allowed=True, code=None, notices=())


def no_address() -> None:
    """Return None: the address of the client is unknown."""


class InvalidPolicies(Exception):
    """The set cannot be used; each problem is one sentence that names file and policy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = tuple(problems)


class Policies:
    """One valid set of policies with its schema; immutable, so threads can share it.

    `digest` is the SHA-256, in hex, of the files and the schema; `ids` are the `@id`s of the
    policies. `governs_public` is False for a set from before public acts were decided: it mentions
    none of them, no `PublicCredential` and not their group. Such a set keeps its meaning: acts of a
    user count as if by a session and need no permit, and acts without an account are allowed.
    """

    def __init__(
        self,
        policies: cedarpy.PolicySet,
        schema: cedarpy.Schema,
        *,
        actions: Mapping[str, list[dict[str, Any]]],
        digest: str,
        text: str,
    ) -> None:
        """Take policies that `parse` has validated; nothing is parsed after this (AZ-18)."""
        self._set, self._schema, self._actions = policies, schema, actions
        parsed = policies.to_pst().static_policies
        self._annotations = {
            position: parsed[position].annotations for position in in_order(parsed)
        }
        self.digest = digest
        self.ids = tuple(annotations["id"] for annotations in self._annotations.values())
        group = _uid("Action", PUBLIC)
        public = {name for name, entities in actions.items() if group in entities[0]["parents"]}
        code = _ANNOTATION.sub("", text)
        self.governs_public = any(
            f'"{name}"' in code for name in (PUBLIC, *PublicCredential, *public)
        )
        self._ungoverned = frozenset() if self.governs_public else frozenset(public)
        self._names_source = _NAMES_THE_SOURCE.search(text) is not None
        self._names_age = _NAMES_THE_AGE.search(text) is not None
        self._placeholders: tuple[Any, ...] = _PLACEHOLDERS
        if _NAMES_A_USER.search(text):
            self._placeholders = ()
        elif _NAMES_A_TENANT.search(text):
            self._placeholders = _PLACEHOLDERS[:1]
        # The cache belongs to this set: replacing the set drops its decisions.
        self._decide = lru_cache(maxsize=_MOST_KEPT)(self._decide_with_placeholders)

    @classmethod
    def parse(cls, texts: Mapping[str, str], schema: Mapping[str, Any]) -> "Policies":
        """Parse a set from texts by file name, and validate it by the schema (AZ-03, AZ-08).

        Raises:
            InvalidPolicies: A file is malformed or breaks a rule, or there is no policy.
        """
        files = sorted(texts.items())
        try:
            parsed_schema = cedarpy.Schema.from_json_str(json.dumps(schema))
        except ValueError as error:
            raise InvalidPolicies([f"The schema: {error}."]) from error
        ids: dict[str, str] = {}
        problems = [
            problem
            for name, text in files
            for problem in find_problems(name, text, parsed_schema, ids)
        ]
        if not problems and not ids:
            problems = ["There is no policy, and without one nothing is allowed."]
        if problems:
            raise InvalidPolicies(problems)
        # Each file was parsed by itself, so joining them changes the meaning of none.
        joined = "\n".join(text for _, text in files)
        return cls(
            cedarpy.PolicySet.from_str(joined),
            parsed_schema,
            actions=_action_entities(schema),
            digest=hashlib.sha256(json.dumps([files, schema], sort_keys=True).encode()).hexdigest(),
            text=joined,
        )

    def decide(
        self,
        question: Question,
        read_address: Callable[[], str | None] = no_address,
        authentication_age: int | None = None,
    ) -> Decision:
        """Decide a question; any failure is a denial (AZ-02).

        `read_address` returns the address of the client, or None if it is unknown. It is called
        only if a policy mentions `source`: otherwise clients would share no decision. Nor does the
        age, in seconds, count unless a policy mentions it.
        """
        try:
            source = read_address() if self._names_source else None
            age = authentication_age if self._names_age else None
            attributes = question.subject[len(self._placeholders) :]
            return self._decide(attributes, question[1:], source, age)
        except Exception as error:  # noqa: BLE001 # no failure may grant access
            # Not cached, since it may be a matter of the moment, such as exhausted memory.
            _log.warning("no decision on %s: %s", question.action, type(error).__name__)
            return _REFUSED

    def _decide_with_placeholders(
        self,
        attributes: tuple[Any, ...],
        rest: tuple[Any, ...],
        source: str | None,
        age: int | None,
    ) -> Decision:
        """Decide with the ids replaced by placeholders, so that the result can be cached."""
        question = Question(Subject(*self._placeholders, *attributes), *rest)
        if question.action not in self._ungoverned:
            return self._evaluate(question, source, age)
        if question.credential == PublicCredential.NONE:
            return _ALLOWED
        as_session = question._replace(credential=CredentialKind.SESSION)
        return self._evaluate(as_session, source, age, needs_permit=False)

    def _evaluate(
        self, question: Question, source: str | None, age: int | None, *, needs_permit: bool = True
    ) -> Decision:
        """Evaluate the policies with Cedar, and accept an Allow only if no policy failed (AZ-01).

        Cedar skips a policy that fails, even a `forbid`, and allows the action. Failures depend on
        the policies and the question only, so the denial is cached like any other decision, and
        logged once.
        """
        result = cedarpy.is_authorized(
            _request(question, source, age),
            self._set,
            # With the action: without its group, a `forbid` of the group would not apply.
            [*_entities(question.subject), *self._actions.get(question.action, ())],
            self._schema,
        )
        errors = result.diagnostics.errors
        if errors or result.decision is cedarpy.Decision.NoDecision:
            # The errors quote entities, so only the ids of the failed policies are logged.
            failed = ", ".join(self._failed(errors)) or "none"
            _log.warning("no decision on %s, failed policies: %s", question.action, failed)
            if result.allowed:
                return _REFUSED
        reasons = frozenset(result.diagnostics.reasons)
        decisive = [
            annotations
            for position, annotations in self._annotations.items()
            if position in reasons
        ]
        notices = dict.fromkeys(each["notice"] for each in decisive if "notice" in each)
        is_denied_by_default = result.decision is cedarpy.Decision.Deny and not (reasons or errors)
        return Decision(
            allowed=result.allowed or (is_denied_by_default and not needs_permit),
            code=next((each["code"] for each in decisive if "code" in each), None),
            notices=tuple(notices)[:_MOST_NOTICES],
        )

    def _failed(self, errors: Sequence[str]) -> Iterator[str]:
        for error in errors:
            match = _FAILED.search(error)
            if match and match[1] in self._annotations:
                yield self._annotations[match[1]]["id"]


def _request(question: Question, source: str | None, age: int | None) -> dict[str, Any]:
    # Ids in dict form are data; in Cedar's own syntax a quote in one would be syntax (AZ-06).
    optional: dict[str, Any] = {}
    if source is not None:
        optional["source"] = {"__extn": {"fn": "ip", "arg": source}}
    if age is not None:
        optional["authentication_age"] = age
    return {
        "principal": _uid("User", question.subject.user_id),
        "action": _uid("Action", question.action),
        "resource": _uid("Account", question.subject.user_id),
        "context": {
            "credential": question.credential,
            "scopes": sorted(question.rights),
            "required": question.required or "",
            "level": question.level,
            **optional,
        },
    }


def _entities(subject: Subject) -> list[dict[str, Any]]:
    """Return the entities of one decision: the user, the tenant and the account (AZ-04)."""
    user, tenant = _uid("User", subject.user_id), _uid("Tenant", subject.tenant_id)
    attributes = {
        "tenant": {"__entity": tenant},
        "roles": subject.roles,
        "provider": subject.provider,
        "admin": subject.is_platform_admin,
        "email_verified": subject.email_verified,
    }
    ids = {"id": subject.tenant_id, "uuid": subject.tenant_uuid}
    account, owner = _uid("Account", subject.user_id), {"__entity": user}
    return [
        {"uid": user, "attrs": attributes, "parents": [tenant]},
        {"uid": tenant, "attrs": ids, "parents": []},
        {"uid": account, "attrs": {"owner": owner}, "parents": []},
    ]


def _action_entities(schema: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the entities of each action of a schema: the action and its groups."""
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
