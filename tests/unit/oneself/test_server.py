"""What a worker is when it begins to serve."""

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


def test_a_worker_looks_for_garbage_only_in_what_it_makes_while_it_serves(tmp_path):
    """A look at all that was made at the start would keep every request waiting."""

    def run(*words):
        return subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env={**os.environ, "ONESELF_DATA_DIR": str(tmp_path / "data")},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    run("-m", "oneself", "db", "upgrade")
    assert run("-c", WORKER) == "True True\n"
