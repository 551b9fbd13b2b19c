"""Copies of a SQLite database: of a file that is in use, and into the place of one that is not."""

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from oneself.commands.console.failures import Failure, explain
from oneself.database import sqlite_driver
from oneself.runtime.durable_files import sync

__all__ = ["checkpoint", "copy_database", "move_aside", "occupants", "replace_database"]

#: What SQLite keeps beside a file: taken for another file's, they would be played into it.
_COMPANIONS = ("", "-wal", "-shm", "-journal")

#: The bytes that SQLite locks in a file, whatever is in it: PENDING_BYTE and the 511 after it
#: (https://sqlite.org/fileformat2.html#the_lock_byte_page). Who has it open in WAL mode holds some.
_LOCKED_FROM, _LOCKED_BYTES = 0x4000_0000, 512


@contextmanager
def copy_database(source: Path, place: Path) -> Iterator[Path]:
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


def checkpoint(part: Path, *, in_use: bool = False) -> None:
    """Have a copy on disk as one file, with nothing beside it.

    One that is to be used is in WAL mode from the beginning, where that is possible. One that is to
    be kept is not, or nobody could read it where nothing can be written.

    Raises:
        Failure: SQLite cannot, as on a disk that is full.
    """
    driver = sqlite_driver()
    try:
        writing = driver.connect(part)
        try:
            writing.execute("PRAGMA journal_mode = DELETE")
            if in_use:
                writing.execute("PRAGMA journal_mode = WAL")
        finally:
            writing.close()
    except driver.Error as error:
        raise Failure(f"{part} cannot be written: {error}. See that there is room.") from error
    sync(part)


def replace_database(part: Path, place: Path) -> None:
    """Give a copy that is on disk its name, unless there is a file of that name, and keep the name.

    Raises:
        Failure: There is one.
        OSError: It cannot have the name, and nothing has.
    """
    try:
        place.hardlink_to(part)
    except FileExistsError as error:
        raise Failure(f"{place} is there already. Give another name, or move it away.") from error
    try:
        sync(place.parent)
    except OSError:
        place.unlink()
        raise


def occupants(place: Path) -> Sequence[Path]:
    """The files of a database, as far as there are any."""
    return [path for each in _COMPANIONS if (path := Path(f"{place}{each}")).exists()]


@contextmanager
def move_aside(place: Path) -> Iterator[Path | None]:
    """Rename a database that nobody uses, and keep whoever has its name from opening it meanwhile.

    SQLite is not asked, since what is replaced may be damaged; but its locks are honoured. What
    goes wrong meanwhile gives it its name back: the next start would make an empty one.

    Raises:
        Failure: A service or another program uses it; or it could not have its name back.
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
        renamed: list[tuple[Path, Path]] = []
        try:
            for path in found:
                aside = Path(f"{former}{path.name.removeprefix(place.name)}")
                path.rename(aside)
                renamed.append((path, aside))
            yield former
        except BaseException as error:
            _restore(renamed, error)
            raise


def _restore(renamed: Sequence[tuple[Path, Path]], reason: BaseException) -> None:
    """Give files their names back, the database last: nobody is to open it without its log.

    Raises:
        Failure: One cannot have it; the sentence has the reason as well, and where the file is.
    """
    for path, aside in reversed(renamed):
        try:
            # A start in this moment has made another, and uses it.
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            aside.rename(path)
        except OSError as error:
            why = explain(reason) if isinstance(reason, Exception) else None
            raise Failure(
                f"{why or 'The command broke off.'} What was at {path} could not be put back"
                f" ({error.strerror}) and is at {aside}: see that nothing is at {path}, and rename"
                " it, with what lies beside it."
            ) from reason
    with suppress(OSError):  # they have their names, whatever a power cut would leave
        for path, _ in renamed[:1]:
            sync(path.parent)


def _remove(path: Path) -> None:
    for each in occupants(path):
        each.unlink()
