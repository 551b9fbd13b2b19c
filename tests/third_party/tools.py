"""Where the judges are that are written in JavaScript."""

import os
import shutil

import pytest

__all__ = ["node_command"]


def node_command(variable: str) -> list[str]:
    """The command of a tool, which tox installs, telling us where by an environment variable."""
    script, node = os.environ.get(variable), shutil.which("node")
    if not script or not node:
        pytest.fail(f"{variable} is not set, or there is no node: tox sees to both", pytrace=False)
    return [node, script]
