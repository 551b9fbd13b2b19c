"""The brand of a deployment, which all templates get."""

import re
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import quote

from pydantic import AfterValidator

from accounts.errors import InvalidRequest
from accounts.values.email_address import canonical, parse_address
from accounts.values.names import normalize_name
from oneself.branding.accent import Accent, parse_accent, require_accent
from oneself.branding.logo import Logo, draw_mark, read_logo, require_logo

_MOST_CHARACTERS = 40
_URL = re.compile(r"https?://[A-Za-z0-9\[][^\s\"'<>\\]{0,500}")


class Contact(NamedTuple):
    """A link to help for users, and its text."""

    link: str
    text: str


class Brand(NamedTuple):
    """The name, colour and logo of the product, and where its users find help and the app."""

    name: str = "oneself"
    accent: Accent = Accent()
    logo: Logo = draw_mark(Accent().light)
    support: Contact | None = None
    app_url: str = ""


def require_product_name(text: str) -> str:
    """Return a product name, which is part of header fields of mail.

    Raises:
        ValueError: It is too long, or has characters that are not visible.
    """
    try:
        return normalize_name(text, "name", _MOST_CHARACTERS) if text else text
    except InvalidRequest as refusal:
        raise ValueError(refusal.violations[0].rule) from None


def parse_support(text: str) -> Contact:
    """Parse an email address, or a URL.

    Raises:
        ValueError: It is neither.
    """
    if _URL.fullmatch(text):
        return Contact(text, text.partition("://")[2].removesuffix("/"))
    if canonical(text) is None:
        raise ValueError("must be an email address, or a URL that begins with https://")
    address = parse_address(text).mailbox
    return Contact(f"mailto:{quote(address, safe='@')}", address)


def require_support(text: str) -> str:
    """Return the text, after `parse_support` has parsed it, unless it is empty."""
    if text:
        parse_support(text)
    return text


def require_app_url(text: str) -> str:
    """Return the text, if it is the URL of a page.

    Raises:
        ValueError: It is not.
    """
    if text and not _URL.fullmatch(text):
        raise ValueError("must be a URL that begins with https://")
    return text


#: The types of the settings.
ProductName = Annotated[str, AfterValidator(require_product_name)]
LogoFile = Annotated[Path | None, AfterValidator(require_logo)]
Colour = Annotated[str, AfterValidator(require_accent)]
Support = Annotated[str, AfterValidator(require_support)]
AppUrl = Annotated[str, AfterValidator(require_app_url)]


def make_brand(name: str, logo: Path | None, colour: str, support: str, app_url: str) -> Brand:
    """Return the brand of a name and of settings, which are empty where they are unset."""
    accent = parse_accent(colour) if colour else Accent()
    return Brand(
        name=name,
        accent=accent,
        logo=read_logo(logo) if logo else draw_mark(accent.light),
        support=parse_support(support) if support else None,
        app_url=app_url,
    )
