"""The transports, which send calls with retries and return their replies."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import httpx2

from .calls import Call, Credentials, Operation
from .failures import MfaRequired, UnexpectedAnswer, Unreachable
from .retries import Retries, was_certainly_not_sent
from .types import Reply

__all__ = ["AsyncTransport", "Transport"]

#: The login, and what completes one that waits for a second factor.
_LOG_IN = "ipto.logIn"
_COMPLETE_LOG_IN = Operation("ipto.completeLogIn", "POST", frozenset())
_CHALLENGE_PATH = "/v1/auth/mfa/challenge"

#: Stack levels from the warning to the caller of the dialect's method.
_CALLER = 5

T = TypeVar("T")
Outcome = httpx2.Response | httpx2.RequestError
Read = Callable[[httpx2.Response], T]


@dataclass(frozen=True, slots=True)
class _Sender:
    """The base of both transports."""

    base_url: str
    credentials: Credentials
    retries: Retries

    def _arguments(self, call: Call) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "method": call.operation.method,
            "url": self.base_url + call.path,
            "headers": {**call.headers, **self.credentials.headers_for(call.operation)},
        }
        # Leave out missing parts: empty values would be sent.
        optional = {
            "params": call.params,
            "json": call.json,
            "data": call.data,
            "content": call.content,
        }
        return arguments | {name: value for name, value in optional.items() if value is not None}

    def _wait_after(self, attempt: int, call: Call, outcome: Outcome) -> float | None:
        return self.retries.wait_after(attempt, outcome, is_safe=call.may_be_sent_twice)


@dataclass(frozen=True, slots=True)
class Transport(_Sender):
    """Sends calls synchronously."""

    http: httpx2.Client = field(kw_only=True)

    def send(self, call: Call, read: Read[T]) -> Reply[T]:
        """Send a call.

        Raises:
            Refused: The service rejected the request.
            MfaRequired: A login needs a second factor.
            Unreachable: There was no response.
            UnexpectedAnswer: The API document does not describe the response.
        """
        outcome, attempt = self._attempt(call), 1
        while (wait := self._wait_after(attempt, call, outcome)) is not None:
            time.sleep(wait)
            outcome, attempt = self._attempt(call), attempt + 1
        _require_no_challenge(call, outcome, lambda completion: self.send(completion, read))
        return _finish(call, outcome, read)

    def _attempt(self, call: Call) -> Outcome:
        try:
            return self.http.request(**self._arguments(call))
        except httpx2.RequestError as error:
            return error


@dataclass(frozen=True, slots=True)
class AsyncTransport(_Sender):
    """Sends calls asynchronously, on asyncio or trio."""

    http: httpx2.AsyncClient = field(kw_only=True)

    async def send(self, call: Call, read: Read[T]) -> Reply[T]:
        """Send a call.

        Raises:
            Refused: The service rejected the request.
            MfaRequired: A login needs a second factor.
            Unreachable: There was no response.
            UnexpectedAnswer: The API document does not describe the response.
        """
        outcome, attempt = await self._attempt(call), 1
        while (wait := self._wait_after(attempt, call, outcome)) is not None:
            await anyio.sleep(wait)
            outcome, attempt = await self._attempt(call), attempt + 1
        _require_no_challenge(call, outcome, lambda completion: self.send(completion, read))
        return _finish(call, outcome, read)

    async def _attempt(self, call: Call) -> Outcome:
        try:
            return await self.http.request(**self._arguments(call))
        except httpx2.RequestError as error:
            return error


def _require_no_challenge(call: Call, outcome: Outcome, send: Callable[[Call], Any]) -> None:
    """Raise `MfaRequired` if the response is the challenge of a login."""
    if isinstance(outcome, httpx2.RequestError) or call.operation.operation_id != _LOG_IN:
        return
    try:
        challenge = outcome.json()["data"]
        challenge_id, methods = str(challenge["challenge_id"]), list(map(str, challenge["methods"]))
    except (ValueError, KeyError, TypeError):
        return

    def complete(code: str) -> Any:
        cookie = {"cookie": call.json["cookie"]} if "cookie" in call.json else {}
        body = {"challenge_id": challenge_id, "code": code, **cookie}
        return send(Call(_COMPLETE_LOG_IN, _CHALLENGE_PATH, json=body))

    raise MfaRequired(challenge_id, methods, complete)


def _finish(call: Call, outcome: Outcome, read: Read[T]) -> Reply[T]:
    if isinstance(outcome, httpx2.RequestError):
        operation = call.operation
        raise Unreachable(
            f"{operation.operation_id}: no response ({type(outcome).__name__}: {outcome})",
            may_have_been_carried_out=not operation.is_safe and not was_certainly_not_sent(outcome),
        ) from outcome
    _warn_if_deprecated(call, outcome)
    try:
        value = read(outcome)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # The body does not have the documented shape.
        raise UnexpectedAnswer(outcome.status_code, outcome.headers, outcome.content) from error
    return Reply(value, outcome.status_code, outcome.headers)


def _warn_if_deprecated(call: Call, answer: httpx2.Response) -> None:
    """Warn if the service, which may be newer than this package, has deprecated an operation.

    The warning points to the caller's line, so Python shows it once for each line, in tests and
    scripts, and otherwise only on request.
    """
    if "Deprecation" not in answer.headers:
        return
    sunset = answer.headers.get("Sunset")
    link = answer.links.get("deprecation", {}).get("url")
    warnings.warn(
        f"{call.operation.operation_id} is deprecated"
        + (f" and will be removed after {sunset}" if sunset else "")
        + (f"; see {link}" if link else ""),
        DeprecationWarning,
        stacklevel=_CALLER,
    )
