"""The health of a SQLite file: whether it is still in its place, and whether its disk is full."""

import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from accounts.errors import Unavailable

GONE = "the database file is gone or was replaced: put it back, or restart the service"
FULL = "the disk is full"

#: Without its log or its lock table, the file is as lost to other processes as without its name.
_SUFFIXES = ("", "-wal", "-shm")
#: A disk counts as full until this much can be written: more than a change takes.
_SPARE_BYTES = 64 * 1024
_SQLITE_FULL = 13  # the lowest byte of an extended result code

_Identity = tuple[int, int] | None


class FileHealth:
    """Compares the files under a path with those that the first connection opened.

    A process keeps a deleted file open: everything committed to it is lost when the process ends,
    and another process under the same path serves another file.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path.resolve().parent
        self._paths = [f"{path}{suffix}" for suffix in _SUFFIXES]
        self._opened: list[_Identity] | None = None
        self._lock = threading.Lock()
        self._is_full = False

    def note_opened(self) -> None:
        """Remember the files of the first connection; reject later ones to other files.

        Raises:
            Unavailable: The files are not those of the first connection.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._present()
        self.require_in_place()

    def note_closed(self) -> None:
        """Forget the files: no connection is open any more."""
        self._opened = None

    def require_in_place(self) -> None:
        """Check the files, before each write and each new connection.

        Raises:
            Unavailable: One is gone, or another file has its name.
        """
        if not self._is_in_place():
            raise Unavailable(retry_after=5, reason=GONE)

    def note_failure(self, error: Any) -> None:
        """Remember that the driver reports a full disk."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == _SQLITE_FULL:
            self._is_full = True

    def unready_reason(self) -> str | None:
        """Return why changes cannot be stored; None if they can, as far as is known."""
        if not self._is_in_place():
            return GONE
        return FULL if self._is_full else None

    def check_space(self) -> None:
        """Notice that a full disk has space again, without a change that would have to be lost."""
        if self._is_full and self._is_in_place():
            self._is_full = not can_write(self._folder)

    def _is_in_place(self) -> bool:
        return self._opened is None or self._present() == self._opened

    def _present(self) -> list[_Identity]:
        return [_identity(path) for path in self._paths]


def _identity(path: str) -> _Identity:
    try:
        found = os.stat(path)  # noqa: PTH116 # a Path takes several times as long
    except OSError:
        return None
    return found.st_dev, found.st_ino


def can_write(folder: Path) -> bool:
    """Return whether the disk of a folder has space for a change."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(_SPARE_BYTES))
    except OSError:
        return False
    return True
