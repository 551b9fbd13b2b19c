"""What the URL of a database means: a SQLite file, or a PostgreSQL server."""

from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

__all__ = ["require_database", "sqlite_path"]

_SQLITE, _POSTGRESQL = "sqlite:///", "postgresql+psycopg://"


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


def _require_server(url: str) -> None:
    try:
        name = make_url(url).database
    except (ArgumentError, ValueError):  # as for a port that is no number
        name = None
    if not name:
        message = f"must name a database, as in {_POSTGRESQL}user:password@host/name"
        raise ValueError(message)
