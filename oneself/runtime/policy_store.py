"""The policies of a deployment: read from a folder, and read again when it changes."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from accounts.services.policies import Decision, InvalidPolicies, Policies, Question
from oneself.document import operation_specs

__all__ = ["NoPolicyFolder", "PolicyStore", "read_policies", "schema_of"]

_log = logging.getLogger("oneself.runtime.policy_store")

_TEXT: Mapping[str, Any] = {"type": "String"}
_TEXTS: Mapping[str, Any] = {"type": "Set", "element": _TEXT}


class NoPolicyFolder(InvalidPolicies):
    """The setting names no folder that can be read, so that no policy is at fault."""


def _record(**attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "Record", "attributes": attributes}


#: The entities, as accounts/services/policies.py makes them for each decision.
_ENTITY_TYPES: Mapping[str, Any] = {
    "Tenant": {"shape": _record()},
    "User": {
        "memberOfTypes": ["Tenant"],
        "shape": _record(
            tenant={"type": "Entity", "name": "Tenant"},
            roles=_TEXTS,
            provider=_TEXT,
            admin={"type": "Boolean"},
        ),
    },
    "Account": {"shape": _record(owner={"type": "Entity", "name": "User"})},
}
_APPLIES_TO: Mapping[str, Any] = {
    "principalTypes": ["User"],
    "resourceTypes": ["Account"],
    "context": _record(credential=_TEXT, scopes=_TEXTS, required=_TEXT),
}
#: The group of operations that need a credential and no scope.
_NO_SCOPE = "any"


def schema_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the schema, in Cedar's JSON, with an action for each operation of a person.

    The actions are the document's, in groups named by their access control entries, so that no
    operation can be forgotten here.
    """
    groups = {
        described.operation_id: described.scope or _NO_SCOPE
        for described in operation_specs(document)
        if described.accepted
    }
    actions: dict[str, Any] = {group: {} for group in (_NO_SCOPE, *groups.values())}
    for operation_id, group in groups.items():
        actions[operation_id] = {"memberOf": [{"id": group}], "appliesTo": _APPLIES_TO}
    return {"": {"entityTypes": _ENTITY_TYPES, "actions": actions}}


def read_policies(folder: Path, document: Mapping[str, Any]) -> Policies:
    """Read the policies of a folder, for the operations of a document.

    Raises:
        NoPolicyFolder: The folder cannot be read.
        InvalidPolicies: A file cannot be read, or a policy breaks a rule.
    """
    return _parse(_look(folder), schema_of(document))


class PolicyStore:
    """What the service decides by: the last good set of a folder.

    `degraded` tells that the folder holds another one by now, and that it cannot be used.
    """

    def __init__(self, folder: Path, document: Mapping[str, Any]) -> None:
        """Read the folder: a service without policies does not start.

        Raises:
            NoPolicyFolder, InvalidPolicies: As `read_policies`.
        """
        self._folder = folder
        self._schema = schema_of(document)
        self._seen = self._taken = _look(folder)
        self._policies = _parse(self._taken, self._schema)
        self.degraded = False

    @property
    def digest(self) -> str:
        """The digest of the present set."""
        return self._policies.digest

    def decide(self, question: Question) -> Decision:
        """Answer a question by the present set, whole, even if it is replaced meanwhile."""
        return self._policies.decide(question)

    def reload(self) -> None:
        """Look whether the folder has changed, and take what it holds if that can be used.

        One job calls it, now and then. What has changed is taken at the second look that sees the
        same, since at the first an editor or a deployment may be half-way. What cannot be used is
        logged once, and the set stays as it is (AZ-03).
        """
        before, self._seen = self._seen, _look(self._folder)
        if self._seen != before or self._seen == self._taken:
            return
        self._taken = self._seen
        try:
            policies = _parse(self._taken, self._schema)
        except InvalidPolicies as invalid:
            self.degraded = True
            _log.error("the policies cannot be used, %s stays: %s", self.digest, invalid)
        else:
            # One assignment: a thread that decides has the old set or the new one (AZ-17).
            self._policies = policies
            self.degraded = False
            _log.info("the policies are %s now", policies.digest)


class _Seen(NamedTuple):
    """What a folder held at one look: its files, or why they cannot be read."""

    files: Mapping[str, bytes]
    problem: str | None
    folder: bool = True


def _look(folder: Path) -> _Seen:
    """Read the files, not their times: a change within one tick of the clock is a change."""
    files = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as trouble:
        rule = "ONESELF_POLICY_DIR must name a folder that can be read"
        return _Seen({}, f"{rule}. {folder}: {trouble.strerror}.", folder=False)
    try:
        for path in paths:
            # With a dot begin what editors and archives leave, such as the lock .#default.cedar.
            if path.suffix != ".cedar" or path.name.startswith("."):
                continue
            if not path.is_file():
                # Passed over, it could be a `forbid` that is missing; and a pipe is never read up.
                return _Seen({}, f"{path} is not a file.")
            files[path.name] = path.read_bytes()
    except OSError as trouble:
        return _Seen({}, f"{trouble.filename or folder}: {trouble.strerror}.")
    return _Seen(files, None if files else f"{folder} has no *.cedar file.")


def _parse(seen: _Seen, schema: Mapping[str, Any]) -> Policies:
    if seen.problem is not None and not seen.folder:
        raise NoPolicyFolder([seen.problem])
    if seen.problem is not None:
        raise InvalidPolicies([seen.problem])
    texts, problems = {}, []
    for name, content in seen.files.items():
        try:
            texts[name] = content.decode()
        except UnicodeDecodeError:
            problems.append(f"{name} is not in UTF-8.")
    if problems:
        raise InvalidPolicies(problems)
    return Policies.parse(texts, schema)
