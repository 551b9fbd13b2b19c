"""The policies of a deployment, read from a folder and reloaded when it changes."""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.policies.policy_set import (
    ANONYMOUS,
    PUBLIC,
    Decision,
    InvalidPolicies,
    Policies,
    Question,
    Subject,
    no_address,
)
from accounts.services.principal import PublicCredential
from oneself.document import PublicPolicy, operation_specs
from oneself.runtime.kept_policies import KeptPolicies

_log = logging.getLogger("oneself.runtime.policy_store")
_STAYS = "the policies are invalid, %s stays in force: %s"

_TEXT: Mapping[str, Any] = {"type": "String"}
_TEXTS: Mapping[str, Any] = {"type": "Set", "element": _TEXT}


class NoPolicyFolder(InvalidPolicies):
    """The setting names no readable folder; no policy is at fault."""


def _record(**attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "Record", "attributes": attributes}


#: The entity types that accounts/services/policies/policy_set.py builds for each decision.
_ENTITY_TYPES: Mapping[str, Any] = {
    "Tenant": {"shape": _record(id=_TEXT, uuid=_TEXT)},
    "User": {
        "memberOfTypes": ["Tenant"],
        "shape": _record(
            tenant={"type": "Entity", "name": "Tenant"},
            roles=_TEXTS,
            provider=_TEXT,
            admin={"type": "Boolean"},
            email_verified={"type": "Boolean"},
        ),
    },
    "Account": {"shape": _record(owner={"type": "Entity", "name": "User"})},
}
_APPLIES_TO: Mapping[str, Any] = {
    "principalTypes": ["User"],
    "resourceTypes": ["Account"],
    "context": _record(
        credential=_TEXT,
        scopes=_TEXTS,
        required=_TEXT,
        level=_TEXT,
        authentication_age={"type": "Long", "required": False},
        source={"type": "Extension", "name": "ipaddr", "required": False},
    ),
}
#: The group of operations that need a credential and no scope.
_NO_SCOPE = "any"


def public_acts(document: Mapping[str, Any]) -> Mapping[str, PublicPolicy]:
    """Return the acts without a user's credential that the policies decide, by their actions."""
    return {
        spec.operation_id: spec.policy
        for spec in operation_specs(document)
        if spec.policy is not None and spec.action == spec.operation_id
    }


def schema_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the Cedar schema, as JSON, with an action for each act that the policies decide.

    Actions come from the document, grouped by access control entry, so that no operation can be
    forgotten here.
    """
    groups = {
        spec.operation_id: [spec.scope or _NO_SCOPE, *filter(None, [spec.further_scope])]
        for spec in operation_specs(document)
        if spec.accepted and spec.action == spec.operation_id
    }
    for action, policy in public_acts(document).items():
        groups[action] = [PUBLIC] if policy.scope is None else [PUBLIC, policy.scope]
    names = (_NO_SCOPE, PUBLIC, *(name for each in groups.values() for name in each))
    actions: dict[str, Any] = {name: {} for name in names}
    for action, each in groups.items():
        actions[action] = {"memberOf": [{"id": name} for name in each], "appliesTo": _APPLIES_TO}
    return {"": {"entityTypes": _ENTITY_TYPES, "actions": actions}}


#: A typical user, for `closed_acts`.
_ORDINARY = Subject(
    "usr_", "tnt_", "", ("member",), "local", is_platform_admin=False, email_verified=True
)


def closed_acts(policies: Policies, document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the public acts that a set of policies denies to an ordinary user.

    Denying one may be intended, or be an oversight that locks users out.
    """
    for action, policy in public_acts(document).items():
        for credential in policy.credentials:
            is_anonymous = credential == PublicCredential.NONE
            subject, rights = (
                (ANONYMOUS, frozenset()) if is_anonymous else (_ORDINARY, SESSION_RIGHTS)
            )
            if not policies.decide(Question(subject, action, credential, rights, None)).allowed:
                yield action
                break


def read_policies(folder: Path, document: Mapping[str, Any]) -> Policies:
    """Read the policies of a folder, for the operations of a document.

    Raises:
        NoPolicyFolder: The folder cannot be read.
        InvalidPolicies: A file cannot be read, or a policy breaks a rule.
    """
    return _parse(_scan(folder), schema_of(document))


