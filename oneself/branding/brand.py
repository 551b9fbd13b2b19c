"""The brand of a deployment, which all templates get."""

import re
from typing import NamedTuple
from urllib.parse import quote

from accounts.errors import InvalidRequest
from accounts.values.email_address import canonical, parse_address
from accounts.values.names import normalize_name
from oneself.branding.accent import Accent
from oneself.branding.logo import Logo, draw_mark

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
