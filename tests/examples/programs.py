"""The examples of the reference pages: programs in several languages."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from tests.support.deadlines import patient

__all__ = ["each_example", "run_example"]

EXAMPLES = Path(__file__).parent

#: The command for each file type, and the name of its runtime.
RUNTIMES = {
    ".sh": (["sh"], "curl"),
    ".py": ([sys.executable], "python"),
    ".mjs": (["node"], "node"),
    ".rb": (["ruby"], "ruby"),
    ".php": (["php"], "php"),
    ".go": (["go", "run"], "go"),
}


def each_example(
    page: str, operation: str, *, nightly: Collection[str] = ()
) -> pytest.MarkDecorator:
    """Parametrize a test by the examples of an operation, some of which run with `--nightly`."""
    found = sorted((EXAMPLES / page).glob(f"{operation}.*"))
    examples = [
        pytest.param(path, marks=pytest.mark.nightly if path.suffix in nightly else ())
        for path in found
    ]
    return pytest.mark.parametrize("example", examples, ids=lambda path: path.name)


def run_example(
    example: Path, folder: Path, replacements: Mapping[str, str], *, print_data: str = ""
) -> str:
    """Run an example with the host and token of its page replaced, and return its output."""
    command, runtime = RUNTIMES[example.suffix]
    if shutil.which(runtime if runtime != "python" else sys.executable) is None:
        pytest.skip(f"{runtime} is not on this machine")
    text = example.read_text()
    for placeholder, value in replacements.items():
        assert placeholder in text
        text = text.replace(placeholder, value)
    program = folder / example.name
    program.write_text(text + print_data)
    ran = subprocess.run(
        [*command, str(program)],
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        check=True,
        text=True,
        timeout=patient(60),
    )
    return ran.stdout
