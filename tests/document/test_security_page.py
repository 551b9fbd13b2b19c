"""docs/security.md and what cites its rules agree."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
RULES = PAGE.partition("## Rules, and the tests that hold them\n")[2].partition("\n## ")[0]
PLACES = ("accounts", "handlers", "models", "oneself", "tests", "contracts")
RULE = re.compile(r"\b(?:PW|LG|SE|JW|TK|EM|AZ|HT|IM|UN|DB|OP|LO|SC)-[0-9]{2}\b")


def _files() -> Iterator[Path]:
    """What can cite a rule."""
    for place in PLACES:
        for path in (ROOT / place).rglob("*"):
            if path.suffix in {".py", ".yaml"}:
                yield path


def _rules() -> dict[str, tuple[str, list[str]]]:
    """The sentence and the files of each rule; a row without an id goes on with the one before."""
    found: dict[str, tuple[str, list[str]]] = {}
    rule = ""
    for line in RULES.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] != "id":
            rule = cells[0] or rule
            found.setdefault(rule, (cells[1], []))[1].extend(re.findall("`([^`]+)`", cells[2]))
    return found


def _docstrings(path: Path) -> Iterator[str]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""


CITED = {rule for path in _files() for rule in RULE.findall(path.read_text())}
LISTED = _rules()


def test_there_are_rules_to_look_at():
    """Else all that follows would be true of nothing."""
    assert len(LISTED) > 100
    assert all(RULE.fullmatch(rule) and said for rule, (said, _) in LISTED.items())


def test_every_rule_that_is_cited_stands_in_the_tables():
    """Whoever reads an id in the code finds out what it means."""
    assert CITED - set(LISTED) == set()


def test_every_rule_in_the_tables_is_cited():
    """The page claims nothing that neither the code nor a test knows of."""
    assert set(LISTED) - CITED == set()


def test_every_rule_is_said_once():
    """One id has one sentence, in one table."""
    said = re.findall(r"^\| ([A-Z]{2}-\d\d) \|", RULES, re.MULTILINE)
    assert sorted(said) == sorted(set(said))


@pytest.mark.parametrize("rule", LISTED)
def test_what_holds_a_rule_is_there_and_cites_it(rule):
    """Each path is one from `tests/`; a test says in its docstring what it is for."""
    _, held_by = LISTED[rule]
    assert held_by
    for written in held_by:
        path = (ROOT / "tests" / written).resolve()
        assert path.is_file(), written
        cites = _docstrings(path) if path.is_relative_to(ROOT / "tests") else [path.read_text()]
        assert any(rule in RULE.findall(text) for text in cites), written
