"""Tags of what is answered, by which a client knows what it has (RFC 9110, section 8.8.3)."""

import re

__all__ = ["is_held", "strong_tag"]

_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')


def strong_tag(digest: str) -> str:
    """Give the strong tag of a representation, from a digest that changes with every byte of it."""
    return f'"{digest}"'


def is_held(if_none_match: str | None, tag: str) -> bool:
    """Tell whether an `If-None-Match` names the tag, or anything at all (section 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)
