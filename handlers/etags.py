"""Tags of what is answered, by which a client knows what it has (RFC 9110, section 8.8.3)."""

import re
from hashlib import sha256

import orjson

from accounts.errors import InvalidRequest
from handlers.dialect import PlacedViolation
from handlers.errors import PreconditionFailed

__all__ = ["is_held", "require_match", "strong_tag", "tag_of"]

_TAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[!#-~\x80-\xff]*")')


def strong_tag(digest: str) -> str:
    """Give the strong tag of a representation, from a digest that changes with every byte of it."""
    return f'"{digest}"'


def tag_of(body: object) -> str:
    """Give the strong tag of what goes out as JSON."""
    return strong_tag(sha256(orjson.dumps(body)).hexdigest())


def is_held(if_none_match: str | None, tag: str) -> bool:
    """Tell whether an `If-None-Match` names the tag, or anything at all (section 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or any(
        each["tag"] == tag for each in _TAG.finditer(if_none_match)
    )


def require_match(if_match: str | None, body: object) -> None:
    """See that what is there now is what the client means to change (section 13.1.1).

    To be called before anything is written, in the transaction that writes: the account is held
    in it, so that nobody changes what was compared. Compared strongly: a weak tag names nothing.

    Raises:
        InvalidRequest: The header is neither tags nor a star: a tag without its quotes, mostly.
        PreconditionFailed: It is something else; a request without the header has no such demand.
    """
    if if_match is None or if_match.strip() == "*":
        return
    named = list(_TAG.finditer(if_match))
    if not named or _TAG.sub("", if_match).strip(" \t,"):
        rule = "must be * or tags as they were given, in double quotes"
        raise InvalidRequest([PlacedViolation(("If-Match",), rule, "header")])
    present = tag_of(body)
    if not any(each["tag"] == present and each["weak"] is None for each in named):
        raise PreconditionFailed
