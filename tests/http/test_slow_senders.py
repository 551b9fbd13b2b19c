"""Tests of slow and silent clients, which time out and delay no others."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from oneself.settings import Settings
from tests.http.running import Account, Running, running
from tests.http.wire import Wire, head_of
from tests.support.deadlines import patient

#: Timeouts of the service for a head and for a body, and the margin of the tests.
TIMEOUT = 2
SLACK = 2.5

LOGIN = b"POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextmanager
def _dribbling(wire: Wire, data: bytes) -> Iterator[None]:
    """Send a byte now and then, until the connection is closed."""
    ended = threading.Event()

    def dribble() -> None:
        for byte in data:
            if ended.wait(0.3) or not wire.send(bytes([byte])):
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("name", ["head_seconds", "body_seconds"])
def test_timeouts_are_at_most_fifteen_seconds(name: str):
    """HT-08."""
    getattr(Settings(**{name: 15}), name)
    for value in (15.1, 0, -1, float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            Settings(**{name: value})


def test_slow_head_times_out(service: Running):
    """HT-08: a byte now and then does not restart the timeout."""
    with Wire(service.port) as wire, _dribbling(wire, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 99):
        assert wire.seconds_until_closed() < TIMEOUT + SLACK


def test_incomplete_head_times_out(service: Running):
    """HT-08: so does a connection without any byte."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in range(4)]
        for wire, data in zip(
            wires, (b"", b"G", b"GET / HTTP/1.1\r\nHo", b"PRI * HTTP/2.0\r\n\r\n"), strict=True
        ):
            wire.send(data)
        began = time.monotonic()
        for wire in wires:
            wire.seconds_until_closed()
        assert time.monotonic() - began < patient(TIMEOUT + SLACK)


def test_idle_connection_is_closed(service: Running):
    """HT-08."""
    with Wire(service.port) as wire:
        wire.send(head_of("GET", "/healthz", host="localhost"))
        answer = wire.answer()
        assert answer is not None
        assert answer.status == 200
        assert 0.5 < wire.seconds_until_closed() < TIMEOUT + SLACK


def test_slow_body_is_rejected_with_408(service: Running):
    """HT-08."""
    with Wire(service.port) as wire:
        began = time.monotonic()
        wire.send(LOGIN + b"Content-Length: 1000\r\n\r\n")
        with _dribbling(wire, b"{" * 100):
            answer = wire.answer()
            assert time.monotonic() - began < patient(TIMEOUT + SLACK)
            assert answer is not None
            assert (answer.status, answer.code) == (408, "request_timeout")
            assert answer.header("connection") == "close"
            assert wire.seconds_until_closed() < SLACK


#: Heads that announce a body, and the part of it that is sent.
SILENT = (
    b"Content-Length: 200\r\n\r\n",
    b"Content-Length: 200\r\n\r\n{}",
    b"Content-Length: 999999999999999999\r\n\r\n{}",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    b"Expect: 100-continue\r\nContent-Length: 200\r\n\r\n",
)


def test_silent_client_gets_408_and_is_disconnected(service: Running):
    """HT-08: every time; garbage in a cycle would keep the connection open."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in SILENT]
        for wire, rest in zip(wires, SILENT, strict=True):
            wire.send(LOGIN + rest)
        began = time.monotonic()
        for wire in wires:
            answer = wire.answer()
            assert answer is not None
            assert (answer.status, answer.code) == (408, "request_timeout")
        for wire in wires:
            wire.seconds_until_closed()
        assert time.monotonic() - began < patient(TIMEOUT + SLACK)


def test_connection_is_closed_without_garbage_collection(tmp_path: Path):
    """HT-08: a reference cycle to Granian's end of it would keep it open."""
    with running(tmp_path, body_seconds=0.2) as service, ThreadPoolExecutor(3) as threads:

        def stall(number: int) -> float:
            with Wire(service.port) as wire:
                wire.send(LOGIN + SILENT[number % len(SILENT)])
                answer = wire.answer()
                assert answer is not None
                assert answer.status == 408
                return wire.seconds_until_closed()

        assert max(threads.map(stall, range(60))) < 0.5


def test_slow_connections_delay_no_others(service: Running, alice: Account):
    """HT-08."""
    with ExitStack() as stack:
        for number in range(100):
            wire = stack.enter_context(Wire(service.port))
            rest = b"Content-Length: 500\r\n\r\n{" if number % 2 else b"X-A: "
            wire.send(LOGIN + rest)
        took = []
        for _ in range(40):
            began = time.monotonic()
            assert service.ask("GET", "/healthz").status == 200
            assert service.ask("GET", "/v1/me", headers=alice.bearer).status == 200
            took.append(time.monotonic() - began)
    assert sorted(took)[-2] < 0.5
