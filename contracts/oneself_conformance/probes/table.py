"""Loader of probes.yaml."""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal, get_args

import yaml

from oneself_conformance.document import DATA
from oneself_conformance.levels import Level
from oneself_conformance.probes.target import ProbeTarget

_FILE = DATA / "probes.yaml"
_WORD = re.compile(r"\$\{([a-z_]+)\}")

#: What follows the bytes: listen; half-close first; send more slowly; send more after a response;
#: close without listening; the same by RST.
Then = Literal["listen", "half_close", "dribble", "go_on", "leave", "reset"]


class MissingWord(LookupError):
    """A probe uses a word that the target does not define; the message is the word."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes to send, repeated `times` times."""

    data: bytes
    times: int = 1

    @property
    def whole(self) -> bytes:
        """The repeated bytes."""
        return self.data * self.times


@dataclass(frozen=True, slots=True)
class Piece:
    """Text with words to fill in, one byte a character, that is repeated and then encoded."""

    text: str
    times: int = 1
    encoding: str | None = None

    def fill(self, words: Mapping[str, bytes | None]) -> Segment:
        """Return the bytes for a target, or raise `MissingWord`."""
        data = _fill(self.text, words)
        if self.encoding is None:
            return Segment(data, self.times)
        return Segment(_encode(data * self.times, self.encoding))


@dataclass(frozen=True, slots=True)
class Expected:
    """The allowed outcome on each connection of a probe.

    `answers` has a list of statuses for each request in the bytes; a surplus response means that
    other bytes were read as a request. `or_closed` allows a closed connection instead of a
    response. `then_closed` requires that the connection closes after the responses. `or_bytes` is
    a pattern of a response in another protocol. `bodiless` means responses without a body.
    `or_no_allow` allows a 405 without `Allow`.
    """

    answers: tuple[tuple[str, ...], ...]
    or_closed: bool = True
    then_closed: bool = False
    or_bytes: str | None = None
    bodiless: bool = False
    or_no_allow: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """Bytes that no well-behaved client sends, and the allowed responses.

    `send` has one opening for each kind of connection, which take turns. `plain` never uses TLS.
    `is_slow` probes wait for the deployment's own deadline. `standard` is the section of an RFC
    that demands the outcome of every server; without one, the outcome is a rule of this project.
    """

    id: str
    promise: str
    source: str
    send: tuple[tuple[Piece, ...], ...]
    expected: Expected
    body: tuple[Piece, ...] = ()
    then: Then = "listen"
    more: tuple[Piece, ...] = ()
    connections: int = 1
    only: Literal["http", "https"] | None = None
    plain: bool = False
    is_slow: bool = False
    standard: str | None = None

    def __str__(self) -> str:
        return self.id

    @property
    def level(self) -> Level:
        """The level of its outcome: many are stricter than the RFC that their source cites."""
        return Level.STANDARD if self.standard else Level.HOUSE

    def openings(self, target: ProbeTarget) -> tuple[tuple[Segment, ...], ...]:
        """Return the first bytes for each kind of connection, or raise `MissingWord`."""
        words = target.words()
        body = tuple(piece.fill(words) for piece in self.body)
        lengths = {"length": _length(body), "more_length": _length(self.follow_up(target))}
        filled = {**words, **lengths}
        return tuple(
            _merge_adjacent((*(piece.fill(filled) for piece in opening), *body))
            for opening in self.send
        )

    def follow_up(self, target: ProbeTarget) -> tuple[Segment, ...]:
        """Return the bytes to send later, at once or repetition by repetition."""
        words = target.words()
        return tuple(piece.fill(words) for piece in self.more)


#: The fields of a probe that are copied from its entry.
_COPIED = {"id", "promise", "source", "then", "connections", "only", "plain", "is_slow"}
_KEYS = {each.name for each in fields(Probe)} - {"expected"} | {"for_each", "expect"}


@cache
def load_probes() -> tuple[Probe, ...]:
    """Return all probes, in the order of the file; raise `ValueError` if it is malformed."""
    probes = tuple(probe for raw in _raw()["probes"] for probe in _expand(raw))
    ids = [probe.id for probe in probes]
    if duplicates := {each for each in ids if ids.count(each) > 1}:
        raise ValueError(f"two probes have the same id: {sorted(duplicates)}")
    return probes


