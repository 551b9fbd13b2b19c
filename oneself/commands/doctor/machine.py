"""Checks of the machine: the data folder, and the limit of open files."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from oneself.commands.console.check_result import CheckResult, ok, problem

if TYPE_CHECKING:
    from oneself.settings import Settings

_MIB = 1024 * 1024
#: Enough for a day of a busy service, so that operators have time to react.
_MIN_FREE = 512 * _MIB
_GROUP_AND_OTHERS = 0o077
#: A worker with fewer connections is stopped for seconds by one client that opens as many.
_MIN_CONNECTIONS = 1024


def disk(settings: "Settings") -> CheckResult:
    """Check that the data folder is writable and private, and has enough free space."""
    folder = settings.data_dir.absolute()
    # With PostgreSQL, the first email creates the folder.
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    if os.statvfs(existing).f_flag & os.ST_RDONLY or not os.access(existing, os.W_OK):
        return problem(
            f"{existing} is not writable", "Make it writable for the user that runs `serve`."
        )
    database = settings.location
    paths = [folder, database] if isinstance(database, Path) else [folder]
    exposed = [path for path in paths if path.exists() and path.stat().st_mode & _GROUP_AND_OTHERS]
    if exposed:
        names = " ".join(map(str, exposed))
        return problem(f"other users can access {names}", f"Run: chmod go= {names}")
    size = database.stat().st_size if isinstance(database, Path) else 0
    free = shutil.disk_usage(existing).free
    # Room for a copy of the database before the next migration.
    needed = max(_MIN_FREE, size)
    if free < needed:
        return problem(
            f"{free // _MIB:,} MiB free at {existing}; at least {needed // _MIB:,} MiB are needed",
            "Free some space: on a full disk every write is rejected with 503.",
        )
    return ok(f"{free // _MIB:,} MiB free at {existing}")


def descriptors(settings: "Settings") -> CheckResult:
    """Check that the limit of open files allows enough connections."""
    from oneself.runtime.descriptors import reachable_connections

    connections = reachable_connections(settings.database_threads)
    found = f"a worker can accept {connections:,} connections"
    if connections >= _MIN_CONNECTIONS:
        return ok(found)
    return problem(
        f"{found}, since this user may open few files",
        "Raise the hard limit: LimitNOFILE=65536 for systemd, --ulimit nofile=65536 for a"
        " container, ulimit -Hn for a shell.",
    )
