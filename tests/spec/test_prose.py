"""Docstrings, comments and pages are plain English.

Indefinite pronouns, "who" as a noun, and docstrings that open with a wh-word hide the subject of a
sentence. Well-kept libraries have 0.0 to 0.1 of them in 1,000 words.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = (
    *("accounts", "oneself", "handlers", "models", "tests", "docs", "templates"),
    "contracts/oneself_conformance",
    *("README.md", "CONTRIBUTING.md"),
)
#: Occurrences allowed in 1,000 words.
PRONOUN_BUDGET = 0.3
WHO_BUDGET = 0.2

PRONOUN = re.compile(
    r"\b(?:whoever|whomever|whatever|nobody|somebody|anybody|everybody)\b", re.IGNORECASE
)
WHO = re.compile(
    r"\b(?:for|of|to|by|from|with|beside|against|than|where|whether|and|but|as|if|before|until)"
    r" whom?\b|(?:^|[.:;] )Whom? (?!are\b|is\b[^.]*\?)",
    re.MULTILINE,
)
OPENER = re.compile(r"(?:What|Whether|How|Who|Whom|Where|Which|That|Whose)\b")
WORD = re.compile(r"[A-Za-z']+")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Passage(NamedTuple):
    """A docstring, a comment, or a line of a page."""

    path: Path
    line: int
    text: str
    is_docstring: bool

    def matches(self, pattern: re.Pattern[str]) -> Iterator[str]:
        """Yield the place and the line of each match."""
        for match in pattern.finditer(self.text):
            before = self.text[: match.start()]
            line = self.text[before.rfind("\n") + 1 :].partition("\n")[0].strip()
            yield f"{self.path}:{self.line + before.count(chr(10))}: {line}"


def files_below(target: Path) -> Iterator[Path]:
    """Yield the files with prose; generated ones and migrations are left out."""
    for path in [target] if target.is_file() else sorted(target.rglob("*")):
        parts = path.relative_to(target).parts
        generated = path.name == "wire.py" or {"node_modules", "versions"} & {*parts}
        hidden = any(part.startswith(".") for part in parts)
        if path.suffix in {".py", ".md", ".j2"} and not generated and not hidden:
            yield path


def passages_of(path: Path) -> Iterator[Passage]:
    """Yield the docstrings and comments of a module, or the lines of a page outside of code."""
    source = path.read_text()
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    if path.suffix != ".py":
        in_code = False
        for number, line in enumerate(source.splitlines(), 1):
            in_code ^= line.lstrip().startswith("```")
            if not in_code:
                yield Passage(name, number, line, is_docstring=False)
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            is_docstring = not isinstance(node, ast.Module)
            yield Passage(name, node.body[0].lineno, text, is_docstring)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Passage(name, token.start[0], token.string.lstrip("#: "), is_docstring=False)


def check(passages: list[Passage]) -> list[str]:
    """Return the violations: nothing while each count is within its budget."""
    words = sum(len(WORD.findall(passage.text)) for passage in passages)
    violations = []
    for pattern, budget, name in (
        (PRONOUN, PRONOUN_BUDGET, "indefinite pronouns"),
        (WHO, WHO_BUDGET, '"who" as a noun'),
    ):
        places = [place for passage in passages for place in passage.matches(pattern)]
        if len(places) > words * budget / 1000:
            rate = 1000 * len(places) / words
            violations += [f"{name}: {rate:.1f} in 1,000 words, allowed {budget}", *places]
    openers = [
        f"{passage.path}:{passage.line}: {passage.text.partition(chr(10))[0]}"
        for passage in passages
        if passage.is_docstring and OPENER.match(passage.text)
    ]
    return violations + (["docstrings that open with a wh-word", *openers] if openers else [])


@pytest.mark.parametrize("target", TARGETS)
def test_prose_is_plain(target):
    passages = [passage for path in files_below(ROOT / target) for passage in passages_of(path)]
    assert passages
    violations = check(passages)
    assert not violations, "\n".join(["name the subject of the sentence:", *violations])


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ('def f():\n    """Return it.\n\n    For nobody else.\n    """\n', "x.py:4"),
        ("a = 1  # what comes of whoever asks\n", "x.py:1"),
        ("# kept for who asks\n", "x.py:1"),
        ('class C:\n    """Whether it is so."""\n', "x.py:2"),
    ],
)
def test_violations_are_reported_with_their_place(source, place, tmp_path):
    path = tmp_path / "x.py"
    path.write_text(source)
    assert any(place in violation for violation in check([*passages_of(path)]))


def test_code_blocks_are_not_prose(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("A user.\n\n```sh\necho nobody\n```\n")
    assert check([*passages_of(page)]) == []
