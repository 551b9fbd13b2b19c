"""The commits that CONTRIBUTING.md shows its steps by are there, and did what it says."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
ROW = re.compile(r"^\| (\d) \| `([0-9a-f]{7,40})` (.+) \| (`.+`) \|$", re.MULTILINE)
SHOWN = ["To add an operation", "To add a dialect", "To add a kind of credential"]


def git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words],  # noqa: S607 # whichever there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def section(heading: str) -> str:
    return TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.fixture
def history() -> None:
    """An archive has no history, and a shallow clone not all of it."""
    if not (ROOT / ".git").exists() or git("rev-parse", "--is-shallow-repository") == "true":
        pytest.skip("the history is not here")


@pytest.mark.parametrize("heading", SHOWN)
def test_each_of_the_five_steps_is_shown_by_a_commit(heading):
    steps = re.findall(r"^(\d)\. \*\*", section(heading), re.MULTILINE)
    assert steps == ["1", "2", "3", "4", "5"]
    assert list(dict.fromkeys(row[0] for row in ROW.findall(section(heading)))) == steps


def test_no_commit_is_named_in_a_way_that_is_not_checked():
    assert len(re.findall(r"`[0-9a-f]{7,40}`", TEXT)) == len(ROW.findall(TEXT))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("commit", "subject", "files"),
    list(dict.fromkeys(row[1:] for row in ROW.findall(TEXT))),
)
def test_a_commit_that_is_shown_has_its_subject_and_changed_its_files(commit, subject, files):
    assert git("show", "--no-patch", "--format=%s", commit) == subject
    changed = git("show", "--name-only", "--format=", commit).splitlines()
    assert set(re.findall(r"`(.+?)`", files)) <= set(changed)
    git("merge-base", "--is-ancestor", commit, "HEAD")
