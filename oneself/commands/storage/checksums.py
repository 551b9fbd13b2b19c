"""The SHA-256 of a backup, in a file beside it that `sha256sum --check` understands.

SQLite has no checksums of pages, and its integrity check does not notice changed values.
"""

import hashlib
import re
from pathlib import Path

from oneself.commands.console.failures import Failure
from oneself.runtime.durable_files import sync, write

#: A line of `sha256sum`; an asterisk marks a file read in binary mode.
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *].+\n?")


def sha256_of(file: Path) -> str:
    """Return the digest of a file, in hex."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def write_checksum(backup: Path, digest: str) -> None:
    """Write the digest of a backup beside it, durably.

    Raises:
        OSError: It cannot be written; then the backup is deleted, since it cannot be verified.
    """
    try:
        write(_checksum_file(backup), f"{digest}  {backup.name}\n".encode())
        sync(backup.parent)
    except BaseException:
        backup.unlink()
        raise


def require_checksum(backup: Path, *, required: bool) -> None:
    """Check that a backup has the digest in the file beside it, if there is one.

    Raises:
        Failure: It has another, or there is none and it is `required`.
    """
    path = _checksum_file(backup)
    if not path.exists():
        if required:
            raise Failure(
                f"There is no {path}, so damage to the backup may go unnoticed. Copy that file as"
                " well or, if there is none, give --without-checksum."
            )
        return
    line = _LINE.fullmatch(path.read_text(errors="replace"))
    if line is None:
        raise Failure(f"{path} must have one line of `sha256sum`. Copy it again.")
    if line["digest"] != sha256_of(backup):
        raise Failure(
            f"{backup} is not what was backed up: its SHA-256 is not the one in {path}. Copy both"
            " again, or use another backup."
        )


def _checksum_file(backup: Path) -> Path:
    return backup.with_name(f"{backup.name}.sha256")
