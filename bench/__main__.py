"""Run one benchmark, or all of them: `python -m bench [NAME [ARGUMENT…]]`."""

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent
#: In this order, with the arguments of a whole run.
_ALL = (
    ("compare", "--write", ".tox/bench"),
    ("resources",),
    ("login_rate",),
    ("logins",),
    ("beside_logins",),
    ("stages",),
    ("stages_instructions",),
    ("growth",),
    ("retention",),
)


def _run(name: str, *arguments: str) -> int:
    command = [sys.executable, str(_FOLDER / f"{name}.py"), *arguments]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    chosen = [tuple(sys.argv[1:])] if sys.argv[1:] else _ALL
    sys.exit(max(_run(*each) for each in chosen))
