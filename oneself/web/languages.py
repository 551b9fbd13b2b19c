"""The language of whoever looks at a page, of those that the templates are in."""

import re

from oneself.templating import Templates

__all__ = ["preferred_language", "spoken_language"]

#: One range of an `Accept-Language` with its weight (RFC 9110 section 12.5.4).
_RANGE = re.compile(
    r"\s*(?P<tag>[a-z]{1,8}(-[a-z0-9]{1,8})*)\s*(;\s*q=(?P<weight>[01](\.[0-9]{0,3})?)\s*)?",
    re.IGNORECASE,
)
_MOST_RANGES = 20


def preferred_language(templates: Templates, header: bytes) -> str:
    """The language that the browser prefers of those that there are."""
    ranges = header.decode("latin-1").split(",", _MOST_RANGES)[:_MOST_RANGES]
    weighed = [
        (float(found["weight"] or 1), found["tag"])
        for found in map(_RANGE.fullmatch, ranges)
        if found is not None
    ]
    # Sorting keeps the order of those that weigh the same.
    for weight, tag in sorted(weighed, key=lambda each: -each[0]):
        if weight > 0 and (language := spoken_language(templates, tag)):
            return language
    return templates.language(None)


def spoken_language(templates: Templates, tag: str | None) -> str | None:
    """The language of a tag, if it is one of those that there are."""
    language = templates.language(tag)
    return language if tag and tag.partition("-")[0].lower() == language else None
