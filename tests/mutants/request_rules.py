"""Mutants that take what they should refuse, or refuse what they should take.

The service is built from a document in which one operation is another; the true one has the rest.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from accounts.services.principal import CredentialKind
from oneself.document import METHODS, OperationSpec, load_document, resolve
from tests.mutants.mutation import Mutant, Telling

__all__ = ["REQUEST_RULES", "Place"]

_UPPER = ("maxLength", "maxItems", "maxProperties", "maximum")
_LOWER = ("minLength", "minItems", "minimum")
_RULES = ("pattern", "format", "enum", "uniqueItems")
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

#: What rows call each kind of credential, and the security schemes that carry it.
_KINDS: Mapping[str, tuple[CredentialKind, tuple[str, ...]]] = {
    "session": (CredentialKind.SESSION, ("session", "sessionCookie")),
    "jwt": (CredentialKind.JWT, ("jwt",)),
    "api_key": (CredentialKind.API_KEY, ("apiKey",)),
    "access_token": (CredentialKind.ACCESS_TOKEN, ("accessToken",)),
    "pat": (CredentialKind.PAT, ("personalAccessToken",)),
}

#: Where in a request: the part, and the way from there to a value, with `*` for items of a list.
Place = tuple[str, ...]


@dataclass(frozen=True)
class _OfCredential(Mutant):
    """A mutant that lets in by a credential that it should refuse, or refuses a good one."""

    kind: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.kind}"

    def tell(self) -> Telling | None:
        """A good request with the credential."""
        return {"with": self.kind, "request": {}}


@dataclass(frozen=True)
class AcceptedKind(_OfCredential):
    """One kind of credential more is accepted; the policies are as they were."""

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each kind that a person's operation does not take."""
        for name, (kind, _) in _KINDS.items():
            if operation.accepted and kind not in operation.accepted:
                yield cls(operation.operation_id, name)

    def change_document(self, document: Any) -> None:
        """List the kind among those that are accepted."""
        operation = _operation(document, self.operation)
        operation["security"] = [*operation["security"], {_KINDS[self.kind][1][0]: []}]


@dataclass(frozen=True)
class RefusedKind(_OfCredential):
    """One kind of credential that is documented is not accepted."""

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each kind of those that an operation takes, but for the last."""
        for name, (kind, _) in _KINDS.items():
            if kind in operation.accepted and len(operation.accepted) > 1:
                yield cls(operation.operation_id, name)

    def change_document(self, document: Any) -> None:
        """Leave the kind out."""
        operation = _operation(document, self.operation)
        gone = {*_KINDS[self.kind][1]}
        operation["security"] = [each for each in operation["security"] if not gone & each.keys()]


@dataclass(frozen=True)
class IgnoredScope(Mutant):
    """The scope of the operation is asked of no credential, neither by the code nor by a policy."""

    alike: ClassVar[str] = "whatever it accepts has every scope"

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """The one of an operation that has a scope."""
        if operation.scope is not None:
            yield cls(operation.operation_id)

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {self.operation.scope}"

    def change_document(self, document: Any) -> None:
        """Say that the operation needs none."""
        _operation(document, self.operation)["x-scope"] = "any"

    def tell(self) -> Telling | None:
        """A good request by what has every other scope; a session and an access token have all."""
        if CredentialKind.JWT in self.operation.accepted:
            form = {"grant_type": _EXCHANGE, "subject_token_type": _TOKEN}
            form |= {"subject_token": "${me.session_token}", "scope": " ".join(self._others())}
            make = {"operation": "oauth.issueToken", "request": {"form": form}}
            keep = {"keep": {"narrow": "/access_token"}}
            return {"with": {"bearer": "${narrow}"}, "before": [make | keep], "request": {}}
        if CredentialKind.API_KEY in self.operation.accepted:
            wanted = {"name": "narrow", "scopes": self._others("ApiKeyScope")}
            make = {"operation": "ipto.createApiKey", "request": {"json": wanted}}
            keep = {"keep": {"narrow": "/data/key"}}
            return {"with": {"api_key": "${narrow}"}, "before": [make | keep], "request": {}}
        return None

    def _others(self, schema: str = "Scope") -> list[str]:
        every = load_document()["components"]["schemas"][schema]["enum"]
        return [each for each in every if each != self.operation.scope]


@dataclass(frozen=True)
class _OfPlace(Mutant):
    """A mutant that knows a rule less about one value of a request."""

    place: Place

    def __str__(self) -> str:
        return f"{self.rule}: {self.operation_id} {'/'.join(self.place)}"

    def change_document(self, document: Any) -> None:
        """Change the schema of the value, for this operation alone and in each media type."""
        for place, schema in _places_in(_operation(document, self.operation)):
            if place == self.place:
                self._change(schema)

    def tell(self) -> Telling | None:
        """A request in which the value breaks the rule, and nothing else does."""
        schema = _places_of(self.operation)[self.place]
        return {"request": {"place": self.place, "value": self._wrong_value(schema)}}

    def _change(self, schema: Any) -> None:
        raise NotImplementedError

    def _wrong_value(self, schema: Mapping[str, Any]) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class DoubledLimit(_OfPlace):
    """An upper limit is twice what is documented, or a lower one half of it."""

    keyword: str

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each limit of each value; how long a picture may be is a setting, and no schema's."""
        for place, schema in _places_of(operation).items():
            for keyword in (*_UPPER, *_LOWER):
                if keyword in schema and schema.get("format") != "binary":
                    yield cls(operation.operation_id, place, keyword)

    def __str__(self) -> str:
        return f"{super().__str__()} {self.keyword}"

    def _change(self, schema: Any) -> None:
        limit = schema[self.keyword]
        schema[self.keyword] = limit * 2 if self.keyword in _UPPER else limit // 2

    def _wrong_value(self, schema: Mapping[str, Any]) -> Any:
        return _BEYOND[self.keyword](_example(schema), schema[self.keyword])


