"""The versions of PostgreSQL that a cluster can run, and folders for it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.postgresql import installation

__all__ = ["VERSIONS", "programs_of", "temporary_folder"]

#: Debian's version of the machine, and the one in the wheel of the tests.
VERSIONS = ("15", "18")
_DEBIAN = Path("/usr/lib/postgresql/15/bin")


def programs_of(version: str) -> Path:
    """Return the folder of the programs of a version."""
    folder = _DEBIAN if version == VERSIONS[0] else installation() / "bin"
    if not (folder / "postgres").exists():
        pytest.skip(f"not installed: PostgreSQL {version}")
    shown = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=True)
    assert f" {version}." in shown.stdout.decode()
    return folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder; pytest's own is private to its owner."""
    folder = Path(tempfile.mkdtemp(prefix="oneself-failover-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
