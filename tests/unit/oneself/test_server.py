"""Garbage collection in a worker that begins to serve."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORKER = """
import gc
from oneself.server import application
application()
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
"""


def test_objects_of_the_start_are_excluded_from_garbage_collection(tmp_path):
    """A collection over all of them would delay every request."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "ONESELF_DATA_DIR": str(tmp_path / "data"),
                "ONESELF_SECRET_KEY": "x" * 43,
            },
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    run("-m", "oneself", "db", "upgrade")
    assert run("-c", WORKER) == "True True\n"
