"""Who sends slowly, or nothing, is not waited for; and nobody else waits meanwhile."""

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

#: What the tested service waits for a head and for a body, and what a test adds to be sure.
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
def test_no_setting_makes_the_service_wait_longer_than_fifteen_seconds(name: str):
    """HT-08."""
    getattr(Settings(**{name: 15}), name)
    for value in (15.1, 0, -1, float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            Settings(**{name: value})


def test_a_head_that_dribbles_is_cut_off(service: Running):
    """HT-08: a byte now and then does not begin the time anew."""
    with Wire(service.port) as wire, _dribbling(wire, b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 99):
        assert wire.seconds_until_closed() < TIMEOUT + SLACK


def test_who_sends_no_whole_head_is_cut_off(service: Running):
    """HT-08: also who sends nothing at all."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(service.port)) for _ in range(4)]
        for wire, sent in zip(
            wires, (b"", b"G", b"GET / HTTP/1.1\r\nHo", b"PRI * HTTP/2.0\r\n\r\n"), strict=True
        ):
            wire.send(sent)
        began = time.monotonic()
        for wire in wires:
            wire.seconds_until_closed()
        assert time.monotonic() - began < TIMEOUT + SLACK


def test_a_connection_that_is_kept_and_not_used_is_closed(service: Running):
    """HT-08."""
    with Wire(service.port) as wire:
        wire.send(head_of("GET", "/healthz", host="localhost"))
        answer = wire.answer()
        assert answer is not None
        assert answer.status == 200
        assert 0.5 < wire.seconds_until_closed() < TIMEOUT + SLACK


def test_a_body_that_dribbles_is_cut_off_with_a_408(service: Running):
    """HT-08."""
    with Wire(service.port) as wire:
        began = time.monotonic()
        wire.send(LOGIN + b"Content-Length: 1000\r\n\r\n")
        with _dribbling(wire, b"{" * 100):
            answer = wire.answer()
            assert time.monotonic() - began < TIMEOUT + SLACK
            assert answer is not None
            assert (answer.status, answer.code) == (408, "request_timeout")
            assert answer.header("connection") == "close"
            assert wire.seconds_until_closed() < SLACK


#: Heads that promise a body, and what comes of it.
SILENT = (
    b"Content-Length: 200\r\n\r\n",
    b"Content-Length: 200\r\n\r\n{}",
    b"Content-Length: 999999999999999999\r\n\r\n{}",
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    b"Expect: 100-continue\r\nContent-Length: 200\r\n\r\n",
)


def test_who_falls_silent_in_a_body_gets_a_408_and_is_closed(service: Running):
    """HT-08: the connection too, each time; garbage that only a collector frees would hold it."""
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
        assert time.monotonic() - began < TIMEOUT + SLACK


def test_a_connection_is_closed_with_its_408_and_not_when_memory_is_next_tidied(tmp_path: Path):
    """HT-08: while garbage in a cycle holds Granian's end of it, who is silent keeps it open."""
    with running(tmp_path, body_seconds=0.2) as service, ThreadPoolExecutor(3) as threads:

        def stall(number: int) -> float:
            with Wire(service.port) as wire:
                wire.send(LOGIN + SILENT[number % len(SILENT)])
                answer = wire.answer()
                assert answer is not None
                assert answer.status == 408
                return wire.seconds_until_closed()

        assert max(threads.map(stall, range(60))) < 0.5


def test_a_hundred_slow_connections_keep_nobody_waiting(service: Running, alice: Account):
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
