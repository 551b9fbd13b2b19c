"""Copies of a SQLite database: of a file that is in use, and into the place of one that is not."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from oneself.commands.failures import Failure
from oneself.durable_files import sync
from oneself.transactions import sqlite_driver

__all__ = ["in_its_place", "occupants", "put_aside", "whole_copy"]

#: What SQLite keeps beside a file: taken for another file's, they would be played into it.
_COMPANIONS = ("", "-wal", "-shm", "-journal")

#: The bytes that SQLite locks in a file, whatever is in it: PENDING_BYTE and the 511 after it
#: (https://sqlite.org/fileformat2.html#the_lock_byte_page). Who has it open in WAL mode holds some.
_LOCKED_FROM, _LOCKED_BYTES = 0x4000_0000, 512


@contextmanager
def whole_copy(source: Path, place: Path) -> Iterator[Path]:
    """A copy beside `place`, which nobody else can read; whoever takes it away keeps it.

    Raises:
        Failure: `source` is no database, or cannot be read.
    """
    part = place.with_name(f"{place.name}.{os.getpid()}")
    _remove(part)  # from a crash; in a container every start has the same id
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _copy(source, part)
        yield part
    finally:
        _remove(part)


def _copy(source: Path, target: Path) -> None:
    """Copy all that is committed in a file at one moment, while others read and write it.

    All in one step of SQLite's backup: in several, each write of another process would begin it
    anew. In WAL mode nobody waits for it. VACUUM INTO would be smaller, and numbers the rows anew.

    Raises:
        Failure: `source` is no database, or cannot be read.
    """
    driver = sqlite_driver()
    try:
        # Where there is none, the driver would make one.
        reading = driver.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
        writing = driver.connect(target)
        try:
            reading.backup(writing)
        finally:
            writing.close()
            reading.close()
    except driver.Error as error:
        raise Failure(
            f"{source} cannot be copied: {error}. See that it is a database of SQLite, and that"
            " it can be read."
        ) from error


def in_its_place(part: Path, place: Path) -> None:
    """Give a copy its name, unless there is a file of that name, and keep both on disk.

    Raises:
        Failure: There is one.
    """
    writing = sqlite_driver().connect(part)
    # One file, with nothing beside it; whoever opens it as a service makes it WAL again.
    writing.execute("PRAGMA journal_mode = DELETE")
    writing.close()
    sync(part)
    try:
        place.hardlink_to(part)
    except FileExistsError as error:
        raise Failure(f"{place} is there already. Give another name, or move it away.") from error
    sync(place.parent)


def occupants(place: Path) -> Sequence[Path]:
    """The files of a database, as far as there are any."""
    return [path for each in _COMPANIONS if (path := Path(f"{place}{each}")).exists()]


@contextmanager
def put_aside(place: Path) -> Iterator[Path | None]:
    """Rename a database that nobody uses, and keep whoever has its name from opening it meanwhile.

    SQLite is not asked, since what is replaced may be damaged; but its locks are honoured.

    Raises:
        Failure: A service or another program uses it.
    """
    found = occupants(place)
    if not found:
        yield None
        return
    former = place.with_name(f"{place.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    # Where only a companion was left, there is nobody who could be using it.
    with found[0].open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKED_BYTES, _LOCKED_FROM)
        except OSError as error:
            raise Failure(f"{place} is in use. Stop every service that uses it first.") from error
        for path in found:
            path.rename(f"{former}{path.name.removeprefix(place.name)}")
        yield former


def _remove(path: Path) -> None:
    for each in occupants(path):
        each.unlink()
