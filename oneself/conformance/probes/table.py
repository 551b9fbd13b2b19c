"""The probes of contracts/probes.yaml."""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

import yaml

from oneself.conformance.probes.target import ProbeTarget

__all__ = ["Expected", "Lacking", "Piece", "Probe", "Segment", "load_probes"]

_FILE = Path(__file__).parents[3] / "contracts" / "probes.yaml"
_WORD = re.compile(r"\$\{([a-z_]+)\}")

#: What follows the bytes: listening; closing one half first; a byte now and then; more once an
#: answer came; hanging up without listening; the same by RST.
Then = Literal["listen", "half_close", "dribble", "go_on", "leave", "reset"]

_KEYS = {
    "id", "promise", "source", "for_each", "send", "body", "then", "more", "connections", "expect",
    "only", "plain", "is_slow",
}  # fmt: skip


class Lacking(LookupError):
    """A probe has a word that the target cannot fill; the message is that word."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that are sent so many times."""

    data: bytes
    times: int = 1

    @property
    def whole(self) -> bytes:
        """All of them."""
        return self.data * self.times


@dataclass(frozen=True, slots=True)
class Piece:
    """Text with words in it, one byte a character; repeated, and then encoded anew."""

    text: str
    times: int = 1
    encoding: str | None = None

    def fill(self, words: Mapping[str, bytes | None]) -> Segment:
        """The bytes of it for a target.

        Raises:
            Lacking: The target has no such word.
        """
        data = _fill(self.text, words)
        if self.encoding is None:
            return Segment(data, self.times)
        return Segment(_encode(data * self.times, self.encoding))


@dataclass(frozen=True, slots=True)
class Expected:
    """What may come of a probe on each of its connections.

    `answers` has one list of statuses for each request in the bytes; more answers than that are
    answers to something that was no request. `or_closed`: the connection may be closed instead of
    an answer. `then_closed`: it has to be closed after the answers. `or_bytes`: a pattern of what
    another protocol would say. `bodiless`: the answers have no body. `or_no_allow`: a 405 without
    `Allow` will do.
    """

    answers: tuple[tuple[str, ...], ...]
    or_closed: bool = True
    then_closed: bool = False
    or_bytes: str | None = None
    bodiless: bool = False
    or_no_allow: bool = False


@dataclass(frozen=True, slots=True)
class Probe:
    """One promise about bytes that no well-behaved client sends.

    `send` has one way of beginning for each kind of connection; where there are several they take
    turns. `plain` speaks no TLS, wherever it is. `is_slow` are those that wait for the deployment's
    own deadline.
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

    def __str__(self) -> str:
        return self.id

    def openings(self, target: ProbeTarget) -> tuple[tuple[Segment, ...], ...]:
        """What is sent first, on each kind of connection.

        Raises:
            Lacking: The target cannot fill it.
        """
        words = target.words()
        body = tuple(piece.fill(words) for piece in self.body)
        lengths = {
            "length": _length(body),
            "more_length": _length(self.afterwards(target)),
        }
        filled = {**words, **lengths}
        return tuple(
            _joined((*(piece.fill(filled) for piece in opening), *body)) for opening in self.send
        )

    def afterwards(self, target: ProbeTarget) -> tuple[Segment, ...]:
        """What is sent later: in one go, or each repetition by itself.

        Raises:
            Lacking: The target cannot fill it.
        """
        words = target.words()
        return tuple(piece.fill(words) for piece in self.more)


@cache
def load_probes() -> tuple[Probe, ...]:
    """Every probe, in the order of the file.

    Raises:
        ValueError: One has a key, a word or an id that it cannot have.
    """
    probes = tuple(probe for raw in _raw()["probes"] for probe in _members(raw))
    ids = [probe.id for probe in probes]
    if doubles := {each for each in ids if ids.count(each) > 1}:
        message = f"two probes have the same id: {sorted(doubles)}"
        raise ValueError(message)
    return probes


@cache
def _raw() -> Mapping[str, Any]:
    with _FILE.open("rb") as file:
        raw: Mapping[str, Any] = yaml.load(file, Loader=yaml.CSafeLoader)
    return raw


def _fill(text: str, words: Mapping[str, bytes | None]) -> bytes:
    """Put words into a text; those of the file are texts themselves."""
    filled = b""
    for number, part in enumerate(_WORD.split(text)):
        if number % 2 == 0:
            filled += part.encode("latin-1")
        elif part in _raw()["words"]:
            filled += _fill(_raw()["words"][part], words)
        elif (word := words.get(part)) is not None:
            filled += word
        else:
            raise Lacking(part)
    return filled


def _joined(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The same bytes in as few segments as can be."""
    joined: list[Segment] = []
    for segment in segments:
        if joined and joined[-1].times == segment.times == 1:
            joined[-1] = Segment(joined[-1].data + segment.data)
        else:
            joined.append(segment)
    return tuple(joined)


def _length(segments: tuple[Segment, ...]) -> bytes:
    return str(sum(len(segment.data) * segment.times for segment in segments)).encode()


def _encode(data: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        # Level 9 and no time in it: the same bytes each time.
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        return compressor.compress(data) + compressor.flush()
    return data.decode().encode(encoding)


def _members(raw: Mapping[str, Any]) -> Iterator[Probe]:
    """The probe of an entry, or one for each line of its `for_each`."""
    if unknown := raw.keys() - _KEYS:
        message = f"{raw['id']}: {sorted(unknown)} are no keys of a probe"
        raise ValueError(message)
    if "for_each" not in raw:
        yield _probe(raw, ())
        return
    for name, value in raw["for_each"].items():
        probe = _probe(raw, _pieces(value))
        promise = probe.promise.replace("${name}", name)
        yield replace(probe, id=f"{probe.id}: {name}", promise=promise)


def _probe(raw: Mapping[str, Any], each: tuple[Piece, ...]) -> Probe:
    def pieces(key: str) -> tuple[Piece, ...]:
        return tuple(_put(each, _pieces(raw.get(key, ""))))

    sent = raw["send"]
    variants = sent["in_turns"] if isinstance(sent, dict) and "in_turns" in sent else [sent]
    expect = dict(raw["expect"])
    answers = expect.pop("answers", [])
    if answers and not isinstance(answers[0], list):
        answers = [answers] * expect.pop("requests", 1)
    then = raw.get("then", "listen")
    if then not in get_args(Then):
        message = f"{raw['id']}: {then} is nothing to do"
        raise ValueError(message)
    return Probe(
        id=raw["id"],
        promise=raw["promise"],
        source=raw["source"],
        send=tuple(tuple(_put(each, _pieces(variant))) for variant in variants),
        body=pieces("body"),
        then=cast("Then", then),
        more=pieces("more"),
        connections=raw.get("connections", 1),
        expected=Expected(
            answers=tuple(tuple(str(status) for status in allowed) for allowed in answers), **expect
        ),
        only=raw.get("only"),
        plain=raw.get("plain", False),
        is_slow=raw.get("is_slow", False),
    )


def _pieces(raw: Any) -> tuple[Piece, ...]:
    entries = raw if isinstance(raw, list) else [raw]
    return tuple(Piece(each) if isinstance(each, str) else Piece(**each) for each in entries)


def _put(each: tuple[Piece, ...], pieces: tuple[Piece, ...]) -> Iterator[Piece]:
    """Put what a line of `for_each` has to say where it belongs."""
    for piece in pieces:
        before, here, after = piece.text.partition("${each}")
        if here:
            yield from (Piece(before), *each, Piece(after))
        else:
            yield piece
