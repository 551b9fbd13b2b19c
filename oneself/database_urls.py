"""What the URL of a database means: a SQLite file, or a PostgreSQL server."""

import re
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["PREPARE", "parse_threshold", "require_database", "sqlite_path"]

_SQLITE, _POSTGRESQL = "sqlite:///", "postgresql+psycopg://"

_PORTS = range(1, 65_536)
#: A sign of a password that is written as it is ends it, and the rest is taken for a port.
_PORT_RULE = (
    f"must have a port from {_PORTS[0]} to {_PORTS[-1]} behind the host, or none; a password is"
    " written with %3A for :, %2F for / and %40 for @"
)

#: The option of a URL that is the driver's own, and none of libpq's.
PREPARE = "prepare_threshold"
#: That an address may have several of: those of a server and its standbys.
_REPEATED = frozenset({"host", "port"})
#: What is not sent to the server, so that nobody but the driver would say that it is wrong.
_VALUES = {
    PREPARE: (re.compile("none|[0-9]{1,9}"), "none or a whole number"),
    "connect_timeout": (re.compile("-?[0-9]{1,9}"), "a whole number of seconds"),
    "sslmode": (
        re.compile("disable|allow|prefer|require|verify-ca|verify-full"),
        "disable, allow, prefer, require, verify-ca or verify-full",
    ),
}


def require_database(url: str) -> None:
    """Let the URL of a database pass that can be opened.

    Raises:
        ValueError: It cannot; the message is the rule that it breaks, and has no part of it.
    """
    if url.startswith(_SQLITE):
        _require_file(url)
    elif url.startswith(_POSTGRESQL):
        _require_server(url)
    else:
        message = f"must begin with {_SQLITE} or {_POSTGRESQL}"
        raise ValueError(message)


def sqlite_path(url: str) -> Path | None:
    """The file that a URL names, with %20 for a blank and the like; None if it names a server."""
    return Path(unquote(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else None


def _require_file(url: str) -> None:
    if "?" in url:
        # An option would be a part of the name to whoever makes the file and copies it.
        message = f"must have a path and no options behind {_SQLITE}; a ? in a name is %3F"
        raise ValueError(message)
    path = unquote(url.removeprefix(_SQLITE))
    if not path or path.endswith(":memory:"):
        message = "must name a file: in memory every thread would have a database of its own"
        raise ValueError(message)


def parse_threshold(text: str) -> int | None:
    """How often a statement is run before the server keeps it; None for never.

    For the driver 0 is at once, which behind a pooler that hands the server's connections around
    is as wrong as a number that is reached later.
    """
    return None if text == "none" else int(text)


def _require_server(url: str) -> None:
    try:
        parts = make_url(url)
    except ArgumentError:
        message = f"must be as {_POSTGRESQL}user:password@host/name"
        raise ValueError(message) from None
    except ValueError:
        raise ValueError(_PORT_RULE) from None
    if parts.port is not None and parts.port not in _PORTS:
        raise ValueError(_PORT_RULE)
    if not parts.database:
        message = f"must name a database, as in {_POSTGRESQL}user:password@host/name"
        raise ValueError(message)
    _require_options(parts)


def _require_options(url: URL) -> None:
    """Let options pass that there are: a driver says so only when it connects.

    Raises:
        ValueError: One is not known, or is there twice, or has a value that it cannot have.
    """
    from psycopg import ProgrammingError  # noqa: PLC0415 # who has a file does without
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    given = {name: value for name, value in url.query.items() if isinstance(value, str)}
    if not url.query.keys() - given.keys() <= _REPEATED:
        message = "must have each option once"
        raise ValueError(message)
    for name, (pattern, rule) in _VALUES.items():
        if name in given and not pattern.fullmatch(given[name]):
            message = f"must have {rule} as its {name}"
            raise ValueError(message)
    try:
        make_conninfo("", **{name: value for name, value in given.items() if name != PREPARE})
    except ProgrammingError:
        message = f"must have no options but those of libpq and {PREPARE}, by their names"
        raise ValueError(message) from None