class PolicyStore:
    """The policies in force: the last valid set of a folder.

    `degraded` says that the folder now contains another set, which is invalid.
    """

    def __init__(
        self, folder: Path, document: Mapping[str, Any], kept: KeptPolicies | None = None
    ) -> None:
        """Read the folder or, if it is invalid, the kept set; without either, do not start.

        Raises:
            NoPolicyFolder, InvalidPolicies: As `read_policies`, and there is no valid kept set.
        """
        self._folder = folder
        self._schema = schema_of(document)
        self._kept = kept
        self._latest = self._loaded = _scan(folder)
        try:
            self._policies = _parse(self._loaded, self._schema)
            self.degraded = False
        except InvalidPolicies as invalid:
            self._policies = self._read_kept(invalid)
            self.degraded = True
            _log.error(_STAYS, self.digest, invalid)

    def keep(self) -> None:
        """Keep the set in force for a later start, if it is that of the folder."""
        if self._kept is not None and not self.degraded:
            self._kept.write(_texts(self._loaded))

    def _read_kept(self, invalid: InvalidPolicies) -> Policies:
        texts = None if self._kept is None else self._kept.read()
        if texts is None:
            raise invalid
        try:
            return Policies.parse(texts, self._schema)
        except InvalidPolicies:
            # It was valid for an earlier version; the problems of the folder are what to mend.
            raise invalid from None

    @property
    def digest(self) -> str:
        """The digest of the current set."""
        return self._policies.digest

    def decide(
        self,
        question: Question,
        read_address: Callable[[], str | None] = no_address,
        authentication_age: int | None = None,
    ) -> Decision:
        """Decide a question by one whole set, even if it is replaced meanwhile."""
        return self._policies.decide(question, read_address, authentication_age)

    def reload(self) -> None:
        """Reload the folder if it has changed and its policies are valid.

        For one job, which calls it repeatedly. A change is loaded once two scans in a row see it,
        since an editor or a deployment may be half-way at the first. An invalid set is logged once,
        and the current one stays in force (AZ-03).
        """
        before, self._latest = self._latest, _scan(self._folder)
        if self._latest != before or self._latest == self._loaded:
            return
        self._loaded = self._latest
        try:
            policies = _parse(self._loaded, self._schema)
        except InvalidPolicies as invalid:
            self.degraded = True
            _log.error(_STAYS, self.digest, invalid)
        else:
            # One assignment: a thread decides by the old set or by the new one (AZ-17).
            self._policies = policies
            self.degraded = False
            _log.info("the policies are %s now", policies.digest)
            self.keep()


class _Snapshot(NamedTuple):
    """The content of a folder at one moment: its files, or why they cannot be read."""

    files: Mapping[str, bytes]
    problem: str | None
    kind: type[InvalidPolicies] = InvalidPolicies


def _scan(folder: Path) -> _Snapshot:
    """Read the files, not their times: a change within one clock tick is a change."""
    files = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        rule = "ONESELF_POLICY_DIR must name a folder that can be read"
        return _Snapshot({}, f"{rule}. {folder}: {error.strerror}.", NoPolicyFolder)
    try:
        for path in paths:
            # Editors and archives leave files that begin with a dot, such as the lock
            # .#default.cedar.
            if path.suffix != ".cedar" or path.name.startswith("."):
                continue
            if not path.is_file():
                # Skipping it could drop a `forbid`, and reading a pipe would never end.
                return _Snapshot({}, f"{path} is not a file.")
            files[path.name] = path.read_bytes()
    except OSError as error:
        return _Snapshot({}, f"{error.filename or folder}: {error.strerror}.")
    return _Snapshot(files, None if files else f"{folder} has no *.cedar file.")


def _parse(snapshot: _Snapshot, schema: Mapping[str, Any]) -> Policies:
    return Policies.parse(_texts(snapshot), schema)


def _texts(snapshot: _Snapshot) -> Mapping[str, str]:
    if snapshot.problem is not None:
        raise snapshot.kind([snapshot.problem])
    texts, problems = {}, []
    for name, content in snapshot.files.items():
        try:
            texts[name] = content.decode()
        except UnicodeDecodeError:
            problems.append(f"{name} is not in UTF-8.")
    if problems:
        raise InvalidPolicies(problems)
    return texts
