"""What the Python SDK sends: which credential, and what of it a second time."""

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
    """A service that answers, or breaks, in an order that is known beforehand."""

    def __init__(self, *script: httpx2.Response | Exception) -> None:
        self.script = list(script)
        self.asked: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
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
def test_what_only_reads_is_sent_again_when_the_service_is_busy(status):
    service = Scripted(refusal(status, "unavailable", AT_ONCE), HEALTHY)
    read(service.client())
    assert len(service.asked) == 2


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_changes_something_is_not(status):
    service = Scripted(refusal(status, "unavailable", AT_ONCE))
    with pytest.raises(errors.Unavailable):
        write(service.client())
    assert len(service.asked) == 1


@pytest.mark.parametrize(("act", "answer"), [(read, HEALTHY), (write, DONE)])
def test_what_was_refused_for_now_is_sent_again(act, answer):
    service = Scripted(refusal(429, "too_many_attempts", AT_ONCE), answer)
    act(service.client())
    assert len(service.asked) == 2


@pytest.mark.parametrize(("act", "answer"), [(read, HEALTHY), (write, DONE)])
def test_what_was_never_sent_is_sent_again(act, answer):
    service = Scripted(httpx2.ConnectError("refused"), answer)
    act(service.client())
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    "error", [httpx2.ReadError, httpx2.ReadTimeout, httpx2.WriteError, httpx2.RemoteProtocolError]
)
def test_a_broken_connection_repeats_what_reads_and_nothing_else(error):
    reading = Scripted(error("cut"), HEALTHY)
    read(reading.client())
    assert len(reading.asked) == 2
    writing = Scripted(error("cut"))
    with pytest.raises(errors.Unreachable) as unreachable:
        write(writing.client())
    assert len(writing.asked) == 1
    assert unreachable.value.may_have_been_carried_out


@pytest.mark.parametrize(
    "outcome", [httpx2.ReadTimeout("cut"), refusal(502, "unavailable", AT_ONCE)]
)
def test_what_has_a_key_is_done_once_and_so_sent_again(outcome):
    """HT-18: with the same key, or it would be another thing."""
    service = Scripted(outcome, DONE)
    service.client().hyperclast.regenerate_access_token(idempotency_key="0b7ad1a2")
    assert len(service.asked) == 2
    assert {request.headers["Idempotency-Key"] for request in service.asked} == {"0b7ad1a2"}


def test_who_could_not_connect_knows_that_nothing_was_done():
    service = Scripted(httpx2.ConnectError("refused"))
    with pytest.raises(errors.Unreachable) as unreachable:
        write(service.client(retries=Retries(attempts=1)))
    assert not unreachable.value.may_have_been_carried_out


def test_no_call_is_sent_more_often_than_allowed():
    service = Scripted(*(refusal(429, "too_many_attempts", AT_ONCE) for _ in range(5)))
    with pytest.raises(errors.TooManyAttempts):
        read(service.client(retries=Retries(attempts=4)))
    assert len(service.asked) == 4


def test_a_wait_that_is_too_long_is_left_to_the_caller():
    service = Scripted(refusal(429, "too_many_attempts", {"Retry-After": "2"}))
    with pytest.raises(errors.TooManyAttempts) as refused:
        read(service.client(retries=Retries(longest_wait=1)))
    assert refused.value.retry_after == 2
    assert len(service.asked) == 1


def test_retry_after_is_seconds_or_a_moment():
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
def test_without_a_readable_retry_after_the_wait_grows_and_is_bounded(value):
    answer = refusal(429, "x", {"Retry-After": value} if value.isascii() else {})
    retries = Retries(attempts=20, longest_wait=30)
    waits = [retries.wait_after(attempt, answer, is_safe=True) for attempt in range(1, 19)]
    assert 0.5 <= waits[0] <= 1
    assert 4 <= waits[3] <= 8
    assert waits[-1] == 30


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_an_operation_is_sent_the_credentials_that_the_document_has_for_it(operation_id):
    """Exactly one, and none where none is wanted: two would be refused."""
    accepted = {name for each in OPERATIONS[operation_id]["security"] for name in each}
    service = Scripted(refusal(404, "not_found"))
    client = service.client(token="sess_1", client=("cli_1", "cls:1"))
    with pytest.raises(Refused):
        call(client, operation_id)
    (request,) = service.asked
    sent = request.headers.get("Authorization")
    if "client" in accepted:
        assert sent == "Basic Y2xpXzE6Y2xzJTNBMQ=="  # cli_1:cls%3A1
    else:
        assert sent == ("Bearer sess_1" if accepted else None)
    assert "X-API-Key" not in request.headers
    assert "Cookie" not in request.headers


def call(client: Oneself, operation_id: str) -> None:
    """Call an operation with whatever it takes, by the name that it has in Python."""
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


def test_an_api_key_is_sent_as_such():
    service = Scripted(refusal(404, "not_found"))
    with pytest.raises(errors.NotFound):
        service.client(api_key="ipto_1").hyperclast.get_access_token()
    assert service.asked[0].headers["X-API-Key"] == "ipto_1"
    assert "Authorization" not in service.asked[0].headers


