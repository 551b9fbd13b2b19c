"""What of the pages of this repository a program can run or read: blocks and lines of code."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import ROOT

__all__ = ["PAGES", "Block", "blocks_of", "code_spans", "read_blocks"]

_BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")

#: All that people are given to read. The changelog tells of what was, and has no code.
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "*/README.md", "docs/**/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, known by its first line."""

    page: str
    language: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by."""
        return self.page, self.text.partition("\n")[0].strip()

    def __str__(self) -> str:
        return f"{self.page}: {self.key[1]}"


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Each fenced block of a page's text."""
    for found in _BLOCK.finditer(text):
        yield Block(page, found[1], found[2])


def read_blocks() -> list[Block]:
    """Each fenced block of each page."""
    return [block for page in PAGES for block in blocks_of(page, Path(ROOT / page).read_text())]


def code_spans(page: str) -> list[str]:
    """Each piece of code within a sentence or a table of a page."""
    return _SPAN.findall(_BLOCK.sub("", (ROOT / page).read_text()))
