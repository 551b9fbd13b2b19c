"""Requests of the Python SDK: credentials and retries."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest
import yaml
from oneself_client import AsyncOneself, Oneself, Refused, Retries, errors

from tests.support.service import ROOT

DOCUMENT = yaml.safe_load((ROOT / "openapi" / "openapi.yaml").read_text())
OPERATIONS = {
    operation["operationId"]: operation
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
    if "operationId" in operation
}
AT_ONCE = {"Retry-After": "0"}
HEALTHY = httpx2.Response(200, json={"status": "ok"})
DONE = httpx2.Response(200, json={"access_token": "tok_1"})


def refusal(status: int, code: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    return httpx2.Response(status, json={"code": code, "message": "No."}, headers=headers)


class Scripted:
    """A service with a script of responses and errors."""

    def __init__(self, *script: httpx2.Response | Exception) -> None:
        self.script = list(script)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        outcome = self.script.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def client(self, **options: Any) -> Oneself:
        http = httpx2.Client(transport=httpx2.MockTransport(self))
        return Oneself("http://account.example/", http=http, **options)


def read(client: Oneself) -> object:
    return client.status.get_health()


def write(client: Oneself) -> object:
    return client.hyperclast.regenerate_access_token()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_read_is_repeated_after_a_5xx(status):
    service = Scripted(refusal(status, "unavailable", AT_ONCE), HEALTHY)
    read(service.client())
    assert len(service.requests) == 2


@pytest.mark.parametrize("status", [502, 503, 504])
def test_write_is_not_repeated_after_a_5xx(status):
    service = Scripted(refusal(status, "unavailable", AT_ONCE))
    with pytest.raises(errors.Unavailable):
        write(service.client())
    assert len(service.requests) == 1


@pytest.mark.parametrize(("act", "answer"), [(read, HEALTHY), (write, DONE)])
def test_request_is_repeated_after_a_429(act, answer):
    service = Scripted(refusal(429, "too_many_attempts", AT_ONCE), answer)
    act(service.client())
    assert len(service.requests) == 2


@pytest.mark.parametrize(("act", "answer"), [(read, HEALTHY), (write, DONE)])
def test_unsent_request_is_repeated(act, answer):
    service = Scripted(httpx2.ConnectError("refused"), answer)
    act(service.client())
    assert len(service.requests) == 2


@pytest.mark.parametrize(
    "error", [httpx2.ReadError, httpx2.ReadTimeout, httpx2.WriteError, httpx2.RemoteProtocolError]
)
def test_only_a_read_is_repeated_after_a_broken_connection(error):
    reading = Scripted(error("cut"), HEALTHY)
    read(reading.client())
    assert len(reading.requests) == 2
    writing = Scripted(error("cut"))
    with pytest.raises(errors.Unreachable) as unreachable:
        write(writing.client())
    assert len(writing.requests) == 1
    assert unreachable.value.may_have_been_carried_out


@pytest.mark.parametrize(
    "outcome", [httpx2.ReadTimeout("cut"), refusal(502, "unavailable", AT_ONCE)]
)
def test_write_with_an_idempotency_key_is_repeated(outcome):
    """HT-18: with the same key."""
    service = Scripted(outcome, DONE)
    service.client().hyperclast.regenerate_access_token(idempotency_key="0b7ad1a2")
    assert len(service.requests) == 2
    assert {request.headers["Idempotency-Key"] for request in service.requests} == {"0b7ad1a2"}


def test_failed_connection_means_not_carried_out():
    service = Scripted(httpx2.ConnectError("refused"))
    with pytest.raises(errors.Unreachable) as unreachable:
        write(service.client(retries=Retries(attempts=1)))
    assert not unreachable.value.may_have_been_carried_out


def test_attempts_are_limited():
    service = Scripted(*(refusal(429, "too_many_attempts", AT_ONCE) for _ in range(5)))
    with pytest.raises(errors.TooManyAttempts):
        read(service.client(retries=Retries(attempts=4)))
    assert len(service.requests) == 4


def test_long_retry_after_is_raised_at_once():
    service = Scripted(refusal(429, "too_many_attempts", {"Retry-After": "2"}))
    with pytest.raises(errors.TooManyAttempts) as refused:
        read(service.client(retries=Retries(longest_wait=1)))
    assert refused.value.retry_after == 2
    assert len(service.requests) == 1


def test_retry_after_is_seconds_or_a_date():
    in_ten = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    retries = Retries()
    for value, least, most in [
        ("7", 7, 7),
        (in_ten, 8, 10),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ]:
        wait = retries.wait_after(1, refusal(429, "x", {"Retry-After": value}), is_safe=False)
        assert wait is not None
        assert least <= wait <= most


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "٣"])
def test_wait_without_retry_after_grows_up_to_the_limit(value):
    answer = refusal(429, "x", {"Retry-After": value} if value.isascii() else {})
    retries = Retries(attempts=20, longest_wait=30)
    waits = [retries.wait_after(attempt, answer, is_safe=True) for attempt in range(1, 19)]
    assert 0.5 <= waits[0] <= 1
    assert 4 <= waits[3] <= 8
    assert waits[-1] == 30


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_operation_gets_its_documented_credential(operation_id):
    """Exactly one, or none: the service rejects two."""
    accepted = {name for each in OPERATIONS[operation_id]["security"] for name in each}
    service = Scripted(refusal(404, "not_found"))
    client = service.client(token="sess_1", client=("cli_1", "cls:1"))
    with pytest.raises(Refused):
        call_operation(client, operation_id)
    (request,) = service.requests
    sent = request.headers.get("Authorization")
    if "client" in accepted:
        assert sent == "Basic Y2xpXzE6Y2xzJTNBMQ=="  # cli_1:cls%3A1
    else:
        assert sent == ("Bearer sess_1" if accepted else None)
    assert "X-API-Key" not in request.headers
    assert "Cookie" not in request.headers


def call_operation(client: Oneself, operation_id: str) -> None:
    """Call an operation by its id, with placeholder arguments."""
    tag, _, name = operation_id.partition(".")
    snake = "".join(f"_{each.lower()}" if each.isupper() else each for each in name)
    method: Callable[..., object] = getattr(getattr(client, tag), snake)
    values: dict[str, Any] = {
        "expires_at": datetime.now(UTC),
        "scopes": [],
        "content": b"",
        "body": {},
    }
    parameters = inspect.signature(method).parameters.values()
    required = [each.name for each in parameters if each.default is each.empty]
    method(**{name: values.get(name, "x") for name in required})


def test_api_key_is_sent_in_its_header():
    service = Scripted(refusal(404, "not_found"))
    with pytest.raises(errors.NotFound):
        service.client(api_key="ipto_1").hyperclast.get_access_token()
    assert service.requests[0].headers["X-API-Key"] == "ipto_1"
    assert "Authorization" not in service.requests[0].headers


def test_token_function_is_called_for_each_request():
    tokens = iter(["jwt_1", "jwt_2"])
    service = Scripted(DONE, DONE)
    client = service.client(token=lambda: next(tokens))
    write(client)
    write(client)
    sent = [request.headers["Authorization"] for request in service.requests]
    assert sent == ["Bearer jwt_1", "Bearer jwt_2"]


def test_token_and_api_key_together_are_rejected():
    with pytest.raises(ValueError, match="exactly one"):
        Oneself("http://account.example", token="sess_1", api_key="ipto_1")


def test_url_without_a_scheme_is_rejected():
    with pytest.raises(ValueError, match="https://"):
        Oneself("account.example")


def test_repr_of_a_client_shows_no_credential():
    client = Oneself("http://account.example", token="sess_1", client=("cli_1", "cls_1"))
    shown = repr(client) + repr(vars(client))
    assert "sess_1" not in shown
    assert "cls_1" not in shown


def test_redirect_is_not_followed():
    service = Scripted(httpx2.Response(302, headers={"Location": "http://elsewhere.example/"}))
    with pytest.raises(errors.UnexpectedAnswer):
        write(service.client(token="sess_1"))
    assert len(service.requests) == 1


def test_path_argument_is_encoded():
    service = Scripted(refusal(404, "not_found"))
    with pytest.raises(errors.NotFound):
        service.client().ipto.revoke_session("../../me?x=1#y")
    assert service.requests[0].url.raw_path == b"/v1/me/sessions/..%2F..%2Fme%3Fx%3D1%23y"


# ── The same, asynchronously ─────────────────────────────────────────────────────────────────────


def call_async(service: Scripted, act: Callable[[AsyncOneself], Awaitable[object]]) -> object:
    async def ask() -> object:
        async def answer(request: httpx2.Request) -> httpx2.Response:
            return service(request)

        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
            return await act(AsyncOneself("http://account.example", token="sess_1", http=http))

    return asyncio.run(ask())


def test_async_client_repeats_safe_requests():
    # Own responses: one that was read once cannot be read asynchronously.
    done = httpx2.Response(200, json={"access_token": "tok_1"})
    healthy = httpx2.Response(200, json={"status": "ok"})
    service = Scripted(refusal(429, "too_many_attempts", AT_ONCE), httpx2.ConnectError("no"), done)
    call_async(service, lambda client: client.hyperclast.regenerate_access_token())
    assert [each.headers["Authorization"] for each in service.requests] == ["Bearer sess_1"] * 3
    reading = Scripted(httpx2.ReadError("cut"), refusal(503, "unavailable", AT_ONCE), healthy)
    call_async(reading, lambda client: client.status.get_health())
    assert len(reading.requests) == 3


def test_async_client_does_not_repeat_a_write():
    cut = Scripted(httpx2.ReadError("cut"))
    with pytest.raises(errors.Unreachable) as unreachable:
        call_async(cut, lambda client: client.hyperclast.regenerate_access_token())
    assert unreachable.value.may_have_been_carried_out
    busy = Scripted(refusal(503, "unavailable", AT_ONCE))
    with pytest.raises(errors.Unavailable):
        call_async(busy, lambda client: client.hyperclast.regenerate_access_token())
    assert (len(cut.requests), len(busy.requests)) == (1, 1)


# ── Deprecation ───────────────────────────────────────────────────────────────────────────────────

DEPRECATED = {
    "Deprecation": "@1775347200",
    "Sunset": "Mon, 05 Apr 2027 00:00:00 GMT",
    "Link": '<https://account.example/what-instead>; rel="deprecation"',
}
WARNING = (
    "status.getHealth is deprecated and will be removed after Mon, 05 Apr 2027 00:00:00 GMT;"
    " see https://account.example/what-instead"
)


def test_deprecation_warning_points_to_the_caller():
    answer = httpx2.Response(200, json={"status": "ok"}, headers=DEPRECATED)
    with pytest.warns(DeprecationWarning, match="will be removed after") as warnings:
        read(Scripted(answer).client())
    assert [str(each.message) for each in warnings] == [WARNING]
    assert warnings[0].filename == __file__
    assert warnings[0].lineno == inspect.getsourcelines(read)[1] + 1


def test_async_deprecation_warning_points_to_the_caller():
    answer = httpx2.Response(200, json={"status": "ok"}, headers=DEPRECATED)

    async def ask(client: AsyncOneself) -> object:
        return await client.status.get_health()

    with pytest.warns(DeprecationWarning, match="will be removed after") as warnings:
        call_async(Scripted(answer), ask)
    assert [str(each.message) for each in warnings] == [WARNING]
    assert (warnings[0].filename, warnings[0].lineno) == (
        __file__,
        inspect.getsourcelines(ask)[1] + 1,
    )


def test_refusal_of_a_deprecated_operation_warns():
    service = Scripted(refusal(403, "forbidden", {"Deprecation": "@1775347200"}))
    named = r"^hyperclast\.regenerateAccessToken is deprecated$"
    with pytest.warns(DeprecationWarning, match=named), pytest.raises(errors.Refused):
        write(service.client())


def test_other_operation_does_not_warn(recwarn):
    read(Scripted(HEALTHY).client())
    assert not recwarn.list
