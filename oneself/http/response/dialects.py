"""How each dialect dresses an answer and a refusal, and which dialect owns a path."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from accounts.errors import (
    AccountError,
    Forbidden,
    Invalid,
    InvalidClient,
    InvalidRequest,
    Malformed,
    Violation,
)
from handlers.timestamps import format_timestamp

__all__ = ["Dialect", "Dialects", "ResponseMeta", "path_pattern"]


class ResponseMeta(NamedTuple):
    """What an answer says of itself: its request id, and when it was made."""

    request_id: str
    moment: datetime

    @property
    def timestamp(self) -> str:
        """RFC 3339 in UTC, in whole seconds, as the references print it."""
        return format_timestamp(self.moment)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One dialect. `statuses` are those in which it differs from the others."""

    statuses: Mapping[type[AccountError], int]
    refusal_type: str
    refuse: Callable[[AccountError, int, ResponseMeta], Mapping[str, Any]]
    wrap: Callable[[Any, ResponseMeta], Any] = lambda body, _meta: body


def _ipto_envelope(data: Any, meta: ResponseMeta) -> Mapping[str, Any]:
    return {"data": data, "request_id": meta.request_id, "timestamp": meta.timestamp}


def _ipto_refusal(refusal: AccountError, _status: int, meta: ResponseMeta) -> Mapping[str, Any]:
    return {
        "error": {"code": refusal.code, "message": str(refusal), **_details(refusal)},
        "request_id": meta.request_id,
        "timestamp": meta.timestamp,
    }


def _hyperclast_refusal(
    refusal: AccountError, _status: int, _meta: ResponseMeta
) -> Mapping[str, Any]:
    detail: Any = " ".join(_notices(refusal)) or str(refusal)
    if isinstance(refusal, Invalid):
        detail = _locations(refusal)
    return {"error": refusal.code, "message": str(refusal), "detail": detail}


def _scaikey_refusal(refusal: AccountError, _status: int, _meta: ResponseMeta) -> Mapping[str, Any]:
    if isinstance(refusal, Invalid):
        return {"detail": _locations(refusal)}
    return {"detail": " ".join((str(refusal), *_notices(refusal))), "code": refusal.code}


def _problem(refusal: AccountError, status: int, meta: ResponseMeta) -> Mapping[str, Any]:
    detail = str(refusal)
    if isinstance(refusal, Invalid):
        detail = "; ".join(map(str, refusal.violations))[:2000]
    return {
        "type": f"urn:oneself:problem:{refusal.code}",
        "title": refusal.message,
        "status": status,
        "detail": detail,
        "code": refusal.code,
        "instance": f"urn:oneself:request:{meta.request_id}",
        **_listed_notices(refusal),
    }


def _jitsudo_refusal(refusal: AccountError, _status: int, _meta: ResponseMeta) -> Mapping[str, Any]:
    details = _details(refusal) if isinstance(refusal, Invalid) else {}
    return {
        "code": refusal.code,
        "message": str(refusal),
        **details,
        **_listed_notices(refusal),
    }


def _oauth_refusal(refusal: AccountError, _status: int, _meta: ResponseMeta) -> Mapping[str, Any]:
    # RFC 6749 section 5.2 has one word for whatever is wrong with the shape of a request, and no
    # quotation mark or backslash in a description.
    code = InvalidRequest.code if isinstance(refusal, Malformed) else refusal.code
    text = str(refusal)
    if isinstance(refusal, Invalid):
        text = "; ".join(map(str, refusal.violations))
    return {"error": code, "error_description": text.translate(_PLAIN)[:2000]}


_PLAIN = str.maketrans({'"': "'", "\\": "/"})


def _notices(refusal: AccountError) -> tuple[str, ...]:
    return refusal.notices if isinstance(refusal, Forbidden) else ()


def _listed_notices(refusal: AccountError) -> Mapping[str, Any]:
    notices = _notices(refusal)
    return {"notices": list(notices)} if notices else {}


def _details(refusal: AccountError) -> Mapping[str, Any]:
    if not isinstance(refusal, Invalid):
        notices = _listed_notices(refusal)
        return {"details": notices} if notices else {}
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


_Statuses = Mapping[type[AccountError], int]
_SHAPE_400: _Statuses = {Invalid: 400}
_SHAPE_422: _Statuses = {Invalid: 422}

_PROBLEM = Dialect(_SHAPE_400, "application/problem+json", _problem)

#: By tag. Whatever has no dialect of its own refuses as RFC 9457 has it.
_DIALECTS: Mapping[str, Dialect] = {
    "ipto": Dialect(_SHAPE_400, "application/json", _ipto_refusal, _ipto_envelope),
    "hyperclast": Dialect(_SHAPE_422, "application/json", _hyperclast_refusal),
    "scaikey": Dialect(_SHAPE_422, "application/json", _scaikey_refusal),
    "hantera": _PROBLEM,
    "jitsudo": Dialect(_SHAPE_400, "application/json", _jitsudo_refusal),
    # A client that did not prove itself is nobody we know, where others only name one.
    "oauth": Dialect({**_SHAPE_400, InvalidClient: 401}, "application/json", _oauth_refusal),
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
