"""docs/security.md and what cites its rules agree."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from accounts.crypto import tokens
from accounts.services.policies import Policies, Question, Subject
from oneself.document import load_document, operation_specs
from oneself.runtime.policy_store import schema_of
from oneself.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PLACES = ("accounts", "handlers", "models", "oneself", "tests", "contracts")
RULE = re.compile(r"\b(?:PW|LG|SE|JW|TK|EM|AZ|HT|IM|UN|DB|OP|LO|SC)-[0-9]{2}\b")
ADVISORY = re.compile(r"CVE-\d{4}-\d+|GHSA(?:-[0-9a-z]{4}){3}|GO-\d{4}-\d+|GitLab issue \d+")

#: The families that the page has whole, each with its highest number.
WHOLE = {
    "PW": 20,
    "LG": 17,
    "SE": 13,
    "JW": 14,
    "TK": 21,
    "AZ": 19,
    "HT": 24,
    "LO": 8,
    "DB": 18,
    "OP": 11,
    "SC": 6,
}
#: How many lines of advisories there are, and how many advisories in them.
REGRESSIONS, ADVISORIES = 38, 73


def _section(title: str) -> str:
    """What stands below a heading, up to the next of its rank."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _rows(section: str) -> Iterator[list[str]]:
    """The cells of each row of each table, without the heads."""
    lines = section.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("| ") and not following.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def _held() -> dict[str, tuple[str, list[str]]]:
    """The sentence and the files of each rule; a row without an id goes on with the one before."""
    found: dict[str, tuple[str, list[str]]] = {}
    rule = ""
    for name, said, held_by in _rows(_section("Rules, and the tests that hold them")):
        rule = name or rule
        found.setdefault(rule, (said, []))[1].extend(re.findall("`([^`]+)`", held_by))
    return found


def _files() -> Iterator[Path]:
    """What can cite a rule."""
    for place in PLACES:
        for path in (ROOT / place).rglob("*"):
            if path.suffix in {".py", ".yaml"}:
                yield path


@cache
def _docstrings(path: Path) -> tuple[str, ...]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
    return tuple(ast.get_docstring(node) or "" for node in nodes)


def _cited_in_docstrings(path: Path) -> set[str]:
    return {rule for text in _docstrings(path) for rule in RULE.findall(text)}


CITED = {rule for path in _files() for rule in RULE.findall(path.read_text())}
HELD = _held()
NOT_HELD: Mapping[str, str] = dict(_rows(_section("Rules that do not apply here, or not yet")))
EXCEPTIONS = list(_rows(_section("Where a reference gives way to nothing")))
THEFTS = list(_rows(_section("What a thief gains")))
OF_OTHERS = list(_rows(_section("Regressions of others")))


def test_there_are_rules_to_look_at():
    """Else all that follows would be true of nothing."""
    assert len(HELD) > 150
    assert all(RULE.fullmatch(rule) and said for rule, (said, _) in HELD.items())
    assert all(RULE.fullmatch(rule) and said for rule, said in NOT_HELD.items())


def test_every_rule_that_is_cited_stands_in_the_tables():
    """Whoever reads an id in the code finds out what it means."""
    assert CITED - HELD.keys() - NOT_HELD.keys() == set()


def test_every_rule_in_the_tables_is_cited():
    """The page claims nothing that neither the code nor a test knows of."""
    assert HELD.keys() - CITED == set()


def test_every_rule_is_said_once():
    """One id has one sentence, in one table."""
    tables = _section("Rules, and the tests that hold them")
    tables += _section("Rules that do not apply here, or not yet")
    said = re.findall(r"^\| ([A-Z]{2}-\d\d) \|", tables, re.MULTILINE)
    assert sorted(said) == sorted(set(said))


@pytest.mark.parametrize(("family", "highest"), WHOLE.items())
def test_a_family_is_there_whole(family, highest):
    """What is not held, or does not apply, says so rather than being left out."""
    wanted = {f"{family}-{number:02}" for number in range(1, highest + 1)}
    assert {rule for rule in [*HELD, *NOT_HELD] if rule.startswith(f"{family}-")} == wanted


def test_no_test_holds_what_is_said_not_to_be_held():
    """Once there is a test, the rule belongs among those that are held, at least so far."""
    cited = {rule: path for path in (ROOT / "tests").rglob("*.py") for rule in _cited_in(path)}
    assert {rule: path for rule, path in cited.items() if rule in NOT_HELD} == {}


def _cited_in(path: Path) -> set[str]:
    return {rule for rule in _cited_in_docstrings(path) if rule[:2] in WHOLE}


