"""Dialects: how a published API words its refusals, names its fields and wraps its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from accounts.errors import AccountError, Forbidden, Invalid, Violation
from handlers.timestamps import format_timestamp

Place = Literal["body", "query", "path", "header"]

_NO_PLACES: Mapping[str, Place] = MappingProxyType({})


class ResponseMeta(NamedTuple):
    """The id of the request that a response answers, the time of the response, and the public URL.

    `issuer` is the public URL of the deployment, as in JWTs.
    """

    request_id: str
    time: datetime
    issuer: str

    @property
    def timestamp(self) -> str:
        """The time in RFC 3339, UTC, in whole seconds, as the references print it."""
        return format_timestamp(self.time)


@dataclass(frozen=True, slots=True)
class PlacedViolation(Violation):
    """A violation by the names of the request; `field` is the path from the top of `place`."""

    place: Place

    def __str__(self) -> str:
        name = "/".join(map(str, self.field))
        return f"{self.place} {name}: {self.rule}" if name else f"{self.place}: {self.rule}"

    @property
    def pointer(self) -> str:
        """A JSON pointer (RFC 6901) into the body, or the name of a parameter."""
        if self.place != "body":
            return "/".join(map(str, self.field))
        steps = (str(step).replace("~", "~0").replace("/", "~1") for step in self.field)
        return "".join(f"/{step}" for step in steps)


class Refusal(NamedTuple):
    """A refusal ready to be rendered; `violations` is None unless fields broke rules."""

    error: AccountError
    status: int
    meta: ResponseMeta
    violations: Sequence[PlacedViolation] | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One published API.

    `statuses` are those in which it differs from the others, and `refusal_type` is the content type
    of refusals. `field_names` maps the acts' names of fields to its own, where they differ.
    `published` is False for operations of the service that follow no published account API.
    """

    statuses: Mapping[type[AccountError], int]
    refusal_type: str
    render: Callable[[Refusal], Mapping[str, Any]]
    wrap: Callable[[Any, ResponseMeta], Any] = lambda body, _meta: body
    field_names: Mapping[str, str] = field(default_factory=dict)
    published: bool = True

    @property
    def fields_of_acts(self) -> Mapping[str, str]:
        """The acts' names of fields by its own, where they differ."""
        return {own: name for name, own in self.field_names.items()}

    def refuse(
        self,
        error: AccountError,
        status: int,
        meta: ResponseMeta,
        places: Mapping[str, Place] = _NO_PLACES,
    ) -> Mapping[str, Any]:
        """Render a refusal; `places` are those of the operation's parameters by their names."""
        violations = None
        if isinstance(error, Invalid):
            violations = [self._place(violation, places) for violation in error.violations]
        return self.render(Refusal(error, status, meta, violations))

    def _place(self, violation: Violation, places: Mapping[str, Place]) -> PlacedViolation:
        if isinstance(violation, PlacedViolation):
            return violation  # found in the request itself, so by its names already
        if not violation.field:
            return PlacedViolation((), violation.rule, "body")
        first = str(violation.field[0])
        name = self.field_names.get(first, first)
        path = (name, *violation.field[1:])
        return PlacedViolation(path, violation.rule, places.get(name, "body"))


def notices(refusal: Refusal) -> Sequence[str]:
    """Return the policies' notices to the caller, if a policy refused."""
    return refusal.error.notices if isinstance(refusal.error, Forbidden) else ()


def listed_notices(refusal: Refusal) -> Mapping[str, Any]:
    """Return a `notices` member; empty without notices."""
    listed = list(notices(refusal))
    return {"notices": listed} if listed else {}


def details(refusal: Refusal) -> Mapping[str, Any]:
    """Return a `details` member that lists the violations or the notices; empty without either."""
    if refusal.violations is None:
        listed = listed_notices(refusal)
        return {"details": listed} if listed else {}
    violations = [
        {"in": violation.place, "field": violation.pointer, "rule": violation.rule}
        for violation in refusal.violations
    ]
    return {"details": {"violations": violations}}


def locations(refusal: Refusal) -> list[Mapping[str, Any]]:
    """Return the violations in the form of FastAPI's `HTTPValidationError`."""
    return [
        {
            "loc": [violation.place, *violation.field],
            "msg": violation.rule,
            "type": refusal.error.code,
        }
        for violation in refusal.violations or ()
    ]
