"""The look of pages and mail by settings."""

import re
from itertools import product

import pytest
from pydantic import ValidationError

from oneself.branding.accent import (
    CONTRAST,
    DARK_GROUND,
    LIGHT_GROUND,
    Accent,
    contrast,
    parse_accent,
)
from oneself.branding.brand import Brand, Contact, parse_support
from oneself.branding.logo import draw_mark, read_logo
from oneself.settings import Settings
from oneself.templating import Templates

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"><path d="M0 0h2v1z"/></svg>'


def _svg(content, attributes=""):
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{content}</svg>'


# The colour


def _tokens(accent):
    """Return the colours of the light and the dark scheme, by their names."""
    style = Templates(brand=Brand(accent=accent)).render("pages/tokens.css.j2", "en")
    light, dark = (
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in style.split("@media")
    )
    return {"light": light, "dark": light | dark}


COLOURS = ["#000000", "#1f5fbf", "#b00020", "#0000ff", "#4b0082", "#00695c", "#767000"]


@pytest.mark.parametrize("colour", [None, *COLOURS])
def test_every_text_is_readable_in_both_schemes(colour):
    """WCAG 2.2, success criteria 1.4.3 and 1.4.11, level AA."""
    for scheme, token in _tokens(parse_accent(colour) if colour else Accent()).items():
        grounds = ("bg", "surface", "code")
        pairs = [
            *product(("text", "soft", "accent", "bad"), grounds),
            *((name, f"{name}-bg") for name in ("good", "warn", "bad")),
            *(("accent-text", name) for name in ("accent", "accent-over")),
            ("good", "surface"),
        ]
        for text, ground in pairs:
            assert contrast(token[text], token[ground]) >= CONTRAST, (scheme, text, ground)
        for line, ground in product(("edge", "ring"), ("bg", "surface")):
            assert contrast(token[line], token[ground]) >= 3, (scheme, line, ground)


def test_colour_is_checked_against_the_grounds_of_the_pages():
    """One source: the grounds with the least contrast are those of the style."""
    tokens = _tokens(Accent())
    names = ("bg", "surface", "code")
    light, dark = ([tokens[scheme][name] for name in names] for scheme in ("light", "dark"))
    assert min(light, key=lambda colour: contrast(colour, "#000000")) == LIGHT_GROUND
    assert max(dark, key=lambda colour: contrast(colour, "#000000")) == DARK_GROUND


def test_contrast_is_that_of_wcag():
    assert contrast("#ffffff", "#000000") == 21
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
    assert contrast("#0a0a0a", "#0a0a0a") == 1


@pytest.mark.parametrize(
    ("colour", "rule"),
    [
        ("#ffcc00", "must be darker: its contrast with a light page is 1.3, and text needs 4.5"),
        ("#ffffff", "must be darker"),
        ("#777777", "must be darker"),
        ("blue", "must be a # and six hexadecimal digits"),
        ("#1f5", "must be a #"),
        ("#1f5fbf;}", "must be a #"),
    ],
)
def test_unreadable_colour_stops_the_start(colour, rule):
    """Newcomer F21."""
    with pytest.raises(ValidationError, match=re.escape(rule)):
        Settings(colour=colour)


# The logo


@pytest.mark.parametrize(
    ("content", "path", "content_type"),
    [
        (PNG, "/favicon.png", "image/png"),
        (SVG.encode(), "/favicon.svg", "image/svg+xml"),
        (b'<?xml version="1.0"?>\n' + SVG.encode(), "/favicon.svg", "image/svg+xml"),
        (_svg('<use href="#a"/><style>a{}</style>').encode(), "/favicon.svg", "image/svg+xml"),
    ],
)
def test_logo_is_a_png_or_an_svg(tmp_path, content, path, content_type):
    file = tmp_path / "logo"
    file.write_bytes(content)
    assert Settings(logo=file).brand.logo == (path, content_type, content)


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "must be a file that can be read"),
        (b"GIF89a", "must be a PNG file, or a well-formed SVG file"),
        (b"", "must be a PNG file"),
        (PNG + b"\0" * 131_072, "must have at most 131,072 bytes"),
        (b"<svg/>", "must be a PNG or SVG file"),
        (b"<html xmlns='http://www.w3.org/1999/xhtml'/>", "must be a PNG or SVG file"),
        (_svg("<script>alert(1)</script>").encode(), "without scripts"),
        (_svg("<g><foreignObject/></g>").encode(), "without scripts"),
        (_svg("", 'onload="alert(1)"').encode(), "without scripts"),
        (_svg('<image href="https://evil.example/x.png"/>').encode(), "without scripts"),
        (
            _svg('<use x:href="data:x"/>', 'xmlns:x="http://www.w3.org/1999/xlink"').encode(),
            "without scripts",
        ),
        (b"<!DOCTYPE svg [<!ENTITY a 'b'>]>" + SVG.encode(), "without scripts"),
    ],
    ids=range(12),
)
def test_other_logo_stops_the_start(tmp_path, content, rule):
    """EM-20: nothing in a logo runs or loads something."""
    file = tmp_path / "logo"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValidationError, match=rule):
        Settings(logo=file)
    with pytest.raises(ValueError, match=rule):
        read_logo(file)


# The brand


def test_brand_without_settings_is_that_of_the_host():
    brand = Settings(public_url="https://accounts.example.com").brand
    assert brand == Brand("accounts.example.com")
    assert brand.logo == draw_mark("#1f5fbf")


def test_brand_has_the_settings():
    """Newcomer F21, F22."""
    brand = Settings(
        product_name="Acme & Söhne",
        colour="#7A1F5C",
        support="help+me@example.com",
        app_url="https://app.example.com/start?x=1",
    ).brand
    assert brand.name == "Acme & Söhne"
    assert brand.accent.light == "#7a1f5c"
    assert brand.logo.content.count(b"#7a1f5c") == 1
    assert brand.support == Contact("mailto:help%2Bme@example.com", "help+me@example.com")
    assert brand.app_url == "https://app.example.com/start?x=1"


def test_support_can_be_a_page():
    contact = parse_support("https://help.example.com/")
    assert contact == Contact("https://help.example.com/", "help.example.com")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("product_name", "A\nB"),
        ("product_name", " A"),
        ("product_name", "x" * 41),
        ("product_name", "\u200b"),
        ("support", "javascript:alert(1)"),
        ("support", "help"),
        ("support", 'https://x.example/"onclick="'),
        ("app_url", "javascript:alert(1)"),
        ("app_url", "//app.example.com"),
        ("app_url", "https://app.example.com/ x"),
        ("app_url", "https://"),
    ],
)
def test_unsafe_text_of_a_brand_stops_the_start(name, value):
    """EM-15, EM-16."""
    with pytest.raises(ValidationError, match=f"{name}\n.*must"):
        Settings(**{name: value})