@pytest.mark.parametrize("rule", HELD)
def test_what_holds_a_rule_is_there_and_cites_it(rule):
    """Each path is one from `tests/`; a test says in its docstring what it is for."""
    _, held_by = HELD[rule]
    assert held_by
    for written in held_by:
        path = (ROOT / "tests" / written).resolve()
        assert path.is_file(), written
        cites = _docstrings(path) if path.is_relative_to(ROOT / "tests") else [path.read_text()]
        assert any(rule in RULE.findall(text) for text in cites), written


def test_every_test_that_cites_a_rule_stands_in_its_row():
    """Else the page would know less of what holds it than there is."""
    tests = {path: str(path.relative_to(ROOT / "tests")) for path in (ROOT / "tests").rglob("*.py")}
    missing = {
        (rule, written)
        for path, written in tests.items()
        for rule in _cited_in_docstrings(path) & HELD.keys()
        if written not in HELD[rule][1]
    }
    assert missing == set()


def test_an_exception_is_a_rule_with_a_good_practice_and_a_reason():
    """And the rule stands in the tables too, with what is kept of it."""
    assert EXCEPTIONS
    for limits, practice, reason in EXCEPTIONS:
        named = RULE.findall(limits)
        assert named
        assert practice
        assert reason
        assert set(named) <= HELD.keys() | NOT_HELD.keys(), limits


def test_what_is_said_not_to_be_built_is_not_in_the_document():
    """Whoever reads that a header is unknown here would not send it."""
    said = _section("Not built yet").lower().replace("-", " ")
    known = {
        each["name"]
        for described in operation_specs(load_document())
        for each in described.parameters
        if each["in"] == "header"
    }
    assert "Idempotency-Key" in known
    assert said.strip()
    assert [name for name in known if name.lower().replace("-", " ") in said] == []


def test_no_advisory_is_lost():
    """Each of those that the list was made of, once."""
    assert len(OF_OTHERS) == REGRESSIONS
    named = [advisory for row in OF_OTHERS for advisory in ADVISORY.findall(row[0])]
    assert len(named) == len(set(named)) == ADVISORIES


@pytest.mark.parametrize("row", OF_OTHERS, ids=[row[0] for row in OF_OTHERS])
def test_what_went_wrong_elsewhere_would_be_noticed_here(row):
    """By rules that are held, and tests that cite one of them; or it says why it cannot happen."""
    advisories, said, noticed_by = row
    assert ADVISORY.sub("", advisories).strip(", ") == ""
    assert said.endswith(".")
    if noticed_by.startswith("Not here: "):
        return
    limits = set(RULE.findall(noticed_by))
    files = re.findall("`([^`]+)`", noticed_by)
    assert limits
    assert limits <= HELD.keys()
    assert files
    for written in files:
        path = ROOT / "tests" / written
        assert path.is_file(), written
        assert limits & _cited_in_docstrings(path), written


def test_every_kind_of_token_can_be_stolen():
    """A new one fails here until somebody has thought about who finds it."""
    prefixes = {
        value
        for name, value in vars(tokens).items()
        if name.isupper() and isinstance(value, str) and value.endswith("_")
    }
    named = {prefix for row in THEFTS for prefix in re.findall(r"`([a-z]+_)…`", row[0])}
    assert named == prefixes
    assert all(len(row) == 4 and all(row) for row in THEFTS)


def test_every_setting_that_is_advised_is_one():
    """A misspelt variable would be set, and do nothing."""
    named = set(re.findall(r"ONESELF_[A-Z_]+", PAGE + OPERATIONS)) - {"ONESELF_TEST_DATABASE_URL"}
    assert named - {f"ONESELF_{name.upper()}" for name in Settings.model_fields} == set()


def test_the_policy_that_is_advised_does_what_it_is_advised_for():
    """As it stands on the page, beside the default set: no JWT and only a session."""
    [advised] = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)
    texts = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.cedar")}
    policies = Policies.parse(texts | {"advised.cedar": advised}, schema_of(load_document()))
    somebody = Subject("usr_1", "tnt_1", ("owner",), "local", is_platform_admin=False)
    scope = "me/profile:write"
    for action in ("hantera.requestEmailChange", "scaikey.requestEmailVerification"):
        by_session = Question(somebody, action, "session", frozenset({scope}), scope)
        assert policies.decide(by_session).allowed
        by_jwt = policies.decide(by_session._replace(credential="jwt"))
        assert (by_jwt.allowed, by_jwt.code) == (False, "session_required")
