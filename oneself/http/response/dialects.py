"""Finds the dialect of an operation or of a path."""

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

from handlers.dialect import Dialect
from handlers.problem_details import PROBLEM_DETAILS


@cache
def dialect_of(tag: str) -> Dialect:
    """Return the dialect of a tag: `DIALECT` of the module with its handlers.

    Raises:
        ImportError, AttributeError: There is none, so that the service does not start.
    """
    dialect: Dialect = import_module(f"handlers.{tag}").DIALECT
    return dialect


class Dialects:
    """The dialects by path, for refusals that precede routing."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._literal: dict[str, Dialect] = {}
        self._templates: list[tuple[re.Pattern[str], Dialect]] = []
        self._roots = {
            root: dialect_of(tag["name"])
            for tag in document["tags"]
            for root in tag.get("x-roots", ())
        }
        for path, item in document["paths"].items():
            tag = next(
                operation["tags"][0] for operation in item.values() if isinstance(operation, dict)
            )
            if "{" in path:
                self._templates.append((path_pattern(path), dialect_of(tag)))
            else:
                self._literal[path] = dialect_of(tag)

    def find(self, path: str) -> Dialect | None:
        """Return the dialect of a path of the document; None for any other path."""
        if dialect := self._literal.get(path):
            return dialect
        return next(
            (dialect for pattern, dialect in self._templates if pattern.fullmatch(path)), None
        )

    def owner(self, path: str) -> Dialect:
        """Return the dialect of a path, also if its final slash is missing or too many.

        Other unknown paths belong to the dialect of their root, or to none: problem details.
        """
        if dialect := self.find(path) or self.find(with_other_ending(path)):
            return dialect
        below = (dialect for root, dialect in self._roots.items() if path.startswith(root))
        return next(below, PROBLEM_DETAILS)


def with_other_ending(path: str) -> str:
    """Return the path without its final slash, or with one if it has none."""
    return path[:-1] if path.endswith("/") else f"{path}/"


def path_pattern(path: str) -> re.Pattern[str]:
    """Return a pattern of the paths that a template matches; a parameter is one segment."""
    parts = re.split(r"\{[^}]+\}", path)
    return re.compile("[^/]+".join(map(re.escape, parts)))