def test_a_token_can_be_asked_for_anew_each_time():
    tokens = iter(["jwt_1", "jwt_2"])
    service = Scripted(DONE, DONE)
    client = service.client(token=lambda: next(tokens))
    write(client)
    write(client)
    sent = [request.headers["Authorization"] for request in service.asked]
    assert sent == ["Bearer jwt_1", "Bearer jwt_2"]


def test_two_credentials_for_one_request_are_a_mistake():
    with pytest.raises(ValueError, match="exactly one"):
        Oneself("http://account.example", token="sess_1", api_key="ipto_1")


def test_an_address_without_a_scheme_is_a_mistake():
    with pytest.raises(ValueError, match="https://"):
        Oneself("account.example")


def test_no_credential_is_shown_when_a_client_is_printed():
    client = Oneself("http://account.example", token="sess_1", client=("cli_1", "cls_1"))
    shown = repr(client) + repr(vars(client))
    assert "sess_1" not in shown
    assert "cls_1" not in shown


def test_no_redirect_is_followed():
    service = Scripted(httpx2.Response(302, headers={"Location": "http://elsewhere.example/"}))
    with pytest.raises(errors.UnexpectedAnswer):
        write(service.client(token="sess_1"))
    assert len(service.asked) == 1


def test_what_stands_in_a_path_cannot_leave_its_place():
    service = Scripted(refusal(404, "not_found"))
    with pytest.raises(errors.NotFound):
        service.client().ipto.revoke_session("../../me?x=1#y")
    assert service.asked[0].url.raw_path == b"/v1/me/sessions/..%2F..%2Fme%3Fx%3D1%23y"


# ── The same, asynchronously ─────────────────────────────────────────────────────────────────────


def ask_async(service: Scripted, act: Callable[[AsyncOneself], Awaitable[object]]) -> object:
    async def ask() -> object:
        async def answer(request: httpx2.Request) -> httpx2.Response:
            return service(request)

        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
            return await act(AsyncOneself("http://account.example", token="sess_1", http=http))

    return asyncio.run(ask())


def test_the_asynchronous_client_sends_again_what_it_may():
    # Of its own: an answer that was read once cannot be read asynchronously.
    done = httpx2.Response(200, json={"access_token": "tok_1"})
    healthy = httpx2.Response(200, json={"status": "ok"})
    service = Scripted(refusal(429, "too_many_attempts", AT_ONCE), httpx2.ConnectError("no"), done)
    ask_async(service, lambda client: client.hyperclast.regenerate_access_token())
    assert [each.headers["Authorization"] for each in service.asked] == ["Bearer sess_1"] * 3
    reading = Scripted(httpx2.ReadError("cut"), refusal(503, "unavailable", AT_ONCE), healthy)
    ask_async(reading, lambda client: client.status.get_health())
    assert len(reading.asked) == 3


def test_the_asynchronous_client_sends_nothing_again_that_may_have_been_carried_out():
    cut = Scripted(httpx2.ReadError("cut"))
    with pytest.raises(errors.Unreachable) as unreachable:
        ask_async(cut, lambda client: client.hyperclast.regenerate_access_token())
    assert unreachable.value.may_have_been_carried_out
    busy = Scripted(refusal(503, "unavailable", AT_ONCE))
    with pytest.raises(errors.Unavailable):
        ask_async(busy, lambda client: client.hyperclast.regenerate_access_token())
    assert (len(cut.asked), len(busy.asked)) == (1, 1)


# ── What goes ────────────────────────────────────────────────────────────────────────────────────

GOING = {
    "Deprecation": "@1775347200",
    "Sunset": "Mon, 05 Apr 2027 00:00:00 GMT",
    "Link": '<https://account.example/what-instead>; rel="deprecation"',
}
WARNED = (
    "status.getHealth is deprecated and goes after Mon, 05 Apr 2027 00:00:00 GMT;"
    " see https://account.example/what-instead"
)


def test_a_deprecated_operation_warns_at_the_line_that_called_it():
    answer = httpx2.Response(200, json={"status": "ok"}, headers=GOING)
    with pytest.warns(DeprecationWarning, match="goes after") as warned:
        read(Scripted(answer).client())
    assert [str(each.message) for each in warned] == [WARNED]
    assert warned[0].filename == __file__
    assert warned[0].lineno == inspect.getsourcelines(read)[1] + 1


def test_the_asynchronous_client_warns_at_that_line_too():
    answer = httpx2.Response(200, json={"status": "ok"}, headers=GOING)

    async def ask(client: AsyncOneself) -> object:
        return await client.status.get_health()

    with pytest.warns(DeprecationWarning, match="goes after") as warned:
        ask_async(Scripted(answer), ask)
    assert [str(each.message) for each in warned] == [WARNED]
    assert (warned[0].filename, warned[0].lineno) == (__file__, inspect.getsourcelines(ask)[1] + 1)


def test_a_refusal_of_a_deprecated_operation_warns_as_well():
    service = Scripted(refusal(403, "forbidden", {"Deprecation": "@1775347200"}))
    named = r"^hyperclast\.regenerateAccessToken is deprecated$"
    with pytest.warns(DeprecationWarning, match=named), pytest.raises(errors.Refused):
        write(service.client())


def test_what_stays_warns_of_nothing(recwarn):
    read(Scripted(HEALTHY).client())
    assert not recwarn.list
