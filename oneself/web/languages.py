"""The language of a page, chosen by the browser's `Accept-Language`."""

import re

from starlette.types import Scope

from oneself.http.request.bodies import headers_of
from oneself.templating import Templates

#: One range of an `Accept-Language` with its weight (RFC 9110 section 12.5.4).
_RANGE = re.compile(
    r"\s*(?P<tag>[a-z]{1,8}(-[a-z0-9]{1,8})*)\s*(;\s*q=(?P<weight>[01](\.[0-9]{0,3})?)\s*)?",
    re.IGNORECASE,
)
_MOST_RANGES = 20


def preferred_language(templates: Templates, scope: Scope) -> str:
    """Return the available language that the browser prefers."""
    header = headers_of(scope).get(b"accept-language", b"")
    ranges = header.decode("latin-1").split(",", _MOST_RANGES)[:_MOST_RANGES]
    weighted = [
        (float(match["weight"] or 1), match["tag"])
        for match in map(_RANGE.fullmatch, ranges)
        if match is not None
    ]
    # Sorting is stable: ranges of the same weight keep their order.
    for weight, tag in sorted(weighted, key=lambda pair: -pair[0]):
        if weight > 0 and (language := templates.find_language(tag)):
            return language
    return templates.language(None)
