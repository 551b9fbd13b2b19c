"""What a refusal looks like in each dialect, read from contracts/refusals.yaml."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oneself.conformance.rows.matching import fill

__all__ = ["RefusalShapes", "Refused"]


@dataclass(frozen=True)
class Refused:
    """A refusal as a dialect puts it; `code` is what it is called there."""

    code: str
    status: int
    content_type: str
    headers: Mapping[str, str]
    body: Any


class RefusalShapes:
    """The codes with their status and sentence, and the dialects with their shape."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._codes: Mapping[str, Any] = spec["codes"]
        self._dialects: Mapping[str, Any] = spec["dialects"]

    @property
    def codes(self) -> frozenset[str]:
        """Every code that there is."""
        return frozenset(self._codes)

    def where_codes_are(self, dialect: str) -> tuple[tuple[str, ...], ...]:
        """The steps from the body of a refusal to its code, for each shape that it can have."""
        shape = self._dialects[dialect]
        return (*_paths_to_code(shape["plain"]), *_paths_of_list(shape))

    def in_dialect(
        self,
        dialect: str,
        code: str,
        *,
        says: str | None = None,
        violations: Iterable[Mapping[str, Any]] | None = None,
        notices: Sequence[str] | None = None,
    ) -> Refused:
        """One refusal; `says` replaces its sentence.

        `violations`, and `notices` of policies, go where the dialect has them.
        """
        shape = self._dialects[dialect]
        known = self._codes[code] | shape.get("differs", {}).get(code, {})
        status = shape["invalid_status"] if known["status"] == "invalid" else known["status"]
        values = {
            "code": known.get("called", code),
            "title": known["message"],
            "message": says or known["message"],
            "status": status,
        }
        body = shape["plain"]
        if notices is not None:
            body = shape["noticed"]
            values |= {"notices": notices, "joined": " ".join(notices)}
        if violations is not None:
            body = shape["listing"]
            listed = [
                fill(shape["violation"], {**values, **_places(each)}.__getitem__)
                for each in violations
            ]
            joint = shape.get("joint")
            values["violations"] = listed if joint is None else joint.join(listed)
        instead = str.maketrans(shape.get("instead", {}))
        return Refused(
            values["code"],
            status,
            shape["content_type"],
            known.get("headers", {}),
            fill(body, lambda name: _translated(values[name], instead)),
        )


def _translated(value: Any, instead: Mapping[int, str]) -> Any:
    return value.translate(instead) if isinstance(value, str) else value


def _places(violation: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ways in which the dialects name a field: a JSON pointer, a path, a list of steps."""
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


def _paths_of_list(shape: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Where each violation has a code of its own, and the refusal has none beside them."""
    if [*_paths_to_code(shape["listing"])]:
        return
    for name, below in shape["listing"].items():
        if below == "${violations}":
            yield from _paths_to_code(shape["violation"], name)