@cache
def _raw() -> Mapping[str, Any]:
    with _FILE.open("rb") as file:
        raw: Mapping[str, Any] = yaml.load(file, Loader=yaml.CSafeLoader)
    return raw


def _fill(text: str, words: Mapping[str, bytes | None]) -> bytes:
    """Replace the words in a text; words of the file can contain further words."""
    filled = b""
    for number, part in enumerate(_WORD.split(text)):
        if number % 2 == 0:
            filled += part.encode("latin-1")
        elif part in _raw()["words"]:
            filled += _fill(_raw()["words"][part], words)
        elif (word := words.get(part)) is not None:
            filled += word
        else:
            raise MissingWord(part)
    return filled


def _merge_adjacent(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Merge adjacent segments that are not repeated."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].times == segment.times == 1:
            joined[-1] = Segment(joined[-1].data + segment.data)
        else:
            joined.append(segment)
    return tuple(joined)


def _length(segments: tuple[Segment, ...]) -> bytes:
    return b"%d" % sum(len(segment.data) * segment.times for segment in segments)


def _encode(data: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        # Level 9 and no timestamp, for reproducible bytes.
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        return compressor.compress(data) + compressor.flush()
    return data.decode().encode(encoding)


def _expand(raw: Mapping[str, Any]) -> Iterator[Probe]:
    """Yield the probe of an entry, or one for each line of its `for_each`."""
    if unknown := raw.keys() - _KEYS:
        raise ValueError(f"{raw['id']}: unknown keys {sorted(unknown)}")
    standard = raw.get("standard")
    if "for_each" not in raw:
        yield replace(_probe(raw, ()), standard=standard)
        return
    sections = _sections(raw["id"], standard, raw["for_each"])
    for name, value in raw["for_each"].items():
        probe = _probe(raw, _pieces(value))
        promise = probe.promise.replace("${name}", name)
        yield replace(probe, id=f"{probe.id}: {name}", promise=promise, standard=sections.get(name))


def _sections(
    probe_id: str, standard: str | Mapping[str, list[str]] | None, names: Mapping[str, Any]
) -> Mapping[str, str]:
    """Return the section of an RFC for each line of `for_each` that one demands."""
    if standard is None or isinstance(standard, str):
        return dict.fromkeys(names, standard) if standard else {}
    sections = {name: section for section, lines in standard.items() for name in lines}
    if unknown := sections.keys() - names.keys():
        raise ValueError(f"{probe_id}: `standard` has unknown lines {sorted(unknown)}")
    return sections


def _probe(raw: Mapping[str, Any], each: tuple[Piece, ...]) -> Probe:
    def pieces(key: str) -> tuple[Piece, ...]:
        return tuple(_substitute(each, _pieces(raw.get(key, ""))))

    spec = raw["send"]
    variants = spec["in_turns"] if isinstance(spec, dict) and "in_turns" in spec else [spec]
    expect = dict(raw["expect"])
    answers = expect.pop("answers", [])
    if answers and not isinstance(answers[0], list):
        answers = [answers] * expect.pop("requests", 1)
    if raw.get("then", "listen") not in get_args(Then):
        raise ValueError(f"{raw['id']}: unknown `then`: {raw['then']}")
    return Probe(
        **{key: raw[key] for key in _COPIED & raw.keys()},
        send=tuple(tuple(_substitute(each, _pieces(variant))) for variant in variants),
        body=pieces("body"),
        more=pieces("more"),
        expected=Expected(
            answers=tuple(tuple(str(status) for status in allowed) for allowed in answers), **expect
        ),
    )


def _pieces(raw: Any) -> tuple[Piece, ...]:
    entries = raw if isinstance(raw, list) else [raw]
    return tuple(Piece(each) if isinstance(each, str) else Piece(**each) for each in entries)


def _substitute(each: tuple[Piece, ...], pieces: tuple[Piece, ...]) -> Iterator[Piece]:
    """Replace `${each}` by the pieces of a line of `for_each`."""
    for piece in pieces:
        before, here, after = piece.text.partition("${each}")
        if here:
            yield from (Piece(before), *each, Piece(after))
        else:
            yield piece
