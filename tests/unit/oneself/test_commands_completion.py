"""`bin/oneself`: the commands by a name of their own, which bash completes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bash(tmp_path):
    """Runs a line of bash in an empty folder, with a link to the program on the PATH."""
    program = shutil.which("bash")
    if program is None:
        pytest.fail("These tests need bash, which is what they test.")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "oneself").symlink_to(ROOT / "bin" / "oneself")
    # The Python of these tests comes first, as that of an active virtual environment does.
    python = Path(sys.executable).parent
    path = os.pathsep.join(map(str, (tmp_path / "bin", python, os.environ["PATH"])))

    def bash(line):
        done = subprocess.run(
            [program, "--norc", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return bash


def complete(bash, *words):
    """What bash offers when Tab is pressed behind the last of the words."""
    return bash(
        "source <(oneself --show-completion bash); "
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; "
        '_oneself_completion oneself; printf "%s\\n" "${COMPREPLY[@]}"'
    ).split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["oneself", "ser"], {"serve"}),
        (["oneself", "user", ""], {"add", "import", "disable", "role"}),
        (["oneself", "keys", "rotate", "r"], {"root"}),
        (["oneself", "user", "import", "--skip"], {"--skip-existing"}),
        (["oneself", "user", "add", "--provider", "s"], {"saml"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_completes_commands_options_and_their_values(bash, words, offered):
    assert set(complete(bash, *words)) == offered


def test_the_program_calls_itself_by_its_name_wherever_it_is_called(bash):
    assert "Usage: oneself user import" in bash("oneself user import --help")


def test_python_m_oneself_offers_no_completion_since_it_would_be_pythons(bash):
    assert "--install-completion" in bash("oneself --help")
    assert "--install-completion" not in bash(f"cd {ROOT} && python3 -m oneself --help")
