"""Reading path, query and header parameters as the document describes them."""

import keyword
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from jsonschema_rs import Draft4Validator

from accounts.errors import InvalidRequest
from handlers.dialect import Place, PlacedViolation
from oneself.document import OperationSpec
from oneself.http.request.schemas import Schemas, violations

__all__ = ["Parameters", "python_name"]

#: The standard library takes these for plain text, even when told to be strict.
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
        self._query_names = {each.name for each in self._parameters if each.place == "query"}

    @property
    def names(self) -> frozenset[str]:
        """What a handler calls them."""
        return frozenset(parameter.python_name for parameter in self._parameters)

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """The places of the parameters by their names on the wire."""
        return {parameter.name: parameter.place for parameter in self._parameters}

    def read(
        self, path: Mapping[str, str], query: bytes, headers: Mapping[bytes, bytes]
    ) -> dict[str, Any]:
        """The parameters of one request by their Python names, each checked.

        Raises:
            InvalidRequest: One is missing, wrong, unknown, or stands twice.
        """
        sent = self._read_query(query) if query else {}
        found: dict[str, Any] = {}
        wrong: list[PlacedViolation] = []
        for parameter in self._parameters:
            if parameter.place == "path":
                text = path.get(parameter.name)
            elif parameter.place == "query":
                text = sent.get(parameter.name)
            else:
                raw = headers.get(parameter.header)
                text = None if raw is None else raw.decode("latin-1")
            wrong += parameter.check(text, found)
        if wrong:
            raise InvalidRequest(wrong)
        return found

    def _read_query(self, query: bytes) -> dict[str, str]:
        rule = "must be name=value pairs in percent-encoded UTF-8"
        if _BROKEN_ESCAPE.search(query):
            raise InvalidRequest([PlacedViolation((), rule, "query")])
        try:
            pairs = parse_qsl(
                query.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=_MOST_QUERY_FIELDS,
            )
        except ValueError as error:
            raise InvalidRequest([PlacedViolation((), rule, "query")]) from error
        names = [name for name, _ in pairs]
        if not self._query_names.issuperset(names):
            rule = "has a parameter that is not documented"
            raise InvalidRequest([PlacedViolation((), rule, "query")])
        wrong = [
            PlacedViolation((name,), "must not stand twice", "query")
            for name in sorted(self._query_names)
            if names.count(name) > 1
        ]
        if wrong:
            raise InvalidRequest(wrong)
        return dict(pairs)


class _Parameter:
    def __init__(self, spec: Mapping[str, Any], validator: Draft4Validator) -> None:
        self.name: str = spec["name"]
        self.place: Place = spec["in"]
        self.header = self.name.lower().encode()
        self.python_name = python_name(self.name)
        self._required = spec.get("required", False)
        self._default = spec["schema"].get("default")
        self._read = _READERS[spec["schema"]["type"]]
        self._validator = validator

    def check(self, text: str | None, found: dict[str, Any]) -> list[PlacedViolation]:
        """Put the value into `found`, or say what is wrong with it."""
        if text is None:
            if self._required:
                return [PlacedViolation((self.name,), "is required", self.place)]
            found[self.python_name] = self._default
            return []
        value = self._read(text)
        wrong = violations(self._validator.iter_errors(value), self.place, self.name)
        found[self.python_name] = value
        return wrong


def _integer(text: str) -> int | str:
    # Python's int() would take `1_0`, ` 1` and other digits than ASCII's.
    return int(text) if _INTEGER.fullmatch(text) else text


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


#: A text that cannot be read as its type stays a text, and the validator says that it is one.
_READERS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "boolean": _boolean,
}


def python_name(name: str) -> str:
    """What a handler calls a parameter: `X-Tenant-ID` is `x_tenant_id`, `id` is `id_`."""
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("-", "_")).lower()
    return f"{plain}_" if keyword.iskeyword(plain) or plain in _BUILTINS_IN_USE else plain
