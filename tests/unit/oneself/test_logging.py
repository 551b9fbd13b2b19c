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
    LineFormatter,
    LineHandler,
    choose_format,
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
    return LineFormatter().format(record)


def _only_line(text):
    """Parse a line, which must be a single one of plain characters."""
    assert "\n" not in text
    assert "\r" not in text
    assert "\x1b" not in text
    assert "\0" not in text
    return json.loads(text)


def test_line_has_time_level_logger_and_message():
    """Extra fields are added."""
    line = _only_line(_line("%d of %s", (1, "two"), request_id="req_1", status=200))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "oneself.tests",
        "message": "1 of two",
        "request_id": "req_1",
        "status": 200,
    }


@pytest.fixture
def as_text():
    choose_format("text")
    yield
    choose_format("json")


@pytest.mark.usefixtures("as_text")
def test_text_line_has_local_time_level_message_and_fields():
    """newcomer F16: in a terminal; without empty fields."""
    line = _line("%d of %s", (1, "two"), status=200, reason=None, agent="a b", empty="")
    moment, rest = line.split(" ", 1)
    assert datetime.strptime(moment, "%H:%M:%S").time()  # noqa: DTZ007 # local, for people
    assert rest == 'info    1 of two status=200 agent="a b" empty=""'


@pytest.mark.usefixtures("as_text")
@pytest.mark.parametrize("text", [*HOSTILE, "\x9b31mred", "\ud800"], ids=range(len(HOSTILE) + 2))
def test_hostile_text_stays_on_one_text_line(text):
    """LO-05, newcomer F16: and controls no terminal."""
    line = _line("%s", (text,), user_agent=text, nested={"list": [text]})
    assert line.isprintable()
    assert _line("request", agent='x status=500 "').count('"x status=500') == 1


@pytest.mark.usefixtures("as_text")
def test_text_traceback_is_indented():
    """LO-05, newcomer F16: no line of it looks like a line of the log."""
    try:
        raise ValueError("first\n12:00:00 error   forged\x1b[0m\u2028x")  # noqa: TRY301 # as above
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    first, *others = LineFormatter().format(record).split("\n")
    assert first.endswith(" failed")
    assert any("12:00:00 error" in line for line in others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.parametrize(
    ("log_format", "is_terminal", "is_text"),
    [("auto", True, True), ("auto", False, False), ("json", True, False), ("text", False, True)],
)
def test_format_follows_the_terminal_and_the_setting(monkeypatch, log_format, is_terminal, is_text):
    """newcomer F16: of lines of records and of requests."""
    lines = []
    error = SimpleNamespace(isatty=lambda: is_terminal, write=lines.append, flush=lambda: None)
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=error))
    try:
        choose_format(log_format)
        write_line(datetime.now(UTC), "oneself.requests", "request", {"status": 200})
        write_waiting_lines()
        lines.append(_line())
    finally:
        choose_format("json")
    assert [line.startswith("{") for line in lines] == [not is_text] * 2


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_stays_on_one_line(text):
    """LO-05: as the message, as an argument, and in an extra field."""
    line = _only_line(_line("%s", (text,), user_agent=text, nested={"list": [text]}))
    assert line["message"] == line["user_agent"] == line["nested"]["list"][0] == text


@given(st.text(), st.text())
def test_any_text_stays_on_one_line(message, extra):
    """LO-05."""
    assert _only_line(_line("%s", (message,), extra=extra))["extra"] == extra


@pytest.mark.parametrize(
    "odd",
    ["\ud800", 2**64, {1: 2}, {"\udfff": 1}, {b"bytes"}, object(), ValueError("a\nb"), b"\xff"],
    ids=range(8),
)
def test_values_outside_json_are_logged(odd):
    """A line that cannot be written would be missed when it is needed (LO-05)."""
    assert _only_line(_line("%s", (odd,), extra=odd))["logger"] == "oneself.tests"


def test_traceback_stays_on_one_line():
    """OP-05."""
    try:
        raise ValueError("first\nsecond")  # noqa: TRY301 # the traceback is tested
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    line = _only_line(LineFormatter().format(record))
    assert line["traceback"].startswith("Traceback")
    assert line["traceback"].endswith("first\nsecond")


