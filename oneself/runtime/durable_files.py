"""Files that survive a power cut, whole and under their final name.

The standard library has nothing for it, and atomicwrites, which had, is unmaintained.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, accessible to the owner only.

    Raises:
        OSError: It cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        sync(path.parent)


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; the next `sync` or `put` makes its name durable.

    See `write_lines`.
    """
    write_lines(path, [content])


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write a file that only its owner can read, line by line.

    A file that a crash left under this name is removed first, and a link is not followed. If the
    write fails, no file is left.

    Raises:
        OSError: It cannot be written.
    """
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with _with_file_name(path), os.fdopen(descriptor, "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def put(part: Path, path: Path) -> None:
    """Rename a written file into place, replacing the file of that name.

    Raises:
        OSError: It cannot be renamed.
    """
    part.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file's content, or a folder's names, to disk.

    Raises:
        OSError: It cannot be read, or the disk has failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _with_file_name(path):
            os.fsync(descriptor)
    except OSError as error:
        # Some file systems keep names by themselves, and cannot be asked to (fsync(2)).
        if not (path.is_dir() and error.errno in {errno.EINVAL, errno.ENOTSUP}):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _with_file_name(path: Path) -> Iterator[None]:
    """Add the file's name to an error: errors of an open file have none."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
