"""Comparing what came with what was promised: every field, exactly."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from oneself.conformance.http_client import Answer
from oneself.conformance.pictures import chunks_of, read_webp

__all__ = [
    "Either",
    "Matcher",
    "Moment",
    "Pattern",
    "Picture",
    "PublicKey",
    "SameRequestId",
    "Second",
    "after",
    "differences",
    "fill",
    "write",
]

_PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")
_SPAN = re.compile(r"([+-]?)(\d+)([smhdy])")
_TOLERANCE = timedelta(minutes=2)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Matcher:
    """Stands in an expected body for a value that nobody can know beforehand."""

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:
        """Whether the value is one that was promised."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pattern(Matcher):
    """A text that a regular expression describes from its beginning to its end."""

    pattern: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Whether the value is one of these."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Moment(Matcher):
    """A moment in UTC, in whole seconds and so far from now, give or take two minutes."""

    span: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Whether the value is one of these."""
        if not isinstance(value, str):
            return False
        try:
            moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return abs(moment - after(now, self.span)) <= _TOLERANCE


@dataclass(frozen=True)
class Second(Matcher):
    """A moment like that, as a number of seconds of Unix time."""

    span: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Whether the value is one of these."""
        if type(value) is not int:
            return False
        return abs(datetime.fromtimestamp(value, UTC) - after(now, self.span)) <= _TOLERANCE


@dataclass(frozen=True)
class SameRequestId(Matcher):
    """The id that the `X-Request-Id` header of the same answer has, perhaps behind a prefix."""

    prefix: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Whether the value is one of these."""
        return [value] == [self.prefix + each for each in answer.values("x-request-id")]


@dataclass(frozen=True)
class Either(Matcher):
    """One of several values, with matchers in them perhaps."""

    alternatives: tuple[Any, ...]

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:
        """Whether the value is one of these."""
        return any(not [*differences(each, value, answer, now)] for each in self.alternatives)


@dataclass(frozen=True)
class PublicKey(Matcher):
    """An RSA key that verifies signatures of this algorithm (RFC 7517), and that has no more in it.

    It is named by its thumbprint (RFC 7638), so that neither the name nor the key can be another's.
    """

    algorithm: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Whether the value is one of these."""
        if not isinstance(value, Mapping) or not isinstance(value.get("n"), str):
            return False
        key = {"e": "AQAB", "kty": "RSA", "n": value["n"]}
        digest = sha256(json.dumps(key, separators=(",", ":"), sort_keys=True).encode()).digest()
        named = urlsafe_b64encode(digest).decode().rstrip("=")
        modulus = re.fullmatch(r"[A-Za-z0-9_-]{342}", value["n"])  # of 2,048 bits
        return modulus is not None and value == {
            **key, "use": "sig", "alg": self.algorithm, "kid": named,
        }  # fmt: skip


@dataclass(frozen=True)
class Picture(Matcher):
    """The bytes of a WebP file of so many by so many pixels, with pixels in it and nothing else."""

    size: tuple[int, ...]

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Whether the value is one of these."""
        try:
            names = {name for name, _ in chunks_of(value)}
            size = read_webp(value).size
        except (OSError, ValueError, TypeError):
            return False
        return size == self.size and names <= {"VP8 ", "VP8L", "VP8X", "ALPH"}


def after(now: datetime, span: str) -> datetime:
    """The moment that is `now`, `+30d` or `1y` from now; a year is one of the calendar.

    Raises:
        ValueError: The span is written in another way.
    """
    if span == "now":
        return now
    parts = _SPAN.fullmatch(span)
    if parts is None:
        message = f"{span!r} is no span such as +30d"
        raise ValueError(message)
    sign, number, unit = -1 if parts[1] == "-" else 1, int(parts[2]), parts[3]
    if unit == "y":
        year = now.year + sign * number
        leap_day = (now.month, now.day) == (2, 29)
        return now.replace(year=year, day=28) if leap_day else now.replace(year=year)
    return now + sign * number * timedelta(seconds=_SECONDS[unit])


def write(moment: datetime) -> str:
    """A moment as the dialects write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def fill(value: Any, look_up: Callable[[str], Any]) -> Any:
    """Put what they name in the place of the placeholders; one that stands alone keeps its type."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole:
            return look_up(whole[1])
        return _PLACEHOLDER.sub(lambda found: str(look_up(found[1])), value)
    if isinstance(value, Mapping):
        return {fill(name, look_up): fill(below, look_up) for name, below in value.items()}
    if isinstance(value, list):
        return [fill(below, look_up) for below in value]
    if isinstance(value, Either):
        return Either(tuple(fill(below, look_up) for below in value.alternatives))
    return value


def differences(  # noqa: C901 # a case for each kind of value
    expected: Any, found: Any, answer: Answer, now: datetime, where: str = "body"
) -> Iterator[str]:
    """Each way in which what was found is not what was expected."""
    if isinstance(expected, Matcher):
        if not expected.fits(found, answer, now):
            yield f"{where}: {found!r} is no {expected}"
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in expected.keys() | found.keys():
            if name not in found:
                yield f"{where}/{name}: is missing"
            elif name not in expected:
                yield f"{where}/{name}: was not promised, and is {found[name]!r}"
            else:
                yield from differences(expected[name], found[name], answer, now, f"{where}/{name}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{where}: has {len(found)} items, not {len(expected)}: {found!r}"
        for index, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from differences(one, other, answer, now, f"{where}/{index}")
    elif type(expected) is not type(found) or expected != found:
        # The type too: to Python, 1 and 1.0 and True are all the same.
        yield f"{where}: {found!r} is not {expected!r}"
