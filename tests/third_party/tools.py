"""Commands of the tools that tox installs: packages of npm, and Python's in another environment."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["PACKAGES", "module_command", "node_command", "node_version", "outsider", "versions"]

#: Names the folder of the packages of contracts/package.json.
PACKAGES = "ONESELF_NODE_TOOLS"
#: Names the Python that has the packages of requirements/outsiders.txt.
_OUTSIDERS = "ONESELF_OUTSIDERS"


def node_command(variable: str, script: str = "") -> list[str]:
    """Return the command of a tool that tox installs and names in an environment variable.

    The variable names the script, or the folder of packages with the `script` in it.
    """
    return [_node(variable), str(_installed(variable) / script)]


def module_command(script: Path, folder: Path) -> list[str]:
    """Return the command of a script that imports the packages; it is copied into `folder`."""
    (folder / "node_modules").symlink_to(_installed(PACKAGES))
    return [_node(PACKAGES), str(shutil.copy(script, folder))]


def outsider() -> str:
    """Return the Python of the outsiders' environment."""
    return str(_installed(_OUTSIDERS))


def versions(*distributions: str) -> str:
    """Return the names of the outsiders' distributions, each with its version."""
    program = (
        "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    )
    process = subprocess.run(
        [outsider(), "-c", program, *distributions], capture_output=True, text=True, check=True
    )
    found = zip(distributions, process.stdout.split(), strict=True)
    return ", ".join(f"{name} {version}" for name, version in found)


def node_version(variable: str, package: str) -> str:
    """Return the version of a package in the folder that the variable names."""
    content = json.loads((_installed(variable) / package / "package.json").read_text())
    return str(content["version"])


def _node(variable: str) -> str:
    node = shutil.which("node")
    if not node:
        pytest.fail(f"node is missing for {variable}; run this with tox", pytrace=False)
    return node


def _installed(variable: str) -> Path:
    path = os.environ.get(variable)
    if not path:
        pytest.fail(f"{variable} is not set; run this with tox", pytrace=False)
    return Path(path)
