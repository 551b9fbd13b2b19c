"""Log lines: one JSON object each, on standard error."""

import json
import logging
import logging.config
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

__all__ = ["JsonFormatter", "Line", "configuration"]

#: What every record has; whatever a record has beyond it was given as `extra`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class Line(logging.LogRecord):
    """A record that stands for an event rather than for a place in the code.

    One is written for each request. `Logger.info` looks for the caller, the thread and the process
    first, of which no line says anything: with them it took a quarter of a request's time.
    """

    fields: Mapping[str, Any]

    def __init__(self, like: logging.LogRecord, fields: Mapping[str, Any]) -> None:
        """Take what every record has from one that was made before, but for the moment."""
        created = time.time()
        self.__dict__ = {
            **like.__dict__,
            "created": created,
            "msecs": created % 1 * 1000,
            **fields,
            "fields": fields,
        }


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record, so that no value in it can begin another line (LO-05)."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= (
            record.fields
            if isinstance(record, Line)
            else {k: v for k, v in record.__dict__.items() if k not in _STANDARD}
        )
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=repr).decode()
        except TypeError:
            # A lone surrogate or a very large number: the slower writer has an escape for both.
            return json.dumps(line, default=repr, skipkeys=True)


def configuration(level: str = "INFO") -> dict[str, Any]:
    """For `logging.config.dictConfig`; Granian configures each worker with the same."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "oneself.logs.JsonFormatter"}},
        "handlers": {
            # Without any handler, a logger's errors would be printed as a last resort.
            "nowhere": {"class": "logging.NullHandler"},
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "json",
            },
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
