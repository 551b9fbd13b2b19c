"""How each dialect dresses an answer and a refusal, and which dialect owns a path."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.errors import AccountError, Invalid, Violation

__all__ = ["Dialect", "Dialects", "Stamp", "path_pattern"]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an answer says of itself: its request id, and when it was made."""

    request_id: str
    moment: datetime

    @property
    def timestamp(self) -> str:
        """RFC 3339 in UTC, in whole seconds, as the references print it."""
        return self.moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect. `invalid_status` is its status for a field that breaks a rule."""

    invalid_status: int
    refusal_type: str
    refuse: Callable[[AccountError, int, Stamp], Mapping[str, Any]]
    dress: Callable[[Any, Stamp], Any] = lambda body, _stamp: body


def _ipto_envelope(data: Any, stamp: Stamp) -> Mapping[str, Any]:
    return {"data": data, "request_id": stamp.request_id, "timestamp": stamp.timestamp}


def _ipto_refusal(refusal: AccountError, _status: int, stamp: Stamp) -> Mapping[str, Any]:
    return {
        "error": {"code": refusal.code, "message": str(refusal), **_details(refusal)},
        "request_id": stamp.request_id,
        "timestamp": stamp.timestamp,
    }


def _hyperclast_refusal(refusal: AccountError, _status: int, _stamp: Stamp) -> Mapping[str, Any]:
    detail = _locations(refusal) if isinstance(refusal, Invalid) else str(refusal)
    return {"error": refusal.code, "message": str(refusal), "detail": detail}


def _scaikey_refusal(refusal: AccountError, _status: int, _stamp: Stamp) -> Mapping[str, Any]:
    if isinstance(refusal, Invalid):
        return {"detail": _locations(refusal)}
    return {"detail": str(refusal), "code": refusal.code}


def _problem(refusal: AccountError, status: int, stamp: Stamp) -> Mapping[str, Any]:
    detail = str(refusal)
    if isinstance(refusal, Invalid):
        detail = "; ".join(map(str, refusal.violations))[:2000]
    return {
        "type": f"urn:oneself:problem:{refusal.code}",
        "title": refusal.message,
        "status": status,
        "detail": detail,
        "code": refusal.code,
        "instance": f"urn:oneself:request:{stamp.request_id}",
    }


def _jitsudo_refusal(refusal: AccountError, _status: int, _stamp: Stamp) -> Mapping[str, Any]:
    return {"code": refusal.code, "message": str(refusal), **_details(refusal)}


def _details(refusal: AccountError) -> Mapping[str, Any]:
    if not isinstance(refusal, Invalid):
        return {}
    found = [{"in": v.place, "field": _field(v), "rule": v.rule} for v in refusal.violations]
    return {"details": {"violations": found}}


def _field(violation: Violation) -> str:
    """A JSON pointer (RFC 6901) into the body, or the name of a parameter."""
    if violation.place != "body":
        return "/".join(map(str, violation.field))
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in violation.field)
    return "".join(f"/{step}" for step in steps)


def _locations(refusal: Invalid) -> list[Mapping[str, Any]]:
    return [
        {"loc": [v.place, *v.field], "msg": v.rule, "type": refusal.code}
        for v in refusal.violations
    ]


_PROBLEM = Dialect(400, "application/problem+json", _problem)

#: By tag. Whatever has no dialect of its own refuses as RFC 9457 has it.
_DIALECTS: Mapping[str, Dialect] = {
    "ipto": Dialect(400, "application/json", _ipto_refusal, _ipto_envelope),
    "hyperclast": Dialect(422, "application/json", _hyperclast_refusal),
    "scaikey": Dialect(422, "application/json", _scaikey_refusal),
    "hantera": _PROBLEM,
    "jitsudo": Dialect(400, "application/json", _jitsudo_refusal),
    "status": _PROBLEM,
}


class Dialects:
    """Which dialect owns a path, so that even a refusal before routing speaks it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._literal: dict[str, Dialect] = {}
        self._templates: list[tuple[re.Pattern[str], Dialect]] = []
        for path, item in document["paths"].items():
            tag = next(each["tags"][0] for each in item.values() if isinstance(each, dict))
            if "{" in path:
                self._templates.append((path_pattern(path), _DIALECTS[tag]))
            else:
                self._literal[path] = _DIALECTS[tag]

    def owner(self, path: str) -> Dialect:
        """The dialect of a path; of an unknown one, problem+json."""
        if found := self._literal.get(path):
            return found
        return next(
            (dialect for pattern, dialect in self._templates if pattern.fullmatch(path)), _PROBLEM
        )

    @staticmethod
    def named(tag: str) -> Dialect:
        """The dialect of a tag."""
        return _DIALECTS[tag]


def path_pattern(path: str) -> re.Pattern[str]:
    """A pattern of the paths that a template stands for; a parameter is one segment."""
    parts = re.split(r"\{[^}]+\}", path)
    return re.compile("[^/]+".join(map(re.escape, parts)))
