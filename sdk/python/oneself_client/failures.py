"""The base classes of all errors; `errors` has a class for each refusal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from .retries import retry_after

__all__ = [
    "MfaRequired",
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
    """The base class of all errors of this package, except those for wrong arguments."""


class Unreachable(OneselfError):
    """No response: the service could not be reached, disconnected, or took too long."""

    def __init__(self, message: str, *, may_have_been_carried_out: bool) -> None:
        super().__init__(message)
        #: False if the request was certainly not sent, or only reads.
        self.may_have_been_carried_out = may_have_been_carried_out


class UnexpectedAnswer(OneselfError):
    """A response that the API document does not describe, for example from a proxy."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        super().__init__(f"response with status {status} that the API document does not describe")
        self.status = status
        self.headers = headers
        self.content = content


class NotModified(OneselfError):
    """The resource has not changed since the ETag in `if_none_match`."""


class MfaRequired(OneselfError):
    """The password is right, and the account has a second factor."""

    def __init__(
        self, challenge_id: str, methods: Sequence[str], complete: Callable[[str], Any]
    ) -> None:
        super().__init__(f"the login needs a code: {', '.join(methods)}")
        #: A secret: it stands for the password for ten minutes.
        self.challenge_id = challenge_id
        #: The ways to make a code, such as `totp`.
        self.methods = tuple(methods)
        self._complete = complete

    def complete(self, *, code: str) -> Any:
        """Send a code, and return what the login returns; of an asynchronous client, to be awaited.

        Raises:
            Refused: The code is wrong, or the login has ended.
        """
        return self._complete(code)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a field of the request breaks."""

    #: `body`, `query`, `path` or `header`.
    place: str
    #: A JSON pointer to the field, or the name of the parameter.
    field: str
    rule: str

    def __str__(self) -> str:
        return f"{self.place} {self.field}".rstrip() + f": {self.rule}"


class Refused(OneselfError):
    """A request rejected by the service. `oneself_client.errors` has a class for each code."""

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
        super().__init__(message)
        self.code = code
        #: For people; the wording may change. Programs should check the class.
        self.message = message
        self.status = status
        self.headers = headers
        #: The body of the response, in the format of the dialect.
        self.body = body
        #: The notices of the policies that denied the request.
        self.notices = tuple(notices)
        self.violations = tuple(violations)

    def __str__(self) -> str:
        """Return all that a log needs: message, fields, status, code and request id."""
        # In one dialect the message is the rule of the first violation.
        is_rule = any(self.message == violation.rule for violation in self.violations)
        texts = [] if is_rule else [self.message]
        texts += [*self.notices, "; ".join(str(violation) for violation in self.violations)]
        request = f", request {self.request_id}" if self.request_id else ""
        return f"{' '.join(filter(None, texts))} ({self.status} {self.code}{request})"

    @property
    def request_id(self) -> str | None:
        """The id of the request in the service's log."""
        return self.headers.get("X-Request-Id")

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait before the next attempt, if the service sent `Retry-After`."""
        return retry_after(self.headers)


@dataclass(frozen=True, slots=True)
class Shape:
    """The paths of a dialect to the parts of a refusal in the response body."""

    code: Steps
    message: Steps
    notices: Steps | None
    violations: Steps | None


def failure_of(
    answer: httpx2.Response, shapes: Sequence[Shape], classes: Mapping[str, type[Refused]]
) -> OneselfError:
    """Return the exception for an unsuccessful response."""
    if answer.status_code == httpx2.codes.NOT_MODIFIED:
        return NotModified("The resource has not changed.")
    unexpected = UnexpectedAnswer(answer.status_code, answer.headers, answer.content)
    try:
        body: Any = answer.json()
    except ValueError:
        return unexpected
    for shape in shapes:
        code, message = _follow(body, shape.code), _follow(body, shape.message)
        if isinstance(code, str) and isinstance(message, str):
            # A code of a newer service has no class in this package.
            return classes.get(code, Refused)(
                code=code,
                message=message,
                status=answer.status_code,
                headers=answer.headers,
                body=body,
                notices=[str(notice) for notice in _listed(body, shape.notices)],
                violations=[_violation(item) for item in _listed(body, shape.violations)],
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
    items = _follow(body, steps) if steps is not None else None
    return items if isinstance(items, list) else ()


def _violation(item: Mapping[str, Any]) -> Violation:
    """Parse a violation in either of the two formats of the dialects."""
    if "loc" in item:
        place, *steps = (str(step) for step in item["loc"])
        return Violation(place, "".join(f"/{step}" for step in steps), str(item["msg"]))
    return Violation(str(item["in"]), str(item["field"]), str(item["rule"]))
