"""Mutants that accept invalid requests, or reject valid ones.

The service is built from a document in which one operation is changed.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from accounts.services.principal import CredentialKind
from oneself.document import METHODS, OperationSpec, load_document, resolve
from tests.mutants.mutation import Mutant, RowFields

__all__ = ["REQUEST_RULES", "Place"]

_UPPER = ("maxLength", "maxItems", "maxProperties", "maximum")
_LOWER = ("minLength", "minItems", "minimum")
_RULES = ("pattern", "format", "enum", "uniqueItems")
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

#: For each kind of credential as rows name it: the kind, and its security schemes.
_KINDS: Mapping[str, tuple[CredentialKind, tuple[str, ...]]] = {
    "session": (CredentialKind.SESSION, ("session", "sessionCookie")),
    "jwt": (CredentialKind.JWT, ("jwt",)),
    "api_key": (CredentialKind.API_KEY, ("apiKey",)),
    "access_token": (CredentialKind.ACCESS_TOKEN, ("accessToken",)),
    "pat": (CredentialKind.PAT, ("personalAccessToken",)),
}

#: A place in a request: the part and the path to a value, with `*` for items of a list.
Place = tuple[str, ...]


@dataclass(frozen=True)
class _CredentialMutant(Mutant):
    """A mutant that accepts a wrong kind of credential, or rejects an accepted one."""

    kind: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.kind}"

    def distinguishing_row(self) -> RowFields | None:
        """Return a valid request with the credential."""
        return {"with": self.kind, "request": {}}


@dataclass(frozen=True)
class AcceptedKind(_CredentialMutant):
    """An additional kind of credential is accepted; the policies stay unchanged."""

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each kind that an operation of users rejects."""
        for name, (kind, _) in _KINDS.items():
            if operation.accepted and kind not in operation.accepted:
                yield cls(operation.operation_id, name)

    def change_document(self, document: Any) -> None:
        """Add the kind to the accepted ones."""
        operation = _operation(document, self.operation)
        operation["security"] = [*operation["security"], {_KINDS[self.kind][1][0]: []}]


@dataclass(frozen=True)
class RefusedKind(_CredentialMutant):
    """A documented kind of credential is rejected."""

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each accepted kind, if the operation has several."""
        for name, (kind, _) in _KINDS.items():
            if kind in operation.accepted and len(operation.accepted) > 1:
                yield cls(operation.operation_id, name)

    def change_document(self, document: Any) -> None:
        """Remove the kind."""
        operation = _operation(document, self.operation)
        removed = {*_KINDS[self.kind][1]}
        operation["security"] = [
            each for each in operation["security"] if not removed & each.keys()
        ]


@dataclass(frozen=True)
class IgnoredScope(Mutant):
    """The scope of the operation is not enforced, neither by the code nor by a policy."""

    equivalence: ClassVar[str] = "every accepted credential has all scopes"

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield the mutant of an operation with a scope."""
        if operation.scope is not None:
            yield cls(operation.operation_id)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.operation.scope}"

    def change_document(self, document: Any) -> None:
        """Remove the scope."""
        _operation(document, self.operation)["x-scope"] = "any"

    def distinguishing_row(self) -> RowFields | None:
        """Return a request with all other scopes; sessions and access tokens have all scopes."""
        if CredentialKind.JWT in self.operation.accepted:
            form = {"grant_type": _EXCHANGE, "subject_token_type": _TOKEN}
            form |= {"subject_token": "${me.session_token}", "scope": " ".join(self._others())}
            make = {"operation": "oauth.issueToken", "request": {"form": form}}
            keep = {"keep": {"narrow": "/access_token"}}
            return {"with": {"bearer": "${narrow}"}, "before": [make | keep], "request": {}}
        if CredentialKind.API_KEY in self.operation.accepted:
            body = {"name": "narrow", "scopes": self._others("ApiKeyScope")}
            make = {"operation": "ipto.createApiKey", "request": {"json": body}}
            keep = {"keep": {"narrow": "/data/key"}}
            return {"with": {"api_key": "${narrow}"}, "before": [make | keep], "request": {}}
        return None

    def _others(self, schema: str = "Scope") -> list[str]:
        scopes = load_document()["components"]["schemas"][schema]["enum"]
        return [each for each in scopes if each != self.operation.scope]


