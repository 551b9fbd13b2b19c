"""Tests of the spans that an OpenTelemetry collector receives.

Run in an environment of their own, `tox run -e telemetry`, since the exporter is an extra.
"""

import threading
import time
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.http.running import PASSWORD, Account, Running, open_account, running
from tests.support.deadlines import patient

proto = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
    reason="what sends spans is not installed; see tox run -e telemetry",
)

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECONDS = 20


class Collector:
    """Receives spans on loopback and keeps them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.paths: set[str] = set()
        self.hangs = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.paths.add(self.path)
                content = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/x-protobuf"
                if collector.hangs.is_set():
                    time.sleep(SECONDS)
                collector.bodies.append(content)
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_what: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def resources(self) -> Iterator[Any]:
        for body in self.bodies:
            yield from proto.ExportTraceServiceRequest.FromString(body).resource_spans

    def spans(self) -> list[Any]:
        """Return all spans in the order of their arrival."""
        return [
            span
            for resource in self.resources()
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _attributes(span: Any) -> dict[str, Any]:
    return {
        attribute.key: attribute.value.string_value or attribute.value.int_value
        for attribute in span.attributes
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def exported(tmp_path: Path, collector: Collector) -> tuple[Collector, Account, list[str]]:
    """A collector with the spans of some requests, the account, and the request ids in order."""
    endpoint = f"http://127.0.0.1:{collector.port}"
    ids: list[str] = []

    def note(answer: Any) -> None:
        ids.append(answer.header("x-request-id"))

    with running(tmp_path, password_cost=10, otlp_endpoint=endpoint) as service:
        alice = open_account(service, "alice.of.spans@example.com")
        parent = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        note(service.ask("GET", "/v1/me", headers={**alice.bearer, **parent}))
        note(_wrong_login(service))
        note(service.ask("GET", "/secret-in-a-path?and=secret-in-a-query"))
    return collector, alice, ids


def _wrong_login(service: Running) -> Any:
    wrong = {"email": "alice.of.spans@example.com", "password": "Secret-of-a-guess 9"}
    return service.ask("POST", "/v1/auth/login", body=wrong)


def test_each_request_has_a_span(exported):
    """LO-06: with operation, dialect, status and code; the shutdown sends the last ones."""
    collector, _, ids = exported
    spans = {_attributes(span)["oneself.request_id"]: span for span in collector.spans()}
    me, login, nowhere = (spans[request_id] for request_id in ids)
    assert _attributes(me) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "oneself.operation": "ipto.getCurrentUser",
        "oneself.dialect": "ipto",
        "oneself.credential": "session",
        "oneself.request_id": ids[0],
    }
    assert (me.name, me.end_time_unix_nano > me.start_time_unix_nano) == (
        "ipto.getCurrentUser",
        True,
    )
    assert _attributes(login)["oneself.refusal"] == "invalid_credentials"
    assert _attributes(login)["http.response.status_code"] == HTTPStatus.UNAUTHORIZED
    assert (nowhere.name, _attributes(nowhere)["http.response.status_code"]) == ("other", 404)
    assert collector.paths == {"/v1/traces"}


def test_span_joins_the_trace_of_the_caller(exported):
    """LO-06: a malformed header starts a new trace."""
    collector, _, ids = exported
    spans = {_attributes(span)["oneself.request_id"]: span for span in collector.spans()}
    me, login, _ = (spans[request_id] for request_id in ids)
    assert (me.trace_id.hex(), me.parent_span_id.hex()) == (TRACE, PARENT)
    assert login.trace_id.hex() not in {TRACE, "0" * 32}
    assert login.parent_span_id == b""


def test_span_has_no_values_and_no_secrets(exported):
    """LO-01, LO-06: and no path, no user's address and no client address."""
    collector, alice, _ = exported
    exports = b"".join(collector.bodies)
    for secret in (
        *(alice.session, alice.access_token, alice.api_key, PASSWORD),
        *("Secret-of-a-guess", "secret-in-a-path", "secret-in-a-query", "alice.of.spans"),
        *("Alice Chen", "Acme Corp", "127.0.0.1", "sess_"),
    ):
        assert secret.encode() not in exports, secret
    for resource in collector.resources():
        names = {attribute.key for attribute in resource.resource.attributes}
        assert "service.name" in names
        assert names <= {
            "service.name",
            "service.instance.id",
            "telemetry.sdk.language",
            "telemetry.sdk.name",
            "telemetry.sdk.version",
        }


def test_standard_variables_are_used(tmp_path, collector, monkeypatch):
    """Deployments that set them for all services need no other setting."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "accounts of Acme")
    with running(tmp_path, password_cost=10) as service:
        service.assert_alive()
    [name] = {
        attribute.value.string_value
        for resource in collector.resources()
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert name == "accounts of Acme"
    assert "status.getHealth" in {span.name for span in collector.spans()}


@pytest.mark.parametrize("hangs", [True, False], ids=["hangs", "is away"])
def test_blocked_collector_delays_no_request(tmp_path, collector, hangs):
    """OP-03, OP-01: requests are answered, and the service ends in time."""
    port = collector.port
    if hangs:
        collector.hangs.set()
    else:
        port = 9  # nothing listens there
    endpoint = f"http://127.0.0.1:{port}"
    with running(tmp_path, password_cost=10, otlp_endpoint=endpoint) as service:
        alice = open_account(service, "alice@example.com")
        for _ in range(50):
            answer = service.ask("GET", "/v1/me", headers=alice.bearer)
            assert answer.status == HTTPStatus.OK
        service.terminate()
        assert service.process.wait(patient(SECONDS)) == 0
        assert "Killing" not in service.log
