"""Decision records are numbered consecutively and have their four parts and a status."""

import re
from pathlib import Path

import pytest

DECISIONS = sorted((Path(__file__).parents[2] / "docs" / "decisions").glob("*.md"))


def test_decisions_are_numbered_consecutively():
    """A comment that says "ADR 7" names exactly one."""
    assert [int(path.name[:4]) for path in DECISIONS] == [*range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decision_has_title_status_and_four_parts(path):
    text = path.read_text()
    title, _, status, *_ = text.splitlines()
    assert re.fullmatch(rf"# ADR {int(path.name[:4])}: [A-Z].*[^.]", title)
    assert re.fullmatch(r"Status: (accepted|superseded by ADR \d+) \(\d{4}-\d\d-\d\d\)", status)
    parts = re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequences", "Alternatives"]
