"""Placeholders in rows and recipes: `${name}`."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

__all__ = ["Fillable", "fill", "resolve_pointer"]

_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")


@runtime_checkable
class Fillable(Protocol):
    """A value that has placeholders inside."""

    def filled(self, look_up: Callable[[str], Any]) -> Any:
        """Return the value with its placeholders replaced."""


def fill(value: Any, look_up: Callable[[str], Any]) -> Any:
    """Replace the placeholders in a value; a placeholder on its own keeps its value's type."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole:
            return look_up(whole[1])
        return _PLACEHOLDER.sub(lambda found: str(look_up(found[1])), value)
    if isinstance(value, Mapping):
        return {fill(name, look_up): fill(below, look_up) for name, below in value.items()}
    if isinstance(value, list):
        return [fill(below, look_up) for below in value]
    return value.filled(look_up) if isinstance(value, Fillable) else value


def resolve_pointer(content: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (RFC 6901)."""
    for step in pointer.split("/")[1:]:
        content = content[int(step) if isinstance(content, list) else step]
    return content
