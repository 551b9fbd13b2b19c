"""Code blocks and code spans of the pages of this repository."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import ROOT

__all__ = ["PAGES", "Block", "blocks_of", "code_spans", "read_blocks"]

_BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")

#: All pages for people, except the changelog, which has no code.
PAGES = sorted(
    str(page.relative_to(ROOT))
    for pattern in ("*.md", "*/README.md", "docs/**/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, identified by its first line."""

    page: str
    language: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """The page and the first line, which identify the block."""
        return self.page, self.text.partition("\n")[0].strip()

    def __str__(self) -> str:
        return f"{self.page}: {self.key[1]}"


def blocks_of(page: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page's text."""
    for found in _BLOCK.finditer(text):
        yield Block(page, found[1], found[2])


def read_blocks() -> list[Block]:
    """Return the fenced blocks of all pages."""
    return [block for page in PAGES for block in blocks_of(page, Path(ROOT / page).read_text())]


def code_spans(page: str) -> list[str]:
    """Return the code spans in the text and tables of a page."""
    return _SPAN.findall(_BLOCK.sub("", (ROOT / page).read_text()))
