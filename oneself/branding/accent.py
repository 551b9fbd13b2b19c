"""The accent colour of pages and mail, readable in the light and the dark scheme."""

import re
from typing import NamedTuple

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE, _BLACK = "#ffffff", "#000000"

#: The backgrounds of `templates/pages/tokens.css.j2` that leave the least contrast.
LIGHT_GROUND, DARK_GROUND = "#f0f2f5", "#171b22"

#: Least contrast of text (WCAG 2.2, success criterion 1.4.3, level AA).
CONTRAST = 4.5
#: Of the shade for the dark scheme, which is made of the colour and has some to spare.
_DARK_CONTRAST = 6.0
_STEPS = 20
#: Of sRGB, below which a channel is linear (IEC 61966-2-1).
_LINEAR_PART = 0.04045


class Accent(NamedTuple):
    """The colour of links and buttons in both schemes; `…_over` is a button below the pointer."""

    light: str = "#1f5fbf"
    light_over: str = "#174a96"
    dark: str = "#7db0ff"
    dark_over: str = "#a9cbff"


def parse_accent(text: str) -> Accent:
    """Return the accent of a colour such as `#1f5fbf`, which is that of the light scheme.

    Raises:
        ValueError: It is no such colour, or too pale for text in the light scheme.
    """
    if not _COLOUR.fullmatch(text):
        raise ValueError("must be a # and six hexadecimal digits, as in #1f5fbf")
    if contrast(text, LIGHT_GROUND) < CONTRAST:
        raise ValueError(
            f"must be darker: its contrast with a light page is {contrast(text, LIGHT_GROUND):.1f},"
            f" and text needs {CONTRAST} (WCAG 2.2, level AA)"
        )
    shades = (_mix(text, _WHITE, step / _STEPS) for step in range(_STEPS + 1))
    dark = next(shade for shade in shades if contrast(shade, DARK_GROUND) >= _DARK_CONTRAST)
    return Accent(text.lower(), _mix(text, _BLACK, 0.2), dark, _mix(dark, _WHITE, 0.35))


def require_accent(text: str) -> str:
    """Return the text, after `parse_accent` has parsed it, unless it is empty."""
    if text:
        parse_accent(text)
    return text


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = map(_linear, _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: int) -> float:
    part = channel / 255
    return part / 12.92 if part <= _LINEAR_PART else ((part + 0.055) / 1.055) ** 2.4


def _mix(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)


def _channels(colour: str) -> bytes:
    return bytes.fromhex(colour[1:])
