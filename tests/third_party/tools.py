"""Commands of the validators that are written in JavaScript."""

import os
import shutil

import pytest

__all__ = ["node_command"]


def node_command(variable: str) -> list[str]:
    """Return the command of a tool that tox installs and names in an environment variable."""
    script, node = os.environ.get(variable), shutil.which("node")
    if not script or not node:
        pytest.fail(f"{variable} is not set, or node is missing; run this with tox", pytrace=False)
    return [node, script]
