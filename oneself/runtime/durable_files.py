"""Files that are whole after a power cut, under names that it does not take back.

The standard library has nothing for it, and atomicwrites, which had, is no longer kept.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["make_folder", "put", "sync", "write"]


def make_folder(folder: Path) -> None:
    """Make a folder that is its owner's only, where there is none, and those that it is to be in.

    Raises:
        OSError: It cannot be made.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        sync(each.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; its name is kept with the next `sync` or `put`.

    What a crash has left under that name is taken away, and a link there is not followed. What
    cannot be written whole is not left there.

    Raises:
        OSError: It cannot be written.
    """
    path.unlink(missing_ok=True)
    held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with _named(path), os.fdopen(held, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def put(part: Path, path: Path) -> None:
    """Give a file that is written a name in its folder, in the place of what has that name.

    Raises:
        OSError: It cannot be renamed.
    """
    part.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file's content on disk, or the names in a folder, which are the folder's to keep.

    Raises:
        OSError: It cannot be read, or the disk has failed.
    """
    held = os.open(path, os.O_RDONLY)
    try:
        with _named(path):
            os.fsync(held)
    except OSError as error:
        # Some file systems keep names by themselves, and have no way to be asked for it (fsync(2)).
        if not (path.is_dir() and error.errno in {errno.EINVAL, errno.ENOTSUP}):
            raise
    finally:
        os.close(held)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put a file's name into an error: what fails on an open file has none, and would say none."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
