"""Commands of the validators that are written in JavaScript."""

import json
import os
import shutil
from pathlib import Path

import pytest

__all__ = ["node_command", "node_version"]


def node_command(variable: str, script: str = "") -> list[str]:
    """Return the command of a tool that tox installs and names in an environment variable.

    The variable names the script, or the folder of packages with the `script` in it.
    """
    return [_node(variable), str(_installed(variable) / script)]


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
