"""Log lines: one JSON object each."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneself.logging import (
    JsonFormatter,
    LineHandler,
    configuration,
    write_line,
    write_waiting_lines,
)

HOSTILE = [
    'a\nb\r\nc"}\n{"level": "info"}',
    "\x1b[31mred\x1b[0m",
    "nul\0tab\t",
    "\u2028line\u2029paragraph\x85next",
    "%s %d {secret}",
    "x" * 100_000,
    "\u202eright to left",
]


def _line(message="a message", arguments=(), **extra):
    record = logging.getLogger("oneself.tests").makeRecord(
        "oneself.tests", logging.INFO, "file", 1, message, arguments, None, extra=extra
    )
    return JsonFormatter().format(record)


def _only_line(text):
    """What a line says, if it is one line of plain characters."""
    assert "\n" not in text
    assert "\r" not in text
    assert "\x1b" not in text
    assert "\0" not in text
    return json.loads(text)


def test_a_line_says_when_how_bad_who_and_what():
    """Whatever was given beside it stands beside it."""
    said = _only_line(_line("%d of %s", (1, "two"), request_id="req_1", status=200))
    assert said.pop("time").endswith("+00:00")
    assert said == {
        "level": "info",
        "logger": "oneself.tests",
        "message": "1 of two",
        "request_id": "req_1",
        "status": 200,
    }


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_begins_another_line(text):
    """Neither as the message, nor as an argument, nor beside it (LO-05)."""
    said = _only_line(_line("%s", (text,), user_agent=text, nested={"list": [text]}))
    assert said["message"] == said["user_agent"] == said["nested"]["list"][0] == text


@given(st.text(), st.text())
def test_any_text_is_one_line(message, beside):
    """Whatever it is made of (LO-05)."""
    assert _only_line(_line("%s", (message,), beside=beside))["beside"] == beside


@pytest.mark.parametrize(
    "odd",
    [
        "\ud800",
        2**64,
        {1: 2},
        {"\udfff": 1},
        {b"bytes"},
        object(),
        ValueError("a\nb"),
        b"\xff",
    ],
    ids=range(8),
)
def test_what_json_does_not_have_is_said_somehow(odd):
    """A line that cannot be written would be missed when it is needed (LO-05)."""
    assert _only_line(_line("%s", (odd,), beside=odd))["logger"] == "oneself.tests"


def test_a_traceback_is_in_its_line():
    """With all of its own lines (OP-05)."""
    try:
        raise ValueError("first\nsecond")  # noqa: TRY301 # it is the traceback that is tested
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    said = _only_line(JsonFormatter().format(record))
    assert said["traceback"].startswith("Traceback")
    assert said["traceback"].endswith("first\nsecond")


def test_the_configuration_writes_our_lines_and_nobody_elses():
    """Connexion logs rejected values, and Granian paths: neither is written (LO-06)."""
    program = (
        "import logging, logging.config\n"
        "from oneself.logging import configuration\n"
        "logging.config.dictConfig(configuration())\n"
        "for name in ('oneself.a', 'connexion.b', 'granian.access', '_granian', 'other'):\n"
        "    logging.getLogger(name).info('information')\n"
        "    logging.getLogger(name).error('canary %s', 'two\\nlines')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
        text=True,
    )
    said = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [(each["logger"], each["level"]) for each in said] == [
        ("oneself.a", "info"),
        ("oneself.a", "error"),
        ("_granian", "error"),
        ("other", "error"),
    ]
    assert ran.stdout == ""


def test_the_level_is_of_our_own_lines():
    """Others stay at their warnings."""
    chosen = configuration("DEBUG")
    assert chosen["loggers"]["oneself"]["level"] == "DEBUG"
    assert chosen["root"]["level"] == "WARNING"


class Writes(io.StringIO):
    """Standard error that remembers what came in one write."""

    def __init__(self):
        super().__init__()
        self.each = []

    def write(self, text):
        self.each.append([json.loads(line)["n"] for line in text.splitlines()])
        return len(text)


class Broken(io.StringIO):
    """Standard error on a disk that is full."""

    def write(self, _text):
        raise OSError(28, "No space left on device")


@pytest.fixture
def writes(monkeypatch):
    write_waiting_lines()
    # Not the module itself: pytest puts its own standard error there before a test begins.
    error = Writes()
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=error))
    return error.each


def _write(n, **more):
    write_line(datetime(2026, 4, 5, 10, tzinfo=UTC), "oneself.tests", "message", {"n": n, **more})


def _log(n, level=logging.INFO):
    record = logging.makeLogRecord({"msg": "message", "levelno": level, "levelname": "x", "n": n})
    handler = LineHandler()
    handler.setFormatter(JsonFormatter())
    handler.handle(record)


def test_the_lines_of_one_round_of_the_event_loop_are_one_write(writes):
    async def requests():
        for n in range(3):
            asyncio.get_running_loop().call_soon(_write, n)
        await asyncio.sleep(0)
        assert writes == []
        await asyncio.sleep(0)
        assert writes == [[0, 1, 2]]
        _log(3)
        await asyncio.sleep(0)

    asyncio.run(requests())
    assert writes == [[0, 1, 2], [3]]


def test_who_is_in_no_event_loop_writes_at_once(writes):
    _write(0)
    _log(1)
    assert writes == [[0], [1]]


def test_what_is_worse_than_information_is_written_at_once_after_what_came_before(writes):
    async def fail():
        _write(0)
        _log(1, logging.WARNING)
        assert writes == [[0, 1]]

    asyncio.run(fail())


def test_what_a_thread_writes_comes_after_what_came_before(writes):
    async def work():
        _write(0)
        await asyncio.to_thread(_write, 1)

    asyncio.run(work())
    assert [n for each in writes for n in each] == [0, 1]


def test_no_write_is_longer_than_what_a_pipe_takes_whole(writes):
    """The lines of two workers do not come between each other's (LO-05)."""

    async def many():
        for n in range(5):
            _write(n, beside="x" * 1500)
        _write(5, beside="x" * 5000)
        _write(6)
        await asyncio.sleep(0)

    asyncio.run(many())
    assert writes == [[0, 1], [2, 3], [4], [5], [6]]


def _leave(n):
    """Write in the last round of an event loop, which does not come to its end."""
    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(_write, n)
    loop.run_forever()
    loop.close()


def test_what_an_event_loop_leaves_is_written(writes):
    """By whoever comes next, and by whoever ends it."""
    _leave(0)
    _leave(1)
    assert writes == []
    write_waiting_lines()
    _leave(2)
    _write(3)
    assert writes == [[0, 1], [2, 3]]


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch):
    """Not the request that it is about, which was answered (OP-05)."""
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=Broken()))
    _write(0)
    _log(1, logging.ERROR)


def test_a_worker_does_not_write_what_its_parent_has_not_written_yet(writes):
    """Nor wait for a lock that somebody held when it was forked."""
    _leave(0)
    child = os.fork()
    if child == 0:
        write_waiting_lines()
        os._exit(len(writes))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    write_waiting_lines()
    assert writes == [[0]]


def test_a_handler_of_signals_may_write_while_a_line_is_written(monkeypatch):
    """Granian's does, in whatever the main thread is doing."""
    each = []

    def write(text):
        if not each:
            each.append("interrupted")
            _write(1)
        each.append([json.loads(line)["n"] for line in text.splitlines()])

    error = SimpleNamespace(write=write, flush=lambda: None)
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=error))
    _write(0)
    assert each == ["interrupted", [1], [0]]
