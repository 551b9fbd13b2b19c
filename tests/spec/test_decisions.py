"""Decisions have numbers in a row, and say all that somebody needs who would decide otherwise."""

import re
from pathlib import Path

import pytest

DECISIONS = sorted((Path(__file__).parents[2] / "docs" / "decisions").glob("*.md"))


def test_they_are_numbered_in_a_row():
    """Else a comment's "ADR 7" could be two of them, or none."""
    assert [int(path.name[:4]) for path in DECISIONS] == [*range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_four_parts(path):
    text = path.read_text()
    assert re.match(rf"# (ADR )?{int(path.name[:4])}[.:] \S", text)
    parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequences", "Alternatives"]
