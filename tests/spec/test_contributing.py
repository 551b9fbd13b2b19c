"""The files, commands and environments that CONTRIBUTING.md names exist."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = {
    title: text
    for title, _, text in (
        part.partition("\n")
        for part in re.split(r"^### ", TEXT.partition("\n## Recipes\n")[2], flags=re.MULTILINE)[1:]
    )
}
#: A folder or file from the root, in backticks; `<dialect>` and the like stand for any name.
PATH = re.compile(r"`((?:\w[\w-]*/)+[\w.<>/-]*|\w+\.(?:md|toml|ini))`")

every_recipe = pytest.mark.parametrize("title", RECIPES)


def test_there_is_a_recipe_for_each_common_change():
    for subject in (
        *("field", "operation", "dialect", "credential kind", "table", "setting", "email"),
        *("background job", "command"),
    ):
        assert [title for title in RECIPES if title.startswith("Add ") and subject in title]


@every_recipe
def test_recipe_names_existing_files(title):
    for name in PATH.findall(RECIPES[title]):
        pattern = re.sub(r"<\w+>", "*", name).rstrip("/")
        assert [*ROOT.glob(pattern)], f"{title}: {name}"


@every_recipe
def test_recipe_names_existing_code(title):
    """A class or constant in backticks is defined in a file of the same recipe."""
    names = re.findall(r"`([A-Z][A-Z]+|[A-Z][a-z]+[A-Z]\w+)`", RECIPES[title])
    files = [
        file
        for name in PATH.findall(RECIPES[title])
        for file in ROOT.glob(re.sub(r"<\w+>", "*", name).rstrip("/"))
        if file.suffix == ".py"
    ]
    sources = [file.read_text() for file in files]
    for name in names:
        assert any(re.search(rf"^(class )?{name}\b", source, re.MULTILINE) for source in sources), (
            f"{title}: {name}"
        )


def test_no_commit_is_named():
    """A commit id breaks with a rebase, a squash or a fork without history."""
    assert re.findall(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}\b", TEXT) == []


def test_commands_of_the_inner_loop_name_existing_tests():
    for path in re.findall(r"^pytest .*?(tests/[\w/.]+)", TEXT, re.MULTILINE):
        assert (ROOT / path).exists(), path


def test_an_environment_runs_the_nightly_tests_of_each_folder():
    """A marked test that no environment asks for never runs."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    asked = " ".join(
        line
        for name in tox.sections()
        for line in tox[name].get("commands", "").splitlines()
        if "--nightly" in line
    )
    tests = ROOT / "tests"
    marked = {
        path.relative_to(tests).parts[0]
        for path in tests.rglob("test_*.py")
        if re.search(r"pytest\.mark\.nightly$", path.read_text(), re.MULTILINE)
    }
    assert "browser" in marked
    assert {folder for folder in marked if not re.search(rf"tests/{folder}\b", asked)} == set()
