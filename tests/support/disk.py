"""What a power cut would leave of the files that a test has written."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

__all__ = ["Disk"]


class Disk:
    """Keeps the content of each file, and the names in each folder, as of when it was synced.

    It stands for a disk that writes nothing before it has to, which is what fsync(2) is for. What
    was there before is on it. What SQLite syncs by itself it does not see.
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
        # By its name in /proc, since what is open for writing cannot be read.
        self._keep(Path(f"/proc/self/fd/{descriptor}").resolve())

    def _keep(self, path: Path) -> None:
        inode = path.stat().st_ino
        if path.is_dir():
            self._names[inode] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            self._contents[inode] = path.read_bytes()

    def keeps(self, path: Path) -> bool:
        """Whether a file would be there as it is now."""
        inode = self._root.stat().st_ino
        for name in path.relative_to(self._root).parts:
            names = self._names.get(inode, {})
            if name not in names:
                return False
            inode = names[name]
        return self._contents.get(inode) == path.read_bytes()
