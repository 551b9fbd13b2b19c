"""Entity tags and the preconditions that use them (RFC 9110 sections 8.8.3 and 13.1)."""

import re
from hashlib import sha256

import orjson

from handlers.errors import PreconditionFailed

_TAG = re.compile(r'(?P<weak>W/)?(?P<tag>"[!#-~\x80-\xff]*")')


def strong_tag(digest: str) -> str:
    """Return a strong tag from a digest of every byte of the representation."""
    return f'"{digest}"'


def tag_of(body: object) -> str:
    """Return the strong tag of a body: of bytes, or of what is sent as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return strong_tag(sha256(content).hexdigest())


def is_held(if_none_match: str | None, tag: str) -> bool:
    """Tell whether an `If-None-Match` names the tag or is a star (section 13.1.2)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or any(
        match["tag"] == tag for match in _TAG.finditer(if_none_match)
    )


def require_match(if_match: str | None, body: object) -> None:
    """Require that the current body is the one that `If-Match` names (section 13.1.1).

    Call it in the writing transaction, before the first write: the account is locked in it, so
    that no other request changes the body afterwards. The comparison is strong; a weak tag never
    matches. A request without the header always passes.

    The document has the grammar of the header: a tag without its quotes is rejected before.

    Raises:
        PreconditionFailed: The current body has another tag.
    """
    if if_match is None or if_match == "*":
        return
    current = tag_of(body)
    tags = _TAG.finditer(if_match)
    if not any(match["tag"] == current and match["weak"] is None for match in tags):
        raise PreconditionFailed
