"""The code samples of `/docs`, type-checked with the built SDKs."""

import subprocess
import sys

from oneself.document import load_document
from oneself.web.reference import read_reference

REFERENCE = read_reference(load_document(), "https://accounts.example.com")
OPERATIONS = [operation for dialect in REFERENCE.dialects for operation in dialect.operations]


def samples(language):
    for operation in OPERATIONS:
        [code] = [each.code for each in operation.samples if each.language == language]
        yield operation.id.replace(".", "_"), code


def test_python_samples_have_the_types_of_the_sdk(tmp_path):
    """Newcomer, section on /docs."""
    for name, code in samples("python"):
        (tmp_path / f"{name}.py").write_text(f"{code}\n")
    command = [sys.executable, "-m", "mypy", "--strict", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_typescript_samples_have_the_types_of_the_sdk(project, work):
    """Newcomer, section on /docs."""
    folder = project / "samples"
    folder.mkdir()
    for name, code in samples("typescript"):
        (folder / f"{name}.ts").write_text(f"{code}\n")
    compiler = work / "typescript/node_modules/typescript/bin/tsc"
    command = ["node", compiler, "-p", "."]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_curl_samples_are_valid_shell():
    """Newcomer, section on /docs."""
    for name, code in samples("curl"):
        done = subprocess.run(
            ["/bin/sh", "-n"], input=code, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (name, done.stderr)
