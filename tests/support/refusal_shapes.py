"""What a refusal looks like in each dialect, read from contracts/refusals.yaml."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.matching import fill

__all__ = ["RefusalShapes", "Refused"]


@dataclass(frozen=True)
class Refused:
    """A refusal as a dialect puts it."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: Any


class RefusalShapes:
    """The codes with their status and sentence, and the dialects with their shape."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        self._codes: Mapping[str, Any] = described["codes"]
        self._dialects: Mapping[str, Any] = described["dialects"]

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(self._codes)

    def in_dialect(
        self,
        dialect: str,
        code: str,
        *,
        says: str | None = None,
        violations: Iterable[Mapping[str, Any]] | None = None,
    ) -> Refused:
        """One refusal; `says` replaces its sentence, `violations` go where the dialect has them."""
        known, shape = self._codes[code], self._dialects[dialect]
        status = shape["invalid_status"] if known["status"] == "invalid" else known["status"]
        values = {
            "code": code,
            "title": known["message"],
            "message": says or known["message"],
            "status": status,
        }
        body = shape["plain"]
        if violations is not None:
            body = shape["listing"]
            listed = [
                fill(shape["violation"], {**values, **_places(each)}.__getitem__)
                for each in violations
            ]
            joint = shape.get("joint")
            values["violations"] = listed if joint is None else joint.join(listed)
        return Refused(
            status,
            shape["content_type"],
            known.get("headers", {}),
            fill(body, values.__getitem__),
        )


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
