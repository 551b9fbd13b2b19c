"""What no answer to a probe may be, and what this probe's may not be."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from oneself.conformance.probes.table import Probe, Segment
from oneself.conformance.probes.target import ProbeTarget
from oneself.conformance.probes.wire import Answer, Read

__all__ = ["Came", "find_violations"]

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: A document seldom lists them, and a server may have them for every path.
_ALWAYS_ALLOWED = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Came:
    """What came over one connection, after what it was opened with."""

    opening: tuple[Segment, ...]
    received: bytes = b""
    read: Read = field(default_factory=Read)
    is_closed: bool = True
    was_reset: bool = False

    @property
    def asked(self) -> tuple[str, str]:
        """The method and the target that were asked for first."""
        line = b"".join(segment.whole for segment in self.opening[:3]).split(b"\r\n", 1)[0]
        method, _, rest = line.decode("latin-1").partition(" ")
        return method, rest.partition(" ")[0]


def find_violations(probe: Probe, came: Came, target: ProbeTarget) -> Iterator[str]:
    """Each thing that came of a probe on one connection and should not have, in a sentence."""
    yield from _echoes(came, target)
    if _is_other_protocol(probe, came):
        return
    for answer in came.read.answers:
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            yield "The connection was switched to another protocol (101)."
    # Whoever hangs up on a sender may take with it what it had begun to say.
    if came.read.fault and not (came.read.is_cut and came.was_reset):
        yield f"What came is no answer of HTTP/1.1: {came.read.fault}."
    answers, allowed = came.read.final, probe.expected.answers
    if len(answers) > len(allowed):
        yield f"{_count(len(answers), 'answer')} came to {_count(len(allowed), 'request')}."
    for answer, statuses in zip(answers, allowed, strict=False):
        yield from _wrong_status(answer, statuses)
    for answer in answers:
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            yield from _wrong_allow(probe, answer, came, target)
    yield from _wrong_end(probe, came)


def _is_other_protocol(probe: Probe, came: Came) -> bool:
    pattern = probe.expected.or_bytes
    return pattern is not None and bool(
        re.match(pattern.encode("latin-1"), came.received, re.DOTALL)
    )


def _echoes(came: Came, target: ProbeTarget) -> Iterator[str]:
    received = came.received.lower()
    if target.canary.encode() in received:
        yield "The answer repeats what was sent."
    refused = any(answer.status >= HTTPStatus.MULTIPLE_CHOICES for answer in came.read.answers)
    if refused and target.secret and target.secret.lower().encode() in received:
        yield "The answer repeats the credential."


def _wrong_status(answer: Answer, allowed: tuple[str, ...]) -> Iterator[str]:
    status = str(answer.status)
    if status in allowed or f"{status[0]}xx" in allowed:
        return
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield f"It was answered with {status}: the server's own failure."
    else:
        yield f"It was answered with {status}, where only {' or '.join(allowed)} is allowed."


def _wrong_allow(probe: Probe, answer: Answer, came: Came, target: ProbeTarget) -> Iterator[str]:
    values = answer.values("allow")
    if not values:
        if not probe.expected.or_no_allow:
            yield "A 405 came without Allow (RFC 9110, section 15.5.6)."
        return
    listed = [each.strip() for value in values for each in value.split(",") if each.strip()]
    if not all(_METHOD.fullmatch(each) for each in listed):
        yield "Allow is no list of methods."
        return
    method, path = came.asked
    if method in listed:
        yield "Allow lists the method that was refused."
    known = target.read_methods
    if path == target.read and known is not None:
        found = set(listed)
        if found - _ALWAYS_ALLOWED != known - _ALWAYS_ALLOWED:
            yield f"Allow lists {_these(found)}, where the document has {_these(known)}."


def _wrong_end(probe: Probe, came: Came) -> Iterator[str]:
    expected = probe.expected
    if len(came.read.final) < len(expected.answers):
        if not came.is_closed:
            yield "It was neither answered nor closed in time."
        elif not expected.or_closed:
            yield "The connection was closed without an answer."
    elif expected.then_closed and not came.is_closed:
        yield "The connection was not closed after the answer."


def _these(methods: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(methods)) or "nothing"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
