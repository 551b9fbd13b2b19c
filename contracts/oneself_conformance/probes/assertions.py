"""Assertions on the responses to a probe."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from oneself_conformance.http_client import Answer
from oneself_conformance.probes.table import Probe, Segment
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Read

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Documents seldom list these methods, and a server may support them on every path.
_ALWAYS_ALLOWED = frozenset({"HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class ConnectionResult:
    """The bytes received over one connection, with those that it sent first."""

    opening: tuple[Segment, ...]
    received: bytes = b""
    read: Read = field(default_factory=Read)
    is_closed: bool = True
    was_reset: bool = False

    @property
    def request_line(self) -> tuple[str, str]:
        """The method and target of the first request."""
        line = b"".join(segment.whole for segment in self.opening[:3]).split(b"\r\n", 1)[0]
        method, _, rest = line.decode("latin-1").partition(" ")
        return method, rest.partition(" ")[0]


def find_violations(probe: Probe, result: ConnectionResult, target: ProbeTarget) -> Iterator[str]:
    """Yield a sentence for each violation on one connection of a probe."""
    yield from _echoes(result, target)
    other = probe.expected.or_bytes
    if other is not None and re.match(other.encode("latin-1"), result.received, re.DOTALL):
        return
    for answer in result.read.answers:
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            yield "The connection was switched to another protocol (101)."
    # A reset can destroy a response that the server has begun to send.
    if result.read.fault and not (result.read.is_cut and result.was_reset):
        yield f"The response is not HTTP/1.1: {result.read.fault}."
    answers, allowed = result.read.final, probe.expected.answers
    if len(answers) > len(allowed):
        yield f"{_count(len(answers), 'response')} came to {_count(len(allowed), 'request')}."
    for answer, statuses in zip(answers, allowed, strict=False):
        yield from _wrong_status(answer, statuses)
    for answer in answers:
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            yield from _wrong_allow(probe, answer, result, target)
    yield from _wrong_end(probe, result)


def _echoes(result: ConnectionResult, target: ProbeTarget) -> Iterator[str]:
    received = result.received.lower()
    if target.canary.encode() in received:
        yield "The response repeats the request."
    refused = any(answer.status >= HTTPStatus.MULTIPLE_CHOICES for answer in result.read.answers)
    if refused and target.secret and target.secret.lower().encode() in received:
        yield "The response repeats the credential."


def _wrong_status(answer: Answer, allowed: tuple[str, ...]) -> Iterator[str]:
    status = str(answer.status)
    if status in allowed or f"{status[0]}xx" in allowed:
        return
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield f"The response is {status}, a server error."
    else:
        yield f"The response is {status}, and only {' or '.join(allowed)} is allowed."


def _wrong_allow(
    probe: Probe, answer: Answer, result: ConnectionResult, target: ProbeTarget
) -> Iterator[str]:
    values = answer.values("allow")
    if not values:
        if not probe.expected.or_no_allow:
            yield "A 405 has no Allow (RFC 9110, section 15.5.6)."
        return
    listed = {each.strip() for value in values for each in value.split(",")} - {""}
    if not all(map(_METHOD.fullmatch, listed)):
        yield "Allow is not a list of methods."
        return
    method, path = result.request_line
    if method in listed:
        yield "Allow lists the rejected method."
    documented = target.read_methods
    if path != target.read or documented is None:
        return
    if listed - _ALWAYS_ALLOWED != documented - _ALWAYS_ALLOWED:
        yield f"Allow lists {_join(listed)}, but the document {_join(documented)}."


def _wrong_end(probe: Probe, result: ConnectionResult) -> Iterator[str]:
    expected = probe.expected
    if len(result.read.final) < len(expected.answers):
        if not result.is_closed:
            yield "The request was neither answered nor the connection closed in time."
        elif not expected.or_closed:
            yield "The connection was closed without a response."
    elif expected.then_closed and not result.is_closed:
        yield "The connection was not closed after the response."


def _join(methods: set[str] | frozenset[str]) -> str:
    return ", ".join(sorted(methods)) or "nothing"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")
