"""How each dialect dresses an answer and a refusal, and which dialect owns a path."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from accounts.errors import AccountError, Invalid, InvalidClient, InvalidRequest
from handlers.dialect import (
    Dialect,
    Refusal,
    ResponseMeta,
    details,
    listed_notices,
    locations,
    notices,
)
from handlers.errors import Malformed

__all__ = ["Dialects", "path_pattern"]


def _ipto_envelope(data: Any, meta: ResponseMeta) -> Mapping[str, Any]:
    return {"data": data, "request_id": meta.request_id, "timestamp": meta.timestamp}


def _ipto_refusal(refusal: Refusal) -> Mapping[str, Any]:
    error, meta = refusal.error, refusal.meta
    return {
        "error": {"code": error.code, "message": str(error), **details(refusal)},
        "request_id": meta.request_id,
        "timestamp": meta.timestamp,
    }


def _hyperclast_refusal(refusal: Refusal) -> Mapping[str, Any]:
    error = refusal.error
    detail: Any = " ".join(notices(refusal)) or str(error)
    if refusal.violations is not None:
        detail = locations(refusal)
    return {"error": error.code, "message": str(error), "detail": detail}


def _scaikey_refusal(refusal: Refusal) -> Mapping[str, Any]:
    if refusal.violations is not None:
        return {"detail": locations(refusal)}
    error = refusal.error
    return {"detail": " ".join((str(error), *notices(refusal))), "code": error.code}


def _problem(refusal: Refusal) -> Mapping[str, Any]:
    error = refusal.error
    detail = str(error)
    if refusal.violations is not None:
        detail = "; ".join(map(str, refusal.violations))[:2000]
    return {
        "type": f"urn:oneself:problem:{error.code}",
        "title": error.message,
        "status": refusal.status,
        "detail": detail,
        "code": error.code,
        "instance": f"urn:oneself:request:{refusal.meta.request_id}",
        **listed_notices(refusal),
    }


def _jitsudo_refusal(refusal: Refusal) -> Mapping[str, Any]:
    error = refusal.error
    return {
        "code": error.code,
        "message": str(error),
        **(details(refusal) if refusal.violations is not None else {}),
        **listed_notices(refusal),
    }


def _oauth_refusal(refusal: Refusal) -> Mapping[str, Any]:
    # RFC 6749 section 5.2 has one word for whatever is wrong with the shape of a request, and no
    # quotation mark or backslash in a description.
    error = refusal.error
    code = InvalidRequest.code if isinstance(error, Malformed) else error.code
    text = str(error)
    if refusal.violations is not None:
        text = "; ".join(map(str, refusal.violations))
    return {"error": code, "error_description": text.translate(_PLAIN)[:2000]}


_PLAIN = str.maketrans({'"': "'", "\\": "/"})
_HANTERA_NAMES = {
    "display_name": "name",
    "expires_at": "expiresAt",
    "new_password": "newPassword",
}


_Statuses = Mapping[type[AccountError], int]
_SHAPE_400: _Statuses = {Invalid: 400}
_SHAPE_422: _Statuses = {Invalid: 422}

_PROBLEM = Dialect(_SHAPE_400, "application/problem+json", _problem)

#: By tag. Whatever has no dialect of its own refuses as RFC 9457 has it.
_DIALECTS: Mapping[str, Dialect] = {
    "ipto": Dialect(_SHAPE_400, "application/json", _ipto_refusal, _ipto_envelope),
    "hyperclast": Dialect(_SHAPE_422, "application/json", _hyperclast_refusal),
    "scaikey": Dialect(_SHAPE_422, "application/json", _scaikey_refusal),
    "hantera": replace(_PROBLEM, field_names=_HANTERA_NAMES),
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
