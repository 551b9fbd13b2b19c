"""What Schemathesis loads to fuzz a deployment: whom it asks as, and checks that it has not itself.

`oneself.conformance.fuzz.runs` names this module in `SCHEMATHESIS_HOOKS`, and passes the
deployment in more environment variables. Schemathesis calls each check with every response; the
checks themselves are in `oneself.conformance.fuzz.checks`, which does not know Schemathesis.
"""

import os
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import schemathesis
from requests.structures import CaseInsensitiveDict
from schemathesis.auths import AuthContext
from schemathesis.checks import CheckContext
from schemathesis.core.deserialization import DeserializationContext
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case

from oneself.conformance.fuzz import checks
from oneself.conformance.fuzz.identity import FuzzIdentity
from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.traffic import Traffic

_IDENTITY = FuzzIdentity.from_environment(os.environ)
_TRAFFIC = Traffic(os.environ.get("ONESELF_PROVING_TRAFFIC"))


@schemathesis.auth(refresh_interval=None)
class OneCredential:
    """The credential of the scheme that this run is about."""

    def get(self, _case: "Case[Any]", context: AuthContext) -> dict[str, str] | None:
        """The headers that carry it; None where the operation takes no such credential."""
        return _IDENTITY.headers_for(_operation_id(context.operation.definition.raw))

    def set(self, case: "Case[Any]", data: dict[str, str], _context: AuthContext) -> None:
        """Put them on a request."""
        case.headers = CaseInsensitiveDict([*(case.headers or {}).items(), *data.items()])


@schemathesis.deserializer("image/webp")
def read_picture(_context: DeserializationContext, response: Response) -> str:
    """The bytes of a picture, of which a schema says no more than that they are."""
    return response.content.decode("latin-1")


@schemathesis.hook
def before_call(_context: Any, case: "Case[Any]", _kwargs: Any) -> None:
    """Give each request a key of its own: an example's would stand for the first one for ever."""
    if case.headers and _is_valid(case) and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid4())


@schemathesis.hook
def after_call(_context: Any, case: "Case[Any]", response: Response) -> None:
    """Learn from an answer what has become of the person and their credentials."""
    operation_id = _operation_id(case.operation.definition.raw)
    _TRAFFIC.write(_request(response, case), _answer(response))
    _IDENTITY.learn_from(operation_id, _request(response, case), _answer(response))


def _check(rule: checks.Rule) -> None:
    """Register a rule as a check of Schemathesis, under its own name."""

    def check(_context: CheckContext, response: Response, case: "Case[Any]") -> None:
        exchange = checks.Exchange(
            OPERATIONS[_operation_id(case.operation.definition.raw)],
            _request(response, case),
            _answer(response),
            valid=_is_valid(case),
        )
        broken = [*rule(exchange, _IDENTITY)]
        assert not broken, "\n".join(broken)  # noqa: S101 # how Schemathesis is told

    check.__name__ = rule.__name__
    check.__doc__ = rule.__doc__
    schemathesis.check(check)


for _rule in checks.RULES:
    _check(_rule)


def _is_valid(case: "Case[Any]") -> bool:
    """Whether every part was generated to have the documented shape."""
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def _operation_id(raw: dict[str, Any]) -> str:
    return str(raw["operationId"])


def _answer(response: Response) -> Answer:
    headers = tuple(_pairs(response))
    return Answer(response.status_code, headers, response.content or b"")


def _pairs(response: Response) -> Iterator[tuple[str, str]]:
    for name, values in response.headers.items():
        for value in values:
            yield name, value


def _request(response: Response, case: "Case[Any]") -> Request:
    """The request as it went out."""
    sent = response.request
    body: Any = sent.body or b""
    return Request(
        str(sent.method or case.method),
        str(sent.path_url),
        tuple((str(name), _text(value)) for name, value in sent.headers.items()),
        body.encode() if isinstance(body, str) else bytes(body),
    )


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
