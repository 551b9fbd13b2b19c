"""Reads path, query and header parameters as the document describes them."""

import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema_rs import Draft4Validator

from accounts.errors import InvalidRequest
from handlers.dialect import Place, PlacedViolation
from oneself.document import OperationSpec
from oneself.http.request.forms import NOT_PAIRS, parse_pairs
from oneself.http.request.schemas import Schemas, violations

#: The standard library takes these as plain text, even in strict mode.
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_MOST_QUERY_FIELDS = 32
_BUILTINS_IN_USE = frozenset({"id", "type", "format"})


class Parameters:
    """The parameters of one operation, compiled once."""

    def __init__(self, spec: OperationSpec, schemas: Schemas) -> None:
        self._parameters = [
            _Parameter(parameter, schemas.validator(parameter["schema"]))
            for parameter in spec.parameters
        ]
        #: By the names that handlers have for them.
        self.types = {each.python_name: each.type for each in self._parameters}
        #: By their names on the wire.
        self.places = {each.name: each.place for each in self._parameters}
        self._query_names = [name for name, place in self.places.items() if place == "query"]
        # The caller chose the unknown name, so only those of the document are returned.
        documented = f" (documented: {', '.join(self._query_names)})" if self._query_names else ""
        self._unknown_name = f"has a parameter that is not documented{documented}"

    def read(
        self, path: Mapping[str, str], query: bytes, headers: Mapping[bytes, bytes]
    ) -> dict[str, Any]:
        """Return the valid parameters of one request by their Python names.

        Raises:
            InvalidRequest: One is missing, invalid, unknown or repeated.
        """
        fields = self._read_query(query) if query else {}
        values: dict[str, Any] = {}
        broken: list[PlacedViolation] = []
        for parameter in self._parameters:
            if parameter.place == "path":
                text = path.get(parameter.name)
            elif parameter.place == "query":
                text = fields.get(parameter.name)
            else:
                raw = headers.get(parameter.header)
                text = None if raw is None else raw.decode("latin-1")
            broken += parameter.read(text, values)
        if broken:
            raise InvalidRequest(broken)
        return values

    def _read_query(self, query: bytes) -> dict[str, str]:
        if _BROKEN_ESCAPE.search(query):
            raise InvalidRequest([PlacedViolation((), NOT_PAIRS, "query")])
        pairs = parse_pairs(query, "query", most=_MOST_QUERY_FIELDS)
        names = [name for name, _ in pairs]
        if not set(names).issubset(self._query_names):
            raise InvalidRequest([PlacedViolation((), self._unknown_name, "query")])
        broken = [
            PlacedViolation((name,), "must not stand twice", "query")
            for name in sorted(self._query_names)
            if names.count(name) > 1
        ]
        if broken:
            raise InvalidRequest(broken)
        return dict(pairs)


class _Parameter:
    def __init__(self, spec: Mapping[str, Any], validator: Draft4Validator) -> None:
        self.name: str = spec["name"]
        self.place: Place = spec["in"]
        self.header = self.name.lower().encode()
        self.python_name = python_name(self.name)
        self._required = spec.get("required", False)
        self._default = spec["schema"].get("default")
        kind, self._convert = _READERS[spec["schema"]["type"]]
        self.type: Any = kind if self._required or self._default is not None else kind | None
        self._validator = validator

    def read(self, text: str | None, values: dict[str, Any]) -> list[PlacedViolation]:
        """Put the value into `values`, and return the rules that it breaks."""
        if text is None:
            if self._required:
                return [PlacedViolation((self.name,), "is required", self.place)]
            values[self.python_name] = self._default
            return []
        value = self._convert(text)
        values[self.python_name] = value
        return violations(self._validator.iter_errors(value), self.place, self.name)


def _integer(text: str) -> int | str:
    # Python's int() also takes `1_0`, ` 1` and digits of other scripts.
    return int(text) if _INTEGER.fullmatch(text) else text


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


#: A text that cannot be converted stays a string, which the validator then rejects.
_READERS: Mapping[str, tuple[type, Callable[[str], Any]]] = {
    "string": (str, str),
    "integer": (int, _integer),
    "boolean": (bool, _boolean),
}


def python_name(name: str) -> str:
    """Return a parameter's Python name: `X-Tenant-ID` is `x_tenant_id`, `id` is `id_`."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("-", "_")).lower()
    return f"{plain}_" if keyword.iskeyword(plain) or plain in _BUILTINS_IN_USE else plain
