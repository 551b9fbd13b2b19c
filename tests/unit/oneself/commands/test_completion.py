"""`bin/oneself`: the shorthand, and its completion in bash, zsh and fish."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
COMPLETED = [
    (["oneself", "ser"], {"serve"}),
    (
        ["oneself", "user", ""],
        {
            "add",
            "import",
            "export",
            "list",
            "show",
            "disable",
            "enable",
            "role",
            "logout",
            "reset",
            "delete",
            "digest",
            "reset-factors",
            "restore",
        },
    ),
    (["oneself", "keys", "rotate", "r"], {"root"}),
    (["oneself", "user", "import", "--skip"], {"--skip-existing", "--skip-invalid"}),
    (["oneself", "user", "add", "--provider", "s"], {"saml"}),
]

each_completion = pytest.mark.parametrize(
    ("words", "offered"),
    COMPLETED,
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)


@pytest.fixture
def home(tmp_path):
    """Returns the environment of a home directory with a link to the program in its PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "oneself").symlink_to(ROOT / "bin" / "oneself")
    # The Python of these tests comes first, like that of an active virtual environment.
    python = Path(sys.executable).parent
    path = os.pathsep.join(map(str, (tmp_path / "bin", python, os.environ["PATH"])))
    environment = {
        name: value
        for name, value in os.environ.items()
        # Other places with the shell settings of the developer.
        if name not in {"ZDOTDIR", "FPATH"} and not name.startswith("XDG_")
    }
    return {**environment, "HOME": str(tmp_path), "PATH": path, "TERM": "dumb"}


def skip_unless_installed(shell):
    """Skip the test if a shell is not installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} on this machine (Debian: apt-get install {shell})")


@pytest.fixture
def run(home):
    """Runs a line of a shell in that home.

    A shell becomes the last command of its line, and what asks for its shell would find another.
    """

    def run(line, *shell):
        completed = subprocess.run(
            [*shell, "-c", f"{line}\ntrue"],
            cwd=home["HOME"],
            env=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (completed.returncode, completed.stderr) == (0, "")
        return completed.stdout

    return run


@pytest.fixture
def bash(run):
    """Runs a line of bash, without startup files."""
    if shutil.which("bash") is None:
        pytest.fail("These tests need bash, which is what they test.")
    return lambda line: run(line, "bash", "--norc")


def complete_in_bash(bash, *words):
    """Return the completions that bash offers when Tab is pressed after the last word."""
    return bash(
        "source <(oneself --show-completion); "
        f"COMP_WORDS=({' '.join(map(repr, words))}); COMP_CWORD={len(words) - 1}; "
        '_oneself_completion oneself; printf "%s\\n" "${COMPREPLY[@]}"'
    ).split()


@each_completion
def test_bash_completes_commands_options_and_values(bash, words, offered):
    assert set(complete_in_bash(bash, *words)) == offered


def test_usage_shows_the_shorthand_name(bash):
    assert "Usage: oneself user import" in bash("oneself user import --help")


def test_python_m_oneself_offers_no_completion(bash):
    """The completion would be Python's."""
    assert "--install-completion" in bash("oneself --help")
    assert "--install-completion" not in bash(f"cd {ROOT} && python3 -m oneself --help")


def test_bash_script_is_valid_and_read_by_the_next_shell(bash, home):
    bash("oneself --install-completion; oneself --show-completion > printed; bash -n printed")
    assert bash("source ~/.bashrc; complete -p oneself").split()[-3:] == [
        "-F",
        "_oneself_completion",
        "oneself",
    ]
    printed = (Path(home["HOME"]) / "printed").read_text()
    assert printed.strip() == bash("cat ~/.bash_completions/oneself.sh").strip()


@each_completion
def test_fish_completes_after_the_installation(run, words, offered):
    skip_unless_installed("fish")
    run("oneself --install-completion", "fish")
    lines = run(f'complete -C "{" ".join(words)}"', "fish").splitlines()
    assert {line.partition("\t")[0] for line in lines} == offered


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("oneself ser", "oneself serve "),
        ("oneself keys rotate r", "oneself keys rotate root "),
        ("oneself user import --skip-e", "oneself user import --skip-existing "),
        ("oneself user add --provider s", "oneself user add --provider saml "),
    ],
)
def test_zsh_completes_after_the_installation(run, home, typed, completed):
    """In a terminal, since only zsh's line editor completes; the first Tab only loads it."""
    skip_unless_installed("zsh")
    run("oneself --install-completion", "zsh", "-f")
    with (Path(home["HOME"]) / ".zshrc").open("a") as settings:
        # Ctrl-B prints the command line.
        settings.write(
            "PS1='ready'\nshow() print -r \"<$BUFFER>\"\nzle -N show\nbindkey '^B' show\n"
        )
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-d", "-i"],  # noqa: S607 # any zsh; without the machine's settings
        cwd=home["HOME"],
        env=home,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as zsh:
        os.close(inside)
        try:
            _read_until(terminal, r"ready")
            os.write(terminal, f"{typed}\t\t\x02".encode())
            assert _read_until(terminal, r"<(.*)>") == completed
        finally:
            zsh.kill()
            os.close(terminal)


def _read_until(terminal, pattern):
    """Read the output of a terminal up to a pattern, and return its group, or all of the match."""
    shown = ""
    while (match := re.search(pattern, shown)) is None:
        readable, _, _ = select.select([terminal], [], [], 60)
        assert readable, f"zsh hangs after: {shown}"
        shown += os.read(terminal, 65_536).decode()
    return match[match.re.groups]