def test_configuration_suppresses_connexion_and_access_logs():
    """Connexion logs rejected values, and Granian paths (LO-06)."""
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
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [(line["logger"], line["level"]) for line in lines] == [
        ("oneself.a", "info"),
        ("oneself.a", "error"),
        ("_granian", "error"),
        ("other", "error"),
    ]
    assert ran.stdout == ""


def test_level_applies_to_our_own_loggers():
    """Others log warnings and errors."""
    config = configuration("DEBUG")
    assert config["loggers"]["oneself"]["level"] == "DEBUG"
    assert config["root"]["level"] == "WARNING"


class RecordedWrites(io.StringIO):
    """Standard error that records each write."""

    def __init__(self):
        super().__init__()
        self.each = []

    def write(self, text):
        self.each.append([json.loads(line)["n"] for line in text.splitlines()])
        return len(text)


class Broken(io.StringIO):
    """Standard error on a full disk."""

    def write(self, _text):
        raise OSError(28, "No space left on device")


@pytest.fixture
def writes(monkeypatch):
    write_waiting_lines()
    # Not `sys` itself: pytest replaces its standard error before a test begins.
    error = RecordedWrites()
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=error))
    return error.each


def _write(n, **more):
    write_line(datetime(2026, 4, 5, 10, tzinfo=UTC), "oneself.tests", "message", {"n": n, **more})


def _log(n, level=logging.INFO):
    record = logging.makeLogRecord({"msg": "message", "levelno": level, "levelname": "x", "n": n})
    handler = LineHandler()
    handler.setFormatter(LineFormatter())
    handler.handle(record)


def test_lines_of_an_event_loop_iteration_are_one_write(writes):
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


def test_line_outside_an_event_loop_is_written_at_once(writes):
    _write(0)
    _log(1)
    assert writes == [[0], [1]]


def test_warning_is_written_at_once_and_in_order(writes):
    async def fail():
        _write(0)
        _log(1, logging.WARNING)
        assert writes == [[0, 1]]

    asyncio.run(fail())


def test_line_of_a_thread_is_written_in_order(writes):
    async def work():
        _write(0)
        await asyncio.to_thread(_write, 1)

    asyncio.run(work())
    assert [n for written in writes for n in written] == [0, 1]


def test_writes_are_atomic_for_a_pipe(writes):
    """LO-05: the lines of two workers are not interleaved."""

    async def many():
        for n in range(5):
            _write(n, extra="x" * 1500)
        _write(5, extra="x" * 5000)
        _write(6)
        await asyncio.sleep(0)

    asyncio.run(many())
    assert writes == [[0, 1], [2, 3], [4], [5], [6]]


def _write_in_last_iteration(n):
    """Write in the last iteration of an event loop, which is stopped before its end."""
    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(_write, n)
    loop.run_forever()
    loop.close()


def test_lines_left_by_a_stopped_event_loop_are_written(writes):
    """With the next line, or by `write_waiting_lines`."""
    _write_in_last_iteration(0)
    _write_in_last_iteration(1)
    assert writes == []
    write_waiting_lines()
    _write_in_last_iteration(2)
    _write(3)
    assert writes == [[0, 1], [2, 3]]


def test_failing_log_raises_no_error(monkeypatch):
    """The request that it is about has been answered (OP-05)."""
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=Broken()))
    _write(0)
    _log(1, logging.ERROR)


def test_forked_worker_does_not_write_its_parents_lines(writes):
    """Nor does it wait for a lock that was held at the fork."""
    _write_in_last_iteration(0)
    child = os.fork()
    if child == 0:
        write_waiting_lines()
        os._exit(len(writes))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    write_waiting_lines()
    assert writes == [[0]]


def test_signal_handler_may_log_during_a_write(monkeypatch):
    """As Granian's does in the main thread."""
    written = []

    def write(text):
        if not written:
            written.append("interrupted")
            _write(1)
        written.append([json.loads(line)["n"] for line in text.splitlines()])

    error = SimpleNamespace(write=write, flush=lambda: None)
    monkeypatch.setattr("oneself.logging.sys", SimpleNamespace(stderr=error))
    _write(0)
    assert written == ["interrupted", [1], [0]]
