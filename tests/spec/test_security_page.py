"""docs/security.md agrees with the code and the tests that cite its rules."""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from accounts.crypto import tokens
from accounts.services.policies.policy_set import Policies, Question, Subject
from oneself.document import load_document, operation_specs
from oneself.runtime.policy_store import schema_of
from oneself.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PLACES = ("accounts", "handlers", "models", "oneself", "tests", "contracts")
RULE = re.compile(r"\b(?:PW|LG|SE|JW|TK|EM|AZ|HT|IM|UN|DB|OP|LO|SC|AD|MF)-[0-9]{2}\b")
ADVISORY = re.compile(r"CVE-\d{4}-\d+|GHSA(?:-[0-9a-z]{4}){3}|GO-\d{4}-\d+|GitLab issue \d+")

#: Families that are complete on the page, each with its highest number.
WHOLE = {
    "PW": 20,
    "LG": 18,
    "SE": 13,
    "JW": 14,
    "TK": 21,
    "AZ": 19,
    "HT": 24,
    "LO": 8,
    "DB": 18,
    "OP": 11,
    "SC": 6,
    "AD": 5,
    "MF": 9,
}


def _section(title: str) -> str:
    """Return the text below a heading, up to the next of its rank."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _items(section: str) -> Iterator[tuple[str, str]]:
    """Yield the bold label and the text of each list item; the text is joined to one line."""
    for item in re.split(r"^- ", section, flags=re.MULTILINE)[1:]:
        text = " ".join(re.split(r"\n\s*\n|\n#", item)[0].split())
        if match := re.fullmatch(r"\*\*(.+?)\*\*[:.] (.+)", text):
            yield match[1], match[2]


def _rules_and_tests() -> dict[str, tuple[str, list[str]]]:
    """Return the sentence and the files of each rule."""
    rules = {}
    for rule, text in _items(_section("Rules and their tests")):
        sentence, _, files = text.partition(" Tests: ")
        rules[rule] = (sentence, re.findall("`([^`]+)`", files))
    return rules


def _files() -> Iterator[Path]:
    """Yield the files that can cite a rule."""
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
RULES = _rules_and_tests()
NOT_APPLICABLE: Mapping[str, str] = dict(
    _items(_section("Rules that do not apply here, or not yet"))
)
EXCEPTIONS = list(_items(_section("Where a documented API overrides best practice")))
ATTACKS = re.split(r"^### With ", _section("What an attacker gains"), flags=re.MULTILINE)[1:]
ADVISORIES = list(_items(_section("Regressions in other projects")))


def test_page_has_rules():
    assert len(RULES) > 150
    assert all(RULE.fullmatch(rule) and sentence for rule, (sentence, _) in RULES.items())
    assert all(RULE.fullmatch(rule) and reason for rule, reason in NOT_APPLICABLE.items())


def test_cited_rules_are_on_the_page():
    """A reader who finds an id in the code can look it up."""
    assert CITED - RULES.keys() - NOT_APPLICABLE.keys() == set()


def test_rules_on_the_page_are_cited():
    """The page claims nothing that neither the code nor a test mentions."""
    assert RULES.keys() - CITED == set()


def test_each_rule_appears_once():
    """One id has one sentence."""
    sections = _section("Rules and their tests")
    sections += _section("Rules that do not apply here, or not yet")
    ids = re.findall(r"^- \*\*([A-Z]{2}-\d\d)\*\*", sections, re.MULTILINE)
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize(("family", "highest"), WHOLE.items())
def test_family_is_complete(family, highest):
    """Rules that are not kept, or do not apply, are listed as such."""
    expected = {f"{family}-{number:02}" for number in range(1, highest + 1)}
    assert {r for r in [*RULES, *NOT_APPLICABLE] if r.startswith(f"{family}-")} == expected


def test_rules_without_tests_are_cited_by_no_test():
    """Once there is a test, the rule belongs among the tested ones."""
    cited = {
        rule: path
        for path in (ROOT / "tests").rglob("*.py")
        for rule in _cited_in_docstrings(path)
        if rule[:2] in WHOLE
    }
    assert {rule: path for rule, path in cited.items() if rule in NOT_APPLICABLE} == {}


@pytest.mark.parametrize("rule", RULES)
def test_listed_tests_exist_and_cite_their_rule(rule):
    """Each path begins at `tests/`; a test cites its rule in a docstring."""
    _, files = RULES[rule]
    assert files
    for written in files:
        path = (ROOT / "tests" / written).resolve()
        assert path.is_file(), written
        cites = _docstrings(path) if path.is_relative_to(ROOT / "tests") else [path.read_text()]
        assert any(rule in RULE.findall(text) for text in cites), written


def test_tests_that_cite_a_rule_are_listed_with_it():
    tests = {path: str(path.relative_to(ROOT / "tests")) for path in (ROOT / "tests").rglob("*.py")}
    missing = {
        (rule, written)
        for path, written in tests.items()
        for rule in _cited_in_docstrings(path) & RULES.keys()
        if written not in RULES[rule][1]
    }
    assert missing == set()


def test_exceptions_name_rule_practice_and_reason():
    assert EXCEPTIONS
    for ids, text in EXCEPTIONS:
        rules = RULE.findall(ids)
        practice, _, reason = text.partition(" Instead: ")
        assert rules
        assert practice
        assert reason
        assert set(rules) <= RULES.keys() | NOT_APPLICABLE.keys(), ids


def test_missing_features_are_not_in_the_document():
    """A header that is listed as not built would not be sent."""
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


def test_each_advisory_is_listed_once():
    """Also none is lost in a list item that cannot be parsed."""
    listed = ADVISORY.findall(" ".join(_section("Regressions in other projects").split()))
    assert listed
    assert sorted(listed) == sorted(set(listed))
    assert [each for names, _ in ADVISORIES for each in ADVISORY.findall(names)] == listed


@pytest.mark.parametrize("item", ADVISORIES, ids=[names for names, _ in ADVISORIES])
def test_advisories_are_covered_by_tests_or_excluded_with_a_reason(item):
    advisories, text = item
    assert ADVISORY.sub("", advisories).strip(", ") == ""
    if ". Not here: " in text:
        return
    _, found, detected_by = text.partition(". Detected by ")
    assert found
    rules = set(RULE.findall(detected_by))
    files = re.findall("`([^`]+)`", detected_by)
    assert rules
    assert rules <= RULES.keys()
    assert files
    for written in files:
        path = ROOT / "tests" / written
        assert path.is_file(), written
        assert rules & _cited_in_docstrings(path), written


def test_each_token_prefix_is_among_the_attacks():
    """A new kind of token fails here until its theft is described."""
    prefixes = {
        value
        for name, value in vars(tokens).items()
        if name.isupper() and isinstance(value, str) and value.endswith("_")
    }
    titles = [attack.partition("\n")[0] for attack in ATTACKS]
    assert {prefix for title in titles for prefix in re.findall(r"`([a-z]+_)…`", title)} == prefixes
    for attack in ATTACKS:
        assert [label for label, _ in _items(attack)] == ["Access", "Duration", "Ended by"]


def test_advised_settings_exist():
    """A misspelt variable would be set without effect."""
    named = set(re.findall(r"ONESELF_[A-Z_]+", PAGE + OPERATIONS)) - {"ONESELF_TEST_DATABASE_URL"}
    assert named - {f"ONESELF_{name.upper()}" for name in Settings.model_fields} == set()


def test_advised_policy_restricts_email_changes_to_sessions():
    """As printed on the page, beside the default set."""
    [advised] = re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL)
    texts = {path.name: path.read_text() for path in (ROOT / "policies").glob("*.cedar")}
    policies = Policies.parse(texts | {"advised.cedar": advised}, schema_of(load_document()))
    user = Subject(
        "usr_1",
        "tnt_1",
        "uuid-1",
        ("owner",),
        "local",
        is_platform_admin=False,
        email_verified=False,
    )
    scope = "me/profile:write"
    for action in ("hantera.requestEmailChange", "scaikey.requestEmailVerification"):
        by_session = Question(user, action, "session", frozenset({scope}), scope)
        assert policies.decide(by_session).allowed
        by_jwt = policies.decide(by_session._replace(credential="jwt"))
        assert (by_jwt.allowed, by_jwt.code) == (False, "session_required")
