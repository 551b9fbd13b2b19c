"""Logging on standard error: one JSON object per line, or logfmt in a terminal."""

import asyncio
import json
import logging
import logging.config
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

#: Attributes that every record has; any others were passed as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: Size of an atomic write to a pipe, in bytes (POSIX, PIPE_BUF): a longer one could be interleaved
#: with the lines of another worker.
_ATOMIC_BYTES = 4096

LogFormat = Literal["auto", "json", "text"]


class _LineBuffer:
    """Standard error, with the lines of one event loop iteration written together.

    Each write releases the interpreter lock, and the event loop then waits to get it back. An
    iteration ends before the next request is read. Outside an event loop, and for urgent lines,
    nothing is delayed.
    """

    def __init__(self) -> None:
        self._reset()
        # The parent writes the waiting lines, and another thread may have had the lock.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        # Reentrant: a signal handler may log in the middle of this.
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._length = 0
        self._flush_loop: asyncio.AbstractEventLoop | None = None

    def add(self, line: str, *, urgent: bool = False) -> None:
        """Write a line after all that were added before it."""
        with self._lock:
            # Nearly all of it is ASCII, with one byte per character.
            length = len(line) + 1
            if self._length + length > _ATOMIC_BYTES:
                self._flush()
            self._lines.append(line)
            self._length += length
            if urgent:
                self._flush()
            elif self._flush_loop is None or not self._flush_loop.is_running():
                self._schedule_flush()

    def _schedule_flush(self) -> None:
        try:
            self._flush_loop = asyncio.get_running_loop()
        except RuntimeError:
            self._flush()
        else:
            self._flush_loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write the waiting lines."""
        with self._lock:
            self._flush_loop = None
            self._flush()

    def _flush(self) -> None:
        lines, self._lines, self._length = self._lines, [], 0
        if not lines:
            return
        text = "\n".join((*lines, ""))
        # If the disk is full or the reader is gone, the failure cannot be reported either, and the
        # request has been answered.
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


_buffer = _LineBuffer()


def write_line(moment: datetime, logger: str, message: str, fields: Mapping[str, Any]) -> None:
    """Write an info line for an event, without a log record.

    There is one for each request. A logger would first make a record, with the caller, the thread
    and the process, which the line does not contain, and pass it to each handler: that took a tenth
    of a request's time.
    """
    _buffer.add(_render(moment, "info", logger, message, fields))


def write_waiting_lines() -> None:
    """Write the lines that wait for the end of an iteration, as when an event loop ends."""
    _buffer.flush()


def _json(
    moment: datetime, level: str, logger: str, message: str, fields: Mapping[str, Any]
) -> str:
    line = {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": level,
        "logger": logger,
        "message": message,
        **fields,
    }
    try:
        return orjson.dumps(line, default=repr).decode()
    except TypeError:
        # A lone surrogate or a very large number: the slower encoder can escape both.
        return json.dumps(line, default=repr, skipkeys=True)


def _text(
    moment: datetime, level: str, _logger: str, message: str, fields: Mapping[str, Any]
) -> str:
    """Return a line for people: the local time, level and message, and the fields as logfmt.

    The lines of a traceback follow, indented, so that none of them looks like a line of the log.
    """
    words = [
        f"{moment.astimezone():%H:%M:%S} {level:7} {_printable(message)}",
        *(
            f"{name}={_quoted(_printable(str(value)))}"
            for name, value in fields.items()
            if value is not None and name != "traceback"
        ),
    ]
    traceback = str(fields.get("traceback", "")).splitlines()
    return "\n".join((" ".join(words), *(f"    {_printable(line)}" for line in traceback)))


def _printable(text: str) -> str:
    """Escape what could begin a line, control the terminal, or change the order of the text."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _quoted(text: str) -> str:
    """Quote a value that could be read as more than one field."""
    return json.dumps(text, ensure_ascii=False) if not text or set(text) & {*' "='} else text


#: How a line is written; `choose_format` sets it.
_render: Callable[[datetime, str, str, str, Mapping[str, Any]], str] = _json


def choose_format(log_format: LogFormat) -> None:
    """Set how lines are written; `auto` is text in a terminal, and JSON otherwise."""
    global _render  # noqa: PLW0603 # as the configuration of `logging`, it is that of the process
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    _render = _text if is_text else _json


class LineFormatter(logging.Formatter):
    """One line per record, in which no value can begin another line (LO-05)."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a line."""
        fields = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        moment = datetime.fromtimestamp(record.created, UTC)
        level = record.levelname.lower()
        return _render(moment, level, record.name, record.getMessage(), fields)


class LineHandler(logging.Handler):
    """Write each record as a line; warnings and errors at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, now or at the end of the event loop iteration."""
        try:
            _buffer.add(self.format(record), urgent=record.levelno > logging.INFO)
        except Exception:  # noqa: BLE001 # as in every handler: a failing log stops nothing
            self.handleError(record)


def configuration(level: str = "INFO") -> dict[str, Any]:
    """Return the configuration for `logging.config.dictConfig`; Granian's workers use the same."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": "oneself.logging.LineFormatter"}},
        "handlers": {
            # Without any handler, a logger's errors would be printed as a last resort.
            "nowhere": {"class": "logging.NullHandler"},
            "stderr": {"class": "oneself.logging.LineHandler", "formatter": "line"},
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            # Logs of the acts, such as the head of the event chain.
            "accounts": {"level": level},
            "oneself": {"level": level},
            "_granian": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            "granian.access": {"level": "WARNING", "handlers": ["nowhere"], "propagate": False},
            # Connexion logs rejected values, so none of its messages are logged.
            "connexion": {"level": "CRITICAL", "handlers": ["nowhere"], "propagate": False},
        },
    }
