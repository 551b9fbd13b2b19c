"""What can come of a call other than its answer; `errors` has a class for each refusal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from .retries import retry_after

__all__ = [
    "NotModified",
    "OneselfError",
    "Refused",
    "Shape",
    "UnexpectedAnswer",
    "Unreachable",
    "Violation",
    "failure_of",
]

Steps = tuple[str | int, ...]


class OneselfError(Exception):
    """Anything that this package raises, but for wrong arguments."""


class Unreachable(OneselfError):
    """No answer came: the service cannot be reached, or it broke off, or it took too long."""

    def __init__(self, message: str, *, may_have_been_carried_out: bool) -> None:
        super().__init__(message)
        #: False if the request was certainly not sent, or only asks for something.
        self.may_have_been_carried_out = may_have_been_carried_out


class UnexpectedAnswer(OneselfError):
    """An answer that the document does not describe, a proxy's for example."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        super().__init__(f"an answer with status {status} that the document does not describe")
        self.status = status
        self.headers = headers
        self.content = content


class NotModified(OneselfError):
    """What was asked for is still what `if_none_match` named."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks one rule."""

    #: `body`, `query`, `path` or `header`.
    place: str
    #: A JSON pointer to the field, or the name of the parameter.
    field: str
    rule: str


class Refused(OneselfError):
    """The service says no. Each code has a class of its own in `oneself_client.errors`."""

    code: str = ""

    def __init__(
        self,
        *,
        code: str,
        message: str,
        status: int,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        notices: Sequence[str],
        violations: Sequence[Violation],
    ) -> None:
        super().__init__(f"{message} ({status} {code})")
        self.code = code
        #: For people to read; it may be reworded. Programs tell refusals apart by their class.
        self.message = message
        self.status = status
        self.headers = headers
        #: The refusal as its dialect has it.
        self.body = body
        #: What the policies of the deployment say, where one of them forbade it.
        self.notices = tuple(notices)
        self.violations = tuple(violations)

    @property
    def request_id(self) -> str | None:
        """Names the request in the service's log."""
        return self.headers.get("X-Request-Id")

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait before the next try, if the service says so."""
        return retry_after(self.headers)


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a dialect puts the parts of a refusal: the steps to each of them in the body."""

    code: Steps
    message: Steps
    notices: Steps | None
    violations: Steps | None


def failure_of(
    answer: httpx2.Response, shapes: Sequence[Shape], classes: Mapping[str, type[Refused]]
) -> OneselfError:
    """The exception for an answer that is not the one asked for."""
    if answer.status_code == httpx2.codes.NOT_MODIFIED:
        return NotModified("It is still what `if_none_match` named.")
    unexpected = UnexpectedAnswer(answer.status_code, answer.headers, answer.content)
    try:
        body: Any = answer.json()
    except ValueError:
        return unexpected
    for shape in shapes:
        code, message = _follow(body, shape.code), _follow(body, shape.message)
        if isinstance(code, str) and isinstance(message, str):
            # A code that is newer than this package has no class yet.
            return classes.get(code, Refused)(
                code=code,
                message=message,
                status=answer.status_code,
                headers=answer.headers,
                body=body,
                notices=[str(each) for each in _listed(body, shape.notices)],
                violations=[_violation(each) for each in _listed(body, shape.violations)],
            )
    return unexpected


def _follow(body: Any, steps: Steps) -> Any:
    for step in steps:
        try:
            body = body[step]
        except (KeyError, IndexError, TypeError):
            return None
    return body


def _listed(body: Any, steps: Steps | None) -> Sequence[Any]:
    found = _follow(body, steps) if steps is not None else None
    return found if isinstance(found, list) else ()


def _violation(listed: Mapping[str, Any]) -> Violation:
    """Read either of the two shapes that the dialects have for it."""
    if "loc" in listed:
        place, *steps = (str(step) for step in listed["loc"])
        return Violation(place, "".join(f"/{step}" for step in steps), str(listed["msg"]))
    return Violation(str(listed["in"]), str(listed["field"]), str(listed["rule"]))
