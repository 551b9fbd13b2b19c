"""Log lines: one JSON object each, on standard error."""

import asyncio
import json
import logging
import logging.config
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson

__all__ = ["JsonFormatter", "LineHandler", "configuration", "write_line", "write_waiting_lines"]

#: What every record has; whatever a record has beyond it was given as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: What a pipe takes as a whole, in bytes (POSIX, PIPE_BUF): of more than that, parts would come
#: between those of another worker's.
_WHOLE = 4096


class _Lines:
    """Standard error, on which the lines of one round of an event loop are written together.

    A write lets the other threads run, and then this one waits for them. A round is over before the
    next thing that anybody sends is read; where there is none, or there is hurry, it is not waited
    for.
    """

    def __init__(self) -> None:
        self._begin()
        # What was waiting is its parent's to write, and somebody else may have held the lock.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        # A handler of signals logs too, in the midst of what this does.
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._length = 0
        self._due_in: asyncio.AbstractEventLoop | None = None

    def add(self, line: str, *, hurry: bool = False) -> None:
        """Write a line after all that were added before it."""
        with self._lock:
            # Nearly all of it is ASCII, which has a byte for each character.
            length = len(line) + 1
            if self._length + length > _WHOLE:
                self._write()
            self._lines.append(line)
            self._length += length
            if hurry:
                self._write()
            elif self._due_in is None or not self._due_in.is_running():
                self._write_soon()

    def _write_soon(self) -> None:
        try:
            self._due_in = asyncio.get_running_loop()
        except RuntimeError:
            self._write()
        else:
            self._due_in.call_soon(self.end_round)

    def end_round(self) -> None:
        """Write what waits."""
        with self._lock:
            self._due_in = None
            self._write()

    def _write(self) -> None:
        lines, self._lines, self._length = self._lines, [], 0
        if not lines:
            return
        text = "\n".join((*lines, ""))
        # Where the disk is full or nobody reads any more, there is nobody to tell that either, and
        # the request that the line is about has been answered.
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


_lines = _Lines()


def write_line(moment: datetime, logger: str, message: str, fields: Mapping[str, Any]) -> None:
    """Write a line of information that stands for an event rather than for a place in the code.

    One is written for each request. A logger makes a record of it first, with the caller, the
    thread and the process, of which no line says anything, and gives it to each of its handlers:
    that took a tenth of a request's time.
    """
    _lines.add(_json(moment, "info", logger, message, fields))


def write_waiting_lines() -> None:
    """Write what waits for the end of a round that may not come, as at the end of an event loop."""
    _lines.end_round()


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
        # A lone surrogate or a very large number: the slower writer has an escape for both.
        return json.dumps(line, default=repr, skipkeys=True)


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record, so that no value in it can begin another line (LO-05)."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a line."""
        fields = {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        moment = datetime.fromtimestamp(record.created, UTC)
        level = record.levelname.lower()
        return _json(moment, level, record.name, record.getMessage(), fields)


class LineHandler(logging.Handler):
    """Writes each record as a line; at once what is worse than information."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, now or when the event loop's round is over."""
        try:
            _lines.add(self.format(record), hurry=record.levelno > logging.INFO)
        except Exception:  # noqa: BLE001 # as in every handler: a log that fails stops nothing
            self.handleError(record)


def configuration(level: str = "INFO") -> dict[str, Any]:
    """For `logging.config.dictConfig`; Granian configures each worker with the same."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "oneself.logging.JsonFormatter"}},
        "handlers": {
            # Without any handler, a logger's errors would be printed as a last resort.
            "nowhere": {"class": "logging.NullHandler"},
            "stderr": {"class": "oneself.logging.LineHandler", "formatter": "json"},
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            # What the acts tell of themselves, such as the head of the chain of events.
            "accounts": {"level": level},
            "oneself": {"level": level},
            "_granian": {"level": "WARNING", "handlers": ["stderr"], "propagate": False},
            "granian.access": {"level": "WARNING", "handlers": ["nowhere"], "propagate": False},
            # Connexion logs rejected values; whatever it has to say, it does not say here.
            "connexion": {"level": "CRITICAL", "handlers": ["nowhere"], "propagate": False},
        },
    }
