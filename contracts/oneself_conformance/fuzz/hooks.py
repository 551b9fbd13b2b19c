"""Hooks that Schemathesis loads: the credential to send, and additional checks.

`oneself_conformance.fuzz.runs` names this module in `SCHEMATHESIS_HOOKS`, and passes the
deployment in further environment variables. Schemathesis calls each check with every response. The
checks are in `oneself_conformance.fuzz.checks`, which does not depend on Schemathesis.
"""

import os
import re
from collections.abc import Mapping
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

from oneself_conformance.fuzz import checks
from oneself_conformance.fuzz.identity import FuzzIdentity
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.traffic import Traffic

_IDENTITY = FuzzIdentity.from_environment()
_TRAFFIC = Traffic(os.environ.get("ONESELF_CONFORMANCE_TRAFFIC"))


@schemathesis.auth(refresh_interval=None)
class OneCredential:
    """The credential of this run's security scheme."""

    def get(self, _case: "Case[Any]", context: AuthContext) -> dict[str, str] | None:
        """Return its headers, or None if the operation does not accept it."""
        return _IDENTITY.headers_for(_operation_id(context))

    def set(self, case: "Case[Any]", data: dict[str, str], _context: AuthContext) -> None:
        """Add the headers to a request."""
        case.headers = CaseInsensitiveDict([*(case.headers or {}).items(), *data.items()])


@schemathesis.deserializer("image/webp")
def read_picture(_context: DeserializationContext, response: Response) -> str:
    """Decode a picture as text, because its schema only says that it is a string."""
    return response.content.decode("latin-1")


@schemathesis.hook
def before_call(_context: Any, case: "Case[Any]", _kwargs: Any) -> None:
    """Set a new idempotency key: a repeated one would return the first response again."""
    if case.headers and _is_valid(case) and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid4())


@schemathesis.hook
def after_call(_context: Any, case: "Case[Any]", response: Response) -> None:
    """Update the user and the credentials from a response."""
    request, answer = _request(response, case), _answer(response)
    _TRAFFIC.write(request, answer)
    _IDENTITY.update_from(_operation_id(case), request, answer)


def _check(rule: checks.Rule) -> None:
    """Register a rule as a Schemathesis check with the same name."""

    def check(_context: CheckContext, response: Response, case: "Case[Any]") -> None:
        exchange = checks.Exchange(
            OPERATIONS[_operation_id(case)],
            _request(response, case),
            _answer(response),
            _IDENTITY,
            valid=_is_valid(case),
        )
        broken = [*rule(exchange)]
        assert not broken, "\n".join(broken)  # noqa: S101 # the interface of Schemathesis

    check.__name__ = rule.__name__
    check.__doc__ = rule.__doc__
    schemathesis.check(check)


for _rule in checks.RULES:
    _check(_rule)


def _is_valid(case: "Case[Any]") -> bool:
    """Return whether every part was generated to match its schema."""
    is_positive = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    return is_positive and _headers_fit(case)


def _headers_fit(case: "Case[Any]") -> bool:
    """Return whether headers have their pattern: Schemathesis counts `If-Match: 0` as valid."""
    headers: Mapping[str, Any] = case.headers or {}
    return all(
        re.search(parameter["schema"]["pattern"], str(headers[parameter["name"]]))
        for parameter in OPERATIONS[_operation_id(case)].parameters
        if parameter["in"] == "header"
        and parameter["name"] in headers
        and "pattern" in parameter["schema"]
    )


def _operation_id(of: "Case[Any] | AuthContext") -> str:
    return str(of.operation.definition.raw["operationId"])


def _answer(response: Response) -> Answer:
    headers = tuple((name, value) for name, values in response.headers.items() for value in values)
    return Answer(response.status_code, headers, response.content or b"")


def _request(response: Response, case: "Case[Any]") -> Request:
    """Return the request as it was sent."""
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
