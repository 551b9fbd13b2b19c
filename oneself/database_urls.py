"""Database URLs: a SQLite file, or a PostgreSQL server."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from pydantic import SecretStr
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_SQLITE, _POSTGRESQL = "sqlite:///", "postgresql+psycopg://"

_PORTS = range(1, 65_536)
#: An unescaped character of a password can end it, and the rest is then parsed as the port.
_PORT_RULE = (
    f"must have a port from {_PORTS[0]} to {_PORTS[-1]} behind the host, or none; a password is"
    " written with %3A for :, %2F for / and %40 for @"
)

_SERVERS_RULE = (
    "must name several servers as host=a:5432&host=b:5432, or as host=a,b&port=5432,5432, with"
    " names or IPv4 addresses"
)

#: The one option of a URL that is the driver's own, and not libpq's.
PREPARE = "prepare_threshold"
#: Options that may be repeated: those of a server and its standbys.
_REPEATABLE = frozenset({"host", "port"})
#: Options that the server never sees: only the driver would report a wrong value.
_VALUES = {
    PREPARE: (re.compile("none|[0-9]{1,9}"), "none or a whole number"),
    "connect_timeout": (re.compile("-?[0-9]{1,9}"), "a whole number of seconds"),
    "sslmode": (
        re.compile("disable|allow|prefer|require|verify-ca|verify-full"),
        "disable, allow, prefer, require, verify-ca or verify-full",
    ),
}


def require_database(secret: SecretStr | None) -> SecretStr | None:
    """Return the URL of a database after a check, unless it is empty.

    Raises:
        ValueError: It cannot be opened; the message is the rule that it breaks, and quotes nothing.
    """
    url = secret.get_secret_value() if secret else ""
    if url.startswith(_SQLITE):
        _require_file(url)
    elif url.startswith(_POSTGRESQL):
        _require_server(url)
    elif url:
        raise ValueError(f"must begin with {_SQLITE} or {_POSTGRESQL}")
    return secret


def sqlite_path(url: str) -> Path | None:
    """Return the path of a SQLite URL, percent-decoded; None if the URL names a server."""
    return Path(unquote(url.removeprefix(_SQLITE))) if url.startswith(_SQLITE) else None


def _require_file(url: str) -> None:
    if "?" in url:
        # Code that creates or copies the file would take an option as a part of its name.
        raise ValueError(f"must have a path and no options behind {_SQLITE}; a ? in a name is %3F")
    path = unquote(url.removeprefix(_SQLITE))
    if not path or path.endswith(":memory:"):
        message = "must name a file: in memory every thread would have a database of its own"
        raise ValueError(message)


def parse_threshold(text: str) -> int | None:
    """Parse the number of runs after which the driver prepares a statement; None for never.

    0 means at once. Behind a pooler that hands server connections around, that is as wrong as any
    other number.
    """
    return None if text == "none" else int(text)


def _require_server(url: str) -> None:
    try:
        parts = make_url(url)
    except ArgumentError:
        raise ValueError(f"must be as {_POSTGRESQL}user:password@host/name") from None
    except ValueError:
        raise ValueError(_PORT_RULE) from None
    if parts.port is not None and parts.port not in _PORTS:
        raise ValueError(_PORT_RULE)
    if not parts.database:
        raise ValueError(f"must name a database, as in {_POSTGRESQL}user:password@host/name")
    _require_options(parts)
    _require_servers(parts)


def _require_options(url: URL) -> None:
    """Check the options of a URL: the driver would report a wrong one only when it connects."""
    from psycopg import ProgrammingError  # noqa: PLC0415 # not needed for SQLite
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    options = {name: value for name, value in url.query.items() if isinstance(value, str)}
    if not url.query.keys() - options.keys() <= _REPEATABLE:
        raise ValueError("must have each option once")
    for name, (pattern, rule) in _VALUES.items():
        if name in options and not pattern.fullmatch(options[name]):
            raise ValueError(f"must have {rule} as its {name}")
    try:
        make_conninfo("", **{name: value for name, value in options.items() if name != PREPARE})
    except ProgrammingError:
        message = f"must have no options but those of libpq and {PREPARE}, by their names"
        raise ValueError(message) from None


def _require_servers(url: URL) -> None:
    """Check how a URL names its servers: the dialect would raise an error when it connects."""
    try:
        url.get_dialect()().create_connect_args(url)
        ports = [int(port) for port in _ports(url)]
    except (ArgumentError, ValueError):
        raise ValueError(_SERVERS_RULE) from None
    if not all(port in _PORTS for port in ports):  # the dialect ignores a 0
        raise ValueError(_PORT_RULE)


def _ports(url: URL) -> Iterator[str]:
    """Yield the ports among the options: of `port=`, and behind the names of `host=`."""
    for name in sorted(_REPEATABLE & url.query.keys()):
        value = url.query[name]
        for part in ",".join([value] if isinstance(value, str) else value).split(","):
            port = part.partition(":")[2] if name == "host" else part
            if port:
                yield port
