"""Assertions on the responses to a probe."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from oneself_conformance.http_client import Answer
from oneself_conformance.levels import HOUSE_RULE, Level, Violation
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


def find_violations(
    probe: Probe, result: ConnectionResult, target: ProbeTarget
) -> Iterator[Violation]:
    """Yield a sentence for each violation on one connection of a probe."""
    outcome = (probe.level, probe.standard or probe.source)
    yield from _cite(_echoes(result, target), Level.HOUSE, probe.source)
    other = probe.expected.or_bytes
    if other is not None and re.match(other.encode("latin-1"), result.received, re.DOTALL):
        return
    yield from _cite(_switches(result), *outcome)
    yield from _cite(_malformed(result), Level.STANDARD, "RFC 9112, section 2.1")
    yield from _cite(_wrong_answers(probe, result), *outcome)
    # Later answers are to other requests, with methods of their own.
    for answer in result.read.final[:1]:
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
            yield from _cite(
                _wrong_allow(probe, answer, result), Level.STANDARD, "RFC 9110, section 15.5.6"
            )
            yield from _cite(_undocumented(answer, result, target), Level.HOUSE, HOUSE_RULE)
    yield from _cite(_wrong_end(probe, result), *outcome)


def _cite(sentences: Iterator[str], level: Level, source: str) -> Iterator[Violation]:
    return (Violation(sentence, level, source) for sentence in sentences)


def _echoes(result: ConnectionResult, target: ProbeTarget) -> Iterator[str]:
    if target.canary.encode() in result.received.lower():
        yield "The response repeats the request."
    refusals = [each for each in result.read.answers if each.status >= HTTPStatus.MULTIPLE_CHOICES]
    if target.secret and any(_has(each, target.secret.lower()) for each in refusals):
        yield "The response repeats the credential."


def _has(answer: Answer, text: str) -> bool:
    values = [value.lower() for _, value in answer.headers]
    return text.encode() in answer.body.lower() or any(text in value for value in values)


def _switches(result: ConnectionResult) -> Iterator[str]:
    for answer in result.read.answers:
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            yield "The connection was switched to another protocol (101)."


def _malformed(result: ConnectionResult) -> Iterator[str]:
    # A reset can destroy a response that the server has begun to send.
    if result.read.fault and not (result.read.is_cut and result.was_reset):
        yield f"The response is not HTTP/1.1: {result.read.fault}."


def _wrong_answers(probe: Probe, result: ConnectionResult) -> Iterator[str]:
    answers, allowed = result.read.final, probe.expected.answers
    if len(answers) > len(allowed):
        yield f"{_count(len(answers), 'response')} came to {_count(len(allowed), 'request')}."
    for answer, statuses in zip(answers, allowed, strict=False):
        yield from _wrong_status(answer, statuses)


def _wrong_status(answer: Answer, allowed: tuple[str, ...]) -> Iterator[str]:
    status = str(answer.status)
    if status in allowed or f"{status[0]}xx" in allowed:
        return
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield f"The response is {status}, a server error."
    else:
        yield f"The response is {status}, and only {' or '.join(allowed)} is allowed."


def _wrong_allow(probe: Probe, answer: Answer, result: ConnectionResult) -> Iterator[str]:
    listed = _listed(answer)
    if not answer.values("allow"):
        if not probe.expected.or_no_allow:
            yield "A 405 has no Allow (RFC 9110, section 15.5.6)."
    elif not all(map(_METHOD.fullmatch, listed)):
        yield "Allow is not a list of methods."
    elif result.request_line[0] in listed:
        yield "Allow lists the rejected method."


def _undocumented(answer: Answer, result: ConnectionResult, target: ProbeTarget) -> Iterator[str]:
    listed, documented = _listed(answer), target.read_methods
    is_list = listed and all(map(_METHOD.fullmatch, listed))
    if not is_list or result.request_line[1] != target.read or documented is None:
        return
    if listed - _ALWAYS_ALLOWED != documented - _ALWAYS_ALLOWED:
        yield f"Allow lists {_join(listed)}, but the document {_join(documented)}."


def _listed(answer: Answer) -> set[str]:
    return {each.strip() for value in answer.values("allow") for each in value.split(",")} - {""}


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
