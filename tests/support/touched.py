"""The contract rows which the changes of this checkout touch, for `tox run -e quick`."""

import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from oneself_conformance.cases.table import Row

__all__ = ["is_touched"]

_ROOT = Path(__file__).parents[2]
_DIALECT_FILE = re.compile(
    r"(?:handlers|contracts/oneself_conformance/data/rows)/([a-z]+)\.(?:py|yaml)"
)
#: Changes that no row can notice.
_UNSEEN = re.compile(r"(?:tests|docs|bench|sdk|examples|requirements)/|[^/]*\.(?:md|ini|toml)$|\.")


def is_touched(row: Row) -> bool:
    """Tell whether a row's dialect changed; a plain success counts unless only dialects changed."""
    dialects, is_shared = _changes()
    is_success = row.refusal is None and row.operation_id is not None
    return row.dialect in dialects or (is_shared and is_success)


@cache
def _changes() -> tuple[frozenset[str], bool]:
    """Return the changed dialects, and whether shared code changed; True, too, if nothing did."""
    changed = [path for path in _changed_files() if not _UNSEEN.match(path)]
    files = [_DIALECT_FILE.fullmatch(path) for path in changed]
    return frozenset(file[1] for file in files if file), not (files and all(files))


def _changed_files() -> Iterable[str]:
    """List files that differ from the main branch: committed, uncommitted or not yet added."""
    base = _git("merge-base", "HEAD", "origin/main") or ["HEAD"]
    return {
        *_git("diff", "--name-only", base[0]),
        *_git("ls-files", "--others", "--exclude-standard"),
    }


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 # the developer's own git
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split() if done.returncode == 0 else []