#: By the example of a value and its limit, the nearest value that is beyond.
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
class LostRule(_OfPlace):
    """A pattern, a format, a list of words or the uniqueness of items is not looked at."""

    keyword: str

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each such rule about each value."""
        for place, schema in _places_of(operation).items():
            for keyword in _RULES:
                if keyword in schema and schema.get("format") != "binary":
                    yield cls(operation.operation_id, place, keyword)

    def __str__(self) -> str:
        return f"{super().__str__()} {self.keyword}"

    def _change(self, schema: Any) -> None:
        del schema[self.keyword]

    def _wrong_value(self, schema: Mapping[str, Any]) -> Any:
        example = _example(schema)
        if self.keyword == "uniqueItems":
            return [*example, *example]
        # No path has quotation marks or spaces in it.
        return "nothing-like-it" if self.place[0] == "path" else 'nothing "like" it'


@dataclass(frozen=True)
class UnrequiredField(_OfPlace):
    """What is required may be left out."""

    name: str

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each required field, and each required parameter that a path can do without."""
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
        """Require it no longer."""
        operation = _operation(document, self.operation)
        if self.place != ("body",):
            for each in operation["parameters"]:
                each["required"] = each["in"] == "path"
            return
        for content in operation["requestBody"]["content"].values():
            required = [each for each in content["schema"]["required"] if each != self.name]
            content["schema"] |= {"required": required}
            # Draft 4 has no list of nothing.
            if not required:
                del content["schema"]["required"]

    def tell(self) -> Telling | None:
        """A good request without it."""
        return {"request": {"without": (*self.place, self.name)}}


@dataclass(frozen=True)
class TakenUnknown(_OfPlace):
    """A field that the document does not know is taken for good."""

    @classmethod
    def every(cls, operation: OperationSpec) -> Iterator[Self]:
        """Each object that is closed."""
        for place, schema in _places_of(operation).items():
            if schema.get("additionalProperties") is False:
                yield cls(operation.operation_id, place)

    def _change(self, schema: Any) -> None:
        schema["additionalProperties"] = True

    def tell(self) -> Telling | None:
        """A good request with something beside."""
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


def _operation(document: Any, described: OperationSpec) -> Any:
    """An operation of a document, with all of its schemas and parameters its own."""
    item = document["paths"][described.path]
    for method in METHODS:
        if method in item and "parameters" in item:
            item[method]["parameters"] = [*item["parameters"], *item[method].get("parameters", ())]
    item.pop("parameters", None)
    operation = item[described.method]
    if "parameters" in operation:
        operation["parameters"] = [_inlined(each) for each in operation["parameters"]]
    if "requestBody" in operation:
        operation["requestBody"] = _inlined(operation["requestBody"])
    return operation


def _inlined(thing: Any) -> Any:
    """A copy with everything that it refers to in it; the document refers to nothing in circles."""
    if isinstance(thing, list):
        return [_inlined(each) for each in thing]
    if not isinstance(thing, Mapping):
        return thing
    return {name: _inlined(each) for name, each in resolve(load_document(), thing).items()}


def _places_of(operation: OperationSpec) -> Mapping[Place, Any]:
    """Each value of a request; what is in several media types is the same in each."""
    return dict(_places_in(_operation(deepcopy(load_document()), operation)))


def _places_in(operation: Any) -> Iterator[tuple[Place, Any]]:
    """Each value of a request, with its schema."""
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
    """A value that a schema describes, of the type that its rules are about."""
    if schema.get("example") is not None:
        return schema["example"]
    return [_example(schema["items"])] if "items" in schema else ""
