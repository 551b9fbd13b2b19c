"""A simulated disk: the state of a test's files after a power cut."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["Disk"]


class Disk:
    """Records file contents and folder entries as of their last fsync.

    It simulates a disk that writes nothing earlier than fsync(2) requires. Files that exist at the
    start count as written. Syncs by SQLite itself are not seen.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self._root = root
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, Mapping[str, int]] = {}
        for path in (root, *root.rglob("*")):
            self._keep(path)
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        # Through /proc, since a file opened for writing cannot be read.
        self._keep(Path(f"/proc/self/fd/{descriptor}").resolve())

    def _keep(self, path: Path) -> None:
        inode = path.stat().st_ino
        if path.is_dir():
            self._names[inode] = {child.name: child.stat().st_ino for child in path.iterdir()}
        else:
            self._contents[inode] = path.read_bytes()

    def keeps(self, path: Path) -> bool:
        """Return whether a file would survive a power cut with its present content."""
        inode = self._root.stat().st_ino
        for name in path.relative_to(self._root).parts:
            names = self._names.get(inode, {})
            if name not in names:
                return False
            inode = names[name]
        return self._contents.get(inode) == path.read_bytes()
