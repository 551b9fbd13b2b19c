"""Copies of SQLite files: copy one in use, and replace one that is not."""

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from oneself.commands.console.failures import Failure, explain
from oneself.database import sqlite_driver
from oneself.runtime.durable_files import sync

__all__ = ["checkpoint", "copy_database", "existing_files", "move_aside", "replace_database"]

#: Suffixes of a database's files. A log left beside a replaced file would be replayed into it.
_SUFFIXES = ("", "-wal", "-shm", "-journal")

#: The bytes that SQLite locks in a database file: PENDING_BYTE and the 511 after it
#: (https://sqlite.org/fileformat2.html#the_lock_byte_page). A connection in WAL mode locks some.
_LOCKED_FROM, _LOCKED_BYTES = 0x4000_0000, 512


@contextmanager
def copy_database(source: Path, place: Path) -> Iterator[Path]:
    """Copy `source` to a private file beside `place`, deleted at the end unless it was moved."""
    part = place.with_name(f"{place.name}.{os.getpid()}")
    _delete(part)  # left by a crash: in a container, every start has the same process id
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        _copy(source, part)
        yield part
    finally:
        _delete(part)


def _copy(source: Path, target: Path) -> None:
    """Copy a consistent snapshot of a file that other processes read and write.

    SQLite's backup runs in one step: in several, each write by another process would restart it.
    In WAL mode it blocks no other connection. VACUUM INTO would be smaller, but
    renumbers the rows.
    """
    driver = sqlite_driver()
    try:
        # Without mode=ro the driver would create a missing file.
        with (
            closing(driver.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as reading,
            closing(driver.connect(target)) as writing,
        ):
            reading.backup(writing)
    except driver.Error as error:
        raise Failure(
            f"{source} cannot be copied: {error}. Check that it is a SQLite database, and that it"
            " can be read."
        ) from error


def checkpoint(part: Path, *, in_use: bool = False) -> None:
    """Flush a copy to disk as a single file.

    With `in_use`, switch it to WAL mode, where that is possible. A backup is not in WAL mode, so
    that it can be read from read-only media.
    """
    driver = sqlite_driver()
    try:
        with closing(driver.connect(part)) as writing:
            writing.execute("PRAGMA journal_mode = DELETE")
            if in_use:
                writing.execute("PRAGMA journal_mode = WAL")
    except driver.Error as error:
        raise Failure(f"{part} cannot be written: {error}. Free some space.") from error
    sync(part)


def replace_database(part: Path, place: Path) -> None:
    """Give a flushed copy its final name durably, unless a file of that name exists.

    Raises:
        Failure: A file of that name exists.
        OSError: The copy cannot be renamed; then no file has the name.
    """
    try:
        place.hardlink_to(part)
    except FileExistsError as error:
        raise Failure(f"{place} already exists. Give another name, or move it away.") from error
    try:
        sync(place.parent)
    except OSError:
        place.unlink()
        raise


def existing_files(place: Path) -> Sequence[Path]:
    """Return the files of a database that exist."""
    return [path for suffix in _SUFFIXES if (path := Path(f"{place}{suffix}")).exists()]


@contextmanager
def move_aside(place: Path) -> Iterator[Path | None]:
    """Rename an unused database, and keep it locked until the end.

    The file is locked without SQLite, since it may be damaged, but with SQLite's locks. After an
    error the name is restored: otherwise the next start would create an empty database.

    Raises:
        Failure: Another program uses the database; or its name could not be restored.
    """
    files = existing_files(place)
    if not files:
        yield None
        return
    former = place.with_name(f"{place.name}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    # If only a log is left, no program can be using it, and the lock is harmless.
    with files[0].open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKED_BYTES, _LOCKED_FROM)
        except OSError as error:
            raise Failure(f"{place} is in use. Stop every service that uses it.") from error
        renamed: list[tuple[Path, Path]] = []
        try:
            for path in files:
                renamed_to = Path(f"{former}{path.name.removeprefix(place.name)}")
                path.rename(renamed_to)
                renamed.append((path, renamed_to))
            yield former
        except BaseException as error:
            _restore_names(renamed, error)
            raise


def _restore_names(renamed: Sequence[tuple[Path, Path]], reason: BaseException) -> None:
    """Restore the names of files, the database last, so that it is never opened without its log."""
    for path, renamed_to in reversed(renamed):
        try:
            # A service that was started meanwhile has created another database.
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            renamed_to.rename(path)
        except OSError as error:
            cause = explain(reason) if isinstance(reason, Exception) else None
            raise Failure(
                f"{cause or 'The command was interrupted.'} The former {path} could not be restored"
                f" ({error.strerror}) and is now at {renamed_to}: move away any file at {path},"
                " then rename it, together with its -wal file."
            ) from reason
    with suppress(OSError):  # best effort: the names are restored already
        for path, _ in renamed[:1]:
            sync(path.parent)


def _delete(path: Path) -> None:
    for file in existing_files(path):
        file.unlink()
