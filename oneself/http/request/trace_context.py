"""Whose trace a request belongs to: the W3C Trace Context, as far as a line of the log needs it."""

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Parent", "parent_of", "trace_id_of"]

#: Version, trace, parent and flags (W3C Trace Context, section 3.2). Version ff is none; a later
#: one than 00 may go on after a hyphen; ids of zeros alone are none. Nothing but hex digits is let
#: into the log, so what a caller can put there is 128 bits that mean something to them (LO-06).
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.DOTALL,
)


class Parent(NamedTuple):
    """The span that a request is part of: its trace in 32 hex digits, itself in 16, and flags."""

    trace_id: str
    span_id: str
    flags: int


def trace_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The trace's id in 32 hex digits; None without a header, with several, and with a bad one."""
    parent = parent_of(headers)
    return parent and parent.trace_id


def parent_of(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """What the caller's header says; None without one, with several, and with a bad one."""
    sent = [value for name, value in headers if name == b"traceparent"]
    matched = _TRACEPARENT.fullmatch(sent[0]) if len(sent) == 1 else None
    if matched is None or (matched["more"] is not None and sent[0].startswith(b"00")):
        return None
    return Parent(matched["trace"].decode(), matched["span"].decode(), int(matched["flags"], 16))
