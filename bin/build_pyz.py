"""Build the service as one file: `python bin/build_pyz.py PACKAGES FILE`.

PACKAGES is a virtual environment with `requirements/runtime.txt`. The file runs where its packages
do: on the same operating system, processor and minor version of Python.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: The files that the service needs at run time, as in the Containerfile.
FILES = (
    "pyproject.toml",
    "openapi/openapi.yaml",
    "policies",
    "templates",
    "locales",
    "models",
    "accounts",
    "handlers",
    "oneself",
)
#: The modification time of everything inside (reproducible-builds.org).
_EPOCH = "1775383200"


def build(packages: Path, file: Path) -> None:
    """Build the file from the checkout and from installed packages."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        _copy(source)
        command = (
            *(sys.executable, "-m", "pex"),
            *("--venv-repository", packages),
            *("--requirement", ROOT / "requirements" / "runtime.txt"),
            *("--sources-directory", source),
            *("--entry-point", "oneself"),
            # A virtual environment starts as fast as an installed service, and forks like one.
            "--venv",
            *("--python-shebang", "/usr/bin/env python3"),
            *("--output-file", file),
            *("--pex-root", Path(folder) / "cache"),
        )
        environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
        subprocess.run([str(word) for word in command], env=environment, check=True)


def _copy(target: Path) -> None:
    for name in FILES:
        source, copy = ROOT / name, target / name
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
    sys.stdout.write(f"{Path(sys.argv[2]).stat().st_size:>10}  {Path(sys.argv[2]).name}\n")
