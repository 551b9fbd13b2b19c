"""Tests of the metrics: counts of all workers, and no personal data."""

import os
import re
import signal
import time
import urllib.request
from http import HTTPStatus
from pathlib import Path

import pytest

from oneself.document import load_document, operation_specs
from tests.http.running import open_account, running
from tests.support.deadlines import patient
from tests.support.error_classes import ALL_REFUSALS
from tests.support.service import free_port

ROOT = Path(__file__).parents[2]
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? ([0-9.e+-]+)")
LABEL = re.compile(r'([a-z]+)="([^"]*)"')
THREADS = {"database": 4, "password": 1, "mail": 1, "image": 1, "jobs": 4}


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def service(port, tmp_path_factory):
    """Two workers, with a rate limit of three wrong passwords."""
    with running(
        tmp_path_factory.mktemp("metrics"),
        workers=2,
        password_cost=10,
        password_threads=1,
        drain_seconds=5,
        throttle_account_source="3/300",
        metrics_address=f"127.0.0.1:{port}",
    ) as started:
        yield started


@pytest.fixture
def read(port):
    """Read all samples: (name, labels) and a number."""

    def read():
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/metrics", timeout=patient(5)
        ) as answer:
            text = answer.read().decode()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        matches = [SAMPLE.fullmatch(line) for line in lines]
        assert all(matches), lines
        return {
            (name, frozenset(LABEL.findall(labels or ""))): float(value)
            for name, labels, value in (match.groups() for match in matches)
        }

    return read


@pytest.fixture
def counted(read):
    """Return the number of counted requests once none is running: counting follows the answer."""

    def counted(operation, status, code=""):
        labels = {"operation": operation, "status": str(status), "code": code}
        return read().get(("oneself_requests_total", frozenset(labels.items())), 0)

    return counted


def _becomes(expected, look):
    deadline = time.monotonic() + patient(30)
    while (value := look()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert value == expected


def test_requests_are_counted_over_all_workers(service, read, counted):
    """OP-11: by operation, status and code, and their seconds by operation."""
    before = counted("ipto.getCurrentUser", 401, "not_authenticated")
    for _ in range(40):
        assert service.ask("GET", "/v1/me").status == HTTPStatus.UNAUTHORIZED
    for _ in range(3):
        service.ask("GET", "/canary/canary?canary=canary")
    _becomes(before + 40, lambda: counted("ipto.getCurrentUser", 401, "not_authenticated"))
    _becomes(3, lambda: counted("other", 404, "not_found"))
    samples = read()
    labels = frozenset({("operation", "ipto.getCurrentUser")})
    assert samples["oneself_request_seconds_count", labels] == before + 40
    within = labels | {("le", "+Inf")}
    assert samples["oneself_request_seconds_bucket", within] == before + 40
    assert samples["oneself_request_seconds_sum", labels] > 0


def test_throttled_attempts_are_counted(service, counted):
    """OP-11, LG-05: they show an attack."""
    body = {"email": "nobody@example.com", "password": "Wrong horse 47 harbour"}
    for _ in range(5):
        service.ask("POST", "/v1/auth/login", body=body)
    _becomes(3, lambda: counted("ipto.logIn", 401, "invalid_credentials"))
    _becomes(2, lambda: counted("ipto.logIn", 429, "too_many_attempts"))


def test_pools_and_outbox_are_measured(service, read):
    """OP-11: the threads of both workers, and the queue."""
    open_account(service, "waiting@example.com")

    def gauges(name):
        return {
            dict(labels)["pool"]: value
            for (metric, labels), value in read().items()
            if metric == name
        }

    assert gauges("oneself_pool_threads") == {
        name: 2 * threads for name, threads in THREADS.items()
    }
    _becomes(dict.fromkeys(THREADS, 0), lambda: gauges("oneself_pool_waiting"))
    assert gauges("oneself_pool_refused_total") == dict.fromkeys(THREADS, 0)
    assert set(gauges("oneself_pool_busy")) == set(THREADS)
    samples = read()
    for state in ("waiting", "given_up"):
        assert ("oneself_outbox_messages", frozenset({("state", state)})) in samples
    assert ("oneself_outbox_oldest_timestamp_seconds", frozenset()) in samples


def test_metrics_have_no_values_of_callers(service, read, port):
    """OP-11, LO-01, LO-06: every label has one of a few known values."""
    alice = open_account(service, "canary@example.com")
    headers = {**alice.bearer, "User-Agent": "canary", "X-Forwarded-For": "canary"}
    service.ask("GET", "/v1/me", headers=headers)
    service.ask("GET", "/canary", headers=headers)
    service.ask("CANARY", "/v1/me", headers=headers)
    service.ask("GET", "/v1/me", host="canary")
    codes = {refusal.code for refusal in ALL_REFUSALS.values()}
    allowed = {
        "operation": {spec.operation_id for spec in operation_specs(load_document())} | {"other"},
        "status": {str(status.value) for status in HTTPStatus} | {"none"},
        "code": codes | {""},
        "pool": set(THREADS),
        "state": {"waiting", "given_up"},
    }
    for _, labels in read():
        for name, value in labels:
            assert name == "le" or value in allowed[name], (name, value)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=patient(5)) as answer:
        text = answer.read().decode().lower()
    for secret in ("canary", "@", "127.0.0.1", alice.session.lower(), alice.api_key.lower()):
        assert secret not in text


def test_documented_metrics_exist(read):
    """OP-11: an alert on a misspelt name never fires."""
    named = set(re.findall(r"oneself_[a-z_]+", (ROOT / "docs" / "operations.md").read_text()))
    named -= {"oneself_owner", "oneself_service"}  # roles of PostgreSQL
    measured = {name for name, _ in read()}
    assert named
    assert {
        name for name in named if not any(metric.startswith(name) for metric in measured)
    } == set()


def test_metrics_are_not_on_the_public_listener(service):
    """OP-11."""
    assert service.ask("GET", "/metrics").status == HTTPStatus.NOT_FOUND


def test_counts_survive_a_killed_worker(service, read, counted):
    """OP-11, OP-08: a count that decreased would look like a restart of all workers."""
    for _ in range(20):
        service.ask("GET", "/healthz")
    _becomes(20, lambda: counted("status.getHealth", 200))
    killed, other = service.workers
    os.kill(killed, signal.SIGKILL)
    _becomes(1, lambda: len({*service.workers} - {killed, other}))
    threads = ("oneself_pool_threads", frozenset({("pool", "database")}))
    _becomes(2 * THREADS["database"], lambda: read()[threads])
    assert counted("status.getHealth", 200) == 20
