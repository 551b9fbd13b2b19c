"""The quick starts of the README, extracted and run in a project of a user."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sdk.new_user import NewUser
from tests.support.service import ROOT

README = (ROOT / "README.md").read_text()
PRINTED = "Alice Chen\n400 The current password is wrong.\n"


def code_of(heading: str, language: str, new_user: NewUser) -> str:
    section = README.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    (code,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert code.count("http://localhost:8080") == 1
    changed: str = code.replace("http://localhost:8080", new_user.url)
    return changed


def run(new_user: NewUser, folder: Path, *command: str | Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "SESSION": new_user.session},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_python_quick_start_is_typed_and_runs(new_user, tmp_path):
    (tmp_path / "start.py").write_text(code_of("From Python", "python", new_user))
    run(new_user, tmp_path, sys.executable, "-m", "mypy", "--strict", "start.py")
    assert run(new_user, tmp_path, sys.executable, "start.py") == PRINTED


def test_typescript_quick_start_is_typed_and_runs(new_user, project, work):
    (project / "start.ts").write_text(code_of("From TypeScript", "ts", new_user))
    run(new_user, project, "node", work / "typescript/node_modules/typescript/bin/tsc", "-p", ".")
    assert run(new_user, project, "node", "start.ts") == PRINTED


@pytest.mark.parametrize("heading", ["From Python", "From TypeScript"])
def test_package_readme_has_the_same_quick_start(heading, work):
    built = {
        "From Python": work / "python" / "README.md",
        "From TypeScript": work / "typescript" / "package" / "README.md",
    }
    section = README.partition(f"\n### {heading}\n")[2].partition("\n#")[0].strip()
    assert section in built[heading].read_text()
