"""Log lines: one JSON object each."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneself.logs import JsonFormatter, configuration

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
        "from oneself.logs import configuration\n"
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
