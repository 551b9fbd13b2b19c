"""Reads the W3C Trace Context of a request, for the access log and for spans."""

import re
from collections.abc import Iterable
from typing import NamedTuple

#: Version, trace id, parent id and flags (W3C Trace Context section 3.2). Version ff and ids of
#: zeros are invalid; versions after 00 may have more after a hyphen. Only hex digits get into the
#: log, so that a caller can write no more than 128 bits into it (LO-06).
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.DOTALL,
)


class Parent(NamedTuple):
    """The caller's span: trace id in 32 hex digits, span id in 16, and flags."""

    trace_id: str
    span_id: str
    flags: int


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """Return the caller's span; None without exactly one valid header."""
    values = [value for name, value in headers if name == b"traceparent"]
    match = _TRACEPARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or (match["more"] is not None and values[0].startswith(b"00")):
        return None
    return Parent(match["trace"].decode(), match["span"].decode(), int(match["flags"], 16))
