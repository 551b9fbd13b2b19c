"""Levels of assertions: what demands each, from a published page down to a rule of this project."""

import re
from enum import IntEnum
from typing import Self

__all__ = ["HOUSE_RULE", "PAGES", "Level", "Violation", "level_of"]

#: Cited by assertions that no source outside of this project demands.
HOUSE_RULE = "house rule"
_STANDARD = re.compile(r"RFC \d+|OpenID Connect|ITU-T")
#: The five pages, as rows begin their source.
PAGES = {
    "ipto": "ipto, Users",
    "hyperclast": "Hyperclast, Users",
    "scaikey": "ScaiKey, Profile API",
    "hantera": "Hantera, Me",
    "jitsudo": "jitsudo, Change the current user's password",
}
#: Of ipto and Hyperclast.
_SHORT_PAGE = "Users — "


class Level(IntEnum):
    """The force of an assertion for other services, the most binding first."""

    PUBLISHED = 1
    STANDARD = 2
    HOUSE = 3

    @property
    def title(self) -> str:
        """The name, as in options and reports."""
        return self.name.lower()


class Violation(str):
    """A broken assertion: a sentence, with its level and its source."""

    __slots__ = ("level", "source")

    level: Level
    source: str

    def __new__(cls, text: str, level: Level = Level.HOUSE, source: str = HOUSE_RULE) -> Self:
        """Create the sentence."""
        violation = super().__new__(cls, text)
        violation.level, violation.source = level, source
        return violation

    @property
    def cited(self) -> str:
        """The sentence with its level and source."""
        return f"{self} [{self.level.title}: {self.source}]"


def level_of(source: str, dialect: str) -> Level:
    """Return the level of a row's own assertions; the first part of its source decides."""
    page = PAGES.get(dialect)
    is_short = dialect in {"ipto", "hyperclast"} and source.startswith(_SHORT_PAGE)
    if page and (source.startswith(page) or is_short):
        return Level.PUBLISHED
    return Level.STANDARD if _STANDARD.match(source) else Level.HOUSE