@dataclass(frozen=True)
class _PlaceMutant(Mutant):
    """A mutant that does not enforce one rule on one value of a request."""

    place: Place

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {'/'.join(self.place)}"

    def change_document(self, document: Any) -> None:
        """Change the schema of the value, for this operation in each media type."""
        for place, schema in _places_in(_operation(document, self.operation)):
            if place == self.place:
                self._change(schema)

    def distinguishing_row(self) -> RowFields | None:
        """Return a request in which only the value breaks only this rule."""
        schema = _places_of(self.operation)[self.place]
        return {"request": {"place": self.place, "value": self._invalid_value(schema)}}

    def _change(self, schema: Any) -> None:
        raise NotImplementedError

    def _invalid_value(self, schema: Mapping[str, Any]) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class DoubledLimit(_PlaceMutant):
    """An upper limit is doubled, or a lower one halved."""

    keyword: str

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each limit of each value, except the configurable size of pictures."""
        for place, schema in _places_of(operation).items():
            for keyword in (*_UPPER, *_LOWER):
                if keyword in schema and schema.get("format") != "binary":
                    yield cls(operation.operation_id, place, keyword)

    def __str__(self) -> str:
        return f"{super().__str__()} {self.keyword}"

    def _change(self, schema: Any) -> None:
        limit = schema[self.keyword]
        schema[self.keyword] = limit * 2 if self.keyword in _UPPER else limit // 2

    def _invalid_value(self, schema: Mapping[str, Any]) -> Any:
        return _BEYOND[self.keyword](_example(schema), schema[self.keyword])


#: The nearest value beyond a limit, from the example and the limit.
_BEYOND: Mapping[str, Callable[[Any, int], Any]] = {
    "maxLength": lambda example, limit: "a" * (limit + 1 - len(example)) + example,
    "minLength": lambda example, limit: example[: limit - 1],
    "maxItems": lambda example, limit: (example * (limit + 1))[: limit + 1],
    "minItems": lambda example, limit: example[: limit - 1],
    "maxProperties": lambda _, limit: {f"name{number}": number for number in range(limit + 1)},
    "maximum": lambda _, limit: limit + 1,
    "minimum": lambda _, limit: limit - 1,
}


@dataclass(frozen=True)
class LostRule(_PlaceMutant):
    """A pattern, format, enumeration or uniqueness rule is not enforced."""

    keyword: str

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each such rule of each value."""
        for place, schema in _places_of(operation).items():
            for keyword in _RULES:
                if keyword in schema and schema.get("format") != "binary":
                    yield cls(operation.operation_id, place, keyword)

    def __str__(self) -> str:
        return f"{super().__str__()} {self.keyword}"

    def _change(self, schema: Any) -> None:
        del schema[self.keyword]

    def _invalid_value(self, schema: Mapping[str, Any]) -> Any:
        example = _example(schema)
        if self.keyword == "uniqueItems":
            return [*example, *example]
        # A path contains no quotation marks or spaces.
        return "nothing-like-it" if self.place[0] == "path" else 'nothing "like" it'


@dataclass(frozen=True)
class UnrequiredField(_PlaceMutant):
    """A required field may be absent."""

    name: str

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each required field, and each required parameter outside the path."""
        for place, schema in _places_of(operation).items():
            if place == ("body",):
                for name in schema.get("required", ()):
                    yield cls(operation.operation_id, place, name)
        for each in operation.parameters:
            if each.get("required") and each["in"] != "path":
                yield cls(operation.operation_id, (each["in"],), each["name"])

    def __str__(self) -> str:
        return f"{super().__str__()}/{self.name}"

    def change_document(self, document: Any) -> None:
        """Make the field optional."""
        operation = _operation(document, self.operation)
        if self.place != ("body",):
            for each in operation["parameters"]:
                each["required"] = each["in"] == "path"
            return
        for content in operation["requestBody"]["content"].values():
            required = [each for each in content["schema"]["required"] if each != self.name]
            content["schema"] |= {"required": required}
            # Draft 4 forbids an empty list.
            if not required:
                del content["schema"]["required"]

    def distinguishing_row(self) -> RowFields | None:
        """Return an otherwise valid request without the field."""
        return {"request": {"without": (*self.place, self.name)}}


@dataclass(frozen=True)
class TakenUnknown(_PlaceMutant):
    """An undocumented field is accepted."""

    @classmethod
    def generate(cls, operation: OperationSpec) -> Iterator[Self]:
        """Yield a mutant for each closed object."""
        for place, schema in _places_of(operation).items():
            if schema.get("additionalProperties") is False:
                yield cls(operation.operation_id, place)

    def _change(self, schema: Any) -> None:
        schema["additionalProperties"] = True

    def distinguishing_row(self) -> RowFields | None:
        """Return an otherwise valid request with an additional field."""
        return {"request": {"place": (*self.place, "unknown_field"), "value": "x"}}


REQUEST_RULES: tuple[type[Mutant], ...] = (
    AcceptedKind,
    RefusedKind,
    IgnoredScope,
    DoubledLimit,
    LostRule,
    UnrequiredField,
    TakenUnknown,
)


def _operation(document: Any, spec: OperationSpec) -> Any:
    """Return an operation of a document, with all references replaced by copies."""
    item = document["paths"][spec.path]
    for method in METHODS:
        if method in item and "parameters" in item:
            item[method]["parameters"] = [*item["parameters"], *item[method].get("parameters", ())]
    item.pop("parameters", None)
    operation = item[spec.method]
    if "parameters" in operation:
        operation["parameters"] = [_inline(each) for each in operation["parameters"]]
    if "requestBody" in operation:
        operation["requestBody"] = _inline(operation["requestBody"])
    return operation


def _inline(value: Any) -> Any:
    """Copy a value with its references resolved; the document has no circular ones."""
    if isinstance(value, list):
        return [_inline(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {name: _inline(each) for name, each in resolve(load_document(), value).items()}


def _places_of(operation: OperationSpec) -> Mapping[Place, Any]:
    """Return each value of a request with its schema; media types share schemas."""
    return dict(_places_in(_operation(deepcopy(load_document()), operation)))


def _places_in(operation: Any) -> Iterator[tuple[Place, Any]]:
    """Yield each value of a request with its schema."""
    for each in operation.get("parameters", ()):
        yield (each["in"], each["name"]), each["schema"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from _places_below(("body",), content["schema"])


def _places_below(place: Place, schema: Any) -> Iterator[tuple[Place, Any]]:
    yield place, schema
    for name, below in schema.get("properties", {}).items():
        yield from _places_below((*place, name), below)
    if "items" in schema:
        yield from _places_below((*place, "*"), schema["items"])


def _example(schema: Mapping[str, Any]) -> Any:
    """Return an example of a schema, of the type that its rules apply to."""
    if schema.get("example") is not None:
        return schema["example"]
    return [_example(schema["items"])] if "items" in schema else ""
