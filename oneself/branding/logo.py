"""The logo: an SVG or PNG file of the operator, or a mark in the accent colour."""

from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

_MOST_BYTES = 131_072
_PNG = b"\x89PNG\r\n\x1a\n"
_SVG = "http://www.w3.org/2000/svg"
_MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="9" fill="{accent}"/>'
    '<circle cx="16" cy="16" r="7.5" fill="none" stroke="#fff" stroke-width="3.2"/>'
    '<circle cx="16" cy="16" r="2.2" fill="#fff"/></svg>'
)


class Logo(NamedTuple):
    """An image with the path that serves it; pages show it, and browsers as their icon."""

    path: str
    content_type: str
    content: bytes


def draw_mark(accent: str) -> Logo:
    """Return the logo of deployments that have none."""
    return _svg(_MARK.format(accent=accent).encode())


@cache
def read_logo(path: Path) -> Logo:
    """Read a logo.

    Raises:
        ValueError: The file cannot be read, is too large, or is not a PNG or harmless SVG.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError("must be a file that can be read") from error
    if len(content) > _MOST_BYTES:
        raise ValueError(f"must have at most {_MOST_BYTES:,} bytes")
    if content.startswith(_PNG):
        return Logo("/favicon.png", "image/png", content)
    _require_harmless_svg(content)
    return _svg(content)


def require_logo(path: Path | None) -> Path | None:
    """Return the path, after `read_logo` has read it."""
    if path is not None:
        read_logo(path)
    return path


def _svg(content: bytes) -> Logo:
    return Logo("/favicon.svg", "image/svg+xml", content)


def _require_harmless_svg(content: bytes) -> None:
    """Reject markup that could run or load something.

    In an `<img>`, and with the Content-Security-Policy of its response, nothing in it does either.

    Raises:
        ValueError: It is not well-formed, not SVG, or has an entity, script, handler or link.
    """
    elements: list[str] = []
    problems: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        elements.append(name)
        problems.extend(
            attribute
            for attribute, value in attributes.items()
            if attribute.lower().startswith("on")
            or (attribute.rpartition(" ")[2] == "href" and not value.startswith("#"))
        )

    def declare_entity(*_: object) -> None:
        problems.append("entity")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = start
    parser.EntityDeclHandler = declare_entity
    try:
        parser.Parse(content, True)  # noqa: FBT003 # takes no keywords
    except expat.ExpatError as error:
        raise ValueError("must be a PNG file, or a well-formed SVG file") from error
    if elements[0] != f"{_SVG} svg":
        raise ValueError("must be a PNG or SVG file")
    if problems or not {f"{_SVG} script", f"{_SVG} foreignObject"}.isdisjoint(elements):
        raise ValueError("must be an SVG file without scripts, handlers, entities and links")
