"""Refusals of each dialect, read from refusals.yaml."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneself_conformance.placeholders import fill


@dataclass(frozen=True)
class DialectRefusal:
    """A refusal in the form of a dialect, with the dialect's own code."""

    code: str
    status: int
    content_type: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class CatalogueEntry:
    """The meaning of a code for the caller, and the action that it asks for."""

    meaning: str
    action: str


@dataclass(frozen=True)
class DocumentedRefusals:
    """The responses of the document with the refusals of a dialect.

    `prefix` begins the names of the components. `codes` are in their order. `statuses` maps a
    status to the `description`, `headers` and `schema` of its response, and `examples` a code to
    the details in its example.
    """

    prefix: str
    codes: Sequence[str]
    statuses: Mapping[int, Mapping[str, Any]]
    examples: Mapping[str, Mapping[str, Any]]


class RefusalShapes:
    """The codes with their statuses and messages, and the shapes of the dialects."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._codes: Mapping[str, Any] = spec["codes"]
        self._statuses: Mapping[int, Any] = spec["statuses"]
        self._dialects: Mapping[str, Any] = spec["dialects"]

    @property
    def dialects(self) -> tuple[str, ...]:
        """All dialects, in the order of the document."""
        return tuple(self._dialects)

    @property
    def codes(self) -> frozenset[str]:
        """All codes."""
        return frozenset(self._codes)

    @property
    def catalogue(self) -> Mapping[str, CatalogueEntry]:
        """The entry of each code in the error catalogue, in their order."""
        return {
            code: CatalogueEntry(spec["meaning"], spec["action"])
            for code, spec in self._codes.items()
        }

    def documented(self, dialect: str) -> DocumentedRefusals:
        """Return the responses of the document with the refusals of a dialect."""
        shape = self._dialects[dialect]
        own = shape.get("statuses", {})
        default = {"schema": shape["schema"], "headers": {}}
        examples = {code: spec.get("example", {}) for code, spec in self._codes.items()}
        return DocumentedRefusals(
            shape["responses"],
            shape["returns"],
            {
                status: default | response | own.get(status, {})
                for status, response in self._statuses.items()
            },
            examples | shape.get("examples", {}),
        )

    def code_paths(self, dialect: str) -> tuple[tuple[str, ...], ...]:
        """Return the paths from the body of a refusal to its code, for each shape."""
        shape = self._dialects[dialect]
        paths = [*_paths_to_code(shape["plain"])]
        if not [*_paths_to_code(shape["listing"])]:
            # The refusal itself has no code, but each of its violations.
            for name, below in shape["listing"].items():
                if below == "${violations}":
                    paths += _paths_to_code(shape["violation"], name)
        return tuple(paths)

    def codes_in(self, dialect: str, body: Any) -> list[str]:
        """Return the codes in the body of a refusal, in the places of its dialect.

        Each item of a list of violations can have a code, as in ScaiKey.
        """
        found: list[Any] = []
        for path in self.code_paths(dialect):
            values = [body]
            for step in path:
                values = [
                    below[step]
                    for each in values
                    for below in (each if isinstance(each, list) else [each])
                    if isinstance(below, Mapping) and step in below
                ]
            found += values
        return [str(each) for each in found]

    def in_dialect(
        self,
        dialect: str,
        code: str,
        *,
        says: str | None = None,
        violations: Iterable[Mapping[str, Any]] | None = None,
        notices: Sequence[str] | None = None,
    ) -> DialectRefusal:
        """Return a refusal in the form of a dialect.

        `says` replaces its message; `violations` and `notices` go where the dialect puts them.
        """
        shape = self._dialects[dialect]
        code_spec = self._codes[code] | shape.get("differs", {}).get(code, {})
        status = (
            shape["invalid_status"] if code_spec["status"] == "invalid" else code_spec["status"]
        )
        values = {
            "code": code_spec.get("called", code),
            "title": code_spec["message"],
            "message": says or code_spec["message"],
            "status": status,
        }
        body = shape["plain"]
        if notices is not None:
            body = shape["noticed"]
            values |= {"notices": notices, "joined": " ".join(notices)}
        if violations is not None:
            body = shape["listing"]
            items = [
                fill(shape["violation"], {**values, **_field_forms(each)}.__getitem__)
                for each in violations
            ]
            values["violations"] = shape["joint"].join(items) if "joint" in shape else items
        replacements = str.maketrans(shape.get("instead", {}))
        return DialectRefusal(
            values["code"],
            status,
            shape["content_type"],
            code_spec.get("headers", {}),
            fill(body, lambda name: _translate(values[name], replacements)),
        )


def _translate(value: Any, replacements: Mapping[int, str]) -> Any:
    return value.translate(replacements) if isinstance(value, str) else value


def _field_forms(violation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a field's name in all notations: JSON pointer, path, and list of steps."""
    steps = violation["field"]
    name = "/".join(map(str, steps))
    escaped = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
    return {
        "in": violation["in"],
        "rule": violation["rule"],
        "pointer": escaped if violation["in"] == "body" else name,
        "place": f"{violation['in']} {name}".strip(),
        "steps": [violation["in"], *steps],
    }


def _paths_to_code(template: Any, *path: str) -> Iterator[tuple[str, ...]]:
    if template == "${code}":
        yield path
    elif isinstance(template, Mapping):
        for name, below in template.items():
            yield from _paths_to_code(below, *path, name)
