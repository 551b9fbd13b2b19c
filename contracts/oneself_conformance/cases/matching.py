"""Exact comparison of responses with expected values and matchers."""

import json
import re
import struct
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from oneself_conformance.cases.pictures import read_webp_size
from oneself_conformance.http_client import Answer
from oneself_conformance.placeholders import fill
from oneself_conformance.timestamps import add_span

_TOLERANCE = timedelta(minutes=2)


class Matcher:
    """Placeholder in an expected body for a value that is not known in advance."""

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:
        """Return whether the matcher accepts a value."""
        raise NotImplementedError

    def filled(self, look_up: Callable[[str], Any]) -> "Matcher":  # noqa: ARG002 # for subclasses
        """Return the matcher with its placeholders replaced, if it can have some."""
        return self


@dataclass(frozen=True)
class Pattern(Matcher):
    """A string that a regular expression matches completely."""

    pattern: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True)
class Timestamp(Matcher):
    """A UTC timestamp in whole seconds, at a span from now, within two minutes."""

    span: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        if not isinstance(value, str):
            return False
        try:
            time = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return abs(time - add_span(now, self.span)) <= _TOLERANCE


@dataclass(frozen=True)
class UnixTime(Matcher):
    """A timestamp at a span from now, in seconds of Unix time."""

    span: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        if type(value) is not int:
            return False
        return abs(datetime.fromtimestamp(value, UTC) - add_span(now, self.span)) <= _TOLERANCE


@dataclass(frozen=True)
class SameRequestId(Matcher):
    """The id in the `X-Request-Id` header of the same response, after a prefix."""

    prefix: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        return [value] == [self.prefix + each for each in answer.values("x-request-id")]


@dataclass(frozen=True)
class PublicUrl(Matcher):
    """A whole URL with this path and fragment, below any origin.

    The public URL of a deployment need not be the one that it is tested by.
    """

    path: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        return isinstance(value, str) and bool(
            re.fullmatch(r"https?://[^/?#\s]+" + re.escape(self.path), value)
        )

    def filled(self, look_up: Callable[[str], Any]) -> Matcher:
        """Return the matcher with the placeholders in its path replaced."""
        return PublicUrl(fill(self.path, look_up))


@dataclass(frozen=True)
class Either(Matcher):
    """One of several values, which can contain matchers."""

    alternatives: tuple[Any, ...]

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:
        """Return whether the matcher accepts a value."""
        return any(not [*differences(each, value, answer, now)] for each in self.alternatives)

    def filled(self, look_up: Callable[[str], Any]) -> "Either":
        """Return it with the placeholders in its alternatives replaced."""
        return Either(tuple(fill(below, look_up) for below in self.alternatives))


@dataclass(frozen=True)
class Other(Matcher):
    """A value of the same type as this one, and another."""

    value: Any

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        return type(value) is type(self.value) and value != self.value

    def filled(self, look_up: Callable[[str], Any]) -> "Other":
        """Return it with the placeholders in its value replaced."""
        return Other(fill(self.value, look_up))


@dataclass(frozen=True)
class PublicKey(Matcher):
    """A public RSA key for an algorithm (RFC 7517), without private members.

    Its id must be its thumbprint (RFC 7638), which binds the id to the key.
    """

    algorithm: str

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        if not isinstance(value, Mapping) or not isinstance(value.get("n"), str):
            return False
        key = {"e": "AQAB", "kty": "RSA", "n": value["n"]}
        digest = sha256(json.dumps(key, separators=(",", ":"), sort_keys=True).encode()).digest()
        thumbprint = urlsafe_b64encode(digest).decode().rstrip("=")
        modulus = re.fullmatch(r"[A-Za-z0-9_-]{342}", value["n"])  # of 2,048 bits
        return modulus is not None and value == {
            **key, "use": "sig", "alg": self.algorithm, "kid": thumbprint,
        }  # fmt: skip


@dataclass(frozen=True)
class OpenapiDocument(Matcher):
    """An OpenAPI document with a version, followed by the names of its tags, and a whole URL."""

    version_and_tags: tuple[str, ...]

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        try:
            [server] = value["servers"]
            found = (value["openapi"], *(tag["name"] for tag in value["tags"]))
            return found == self.version_and_tags and server["url"].startswith("http")
        except (KeyError, TypeError, ValueError):
            return False


@dataclass(frozen=True)
class Picture(Matcher):
    """The bytes of a WebP file of this size in pixels, without metadata."""

    size: tuple[int, ...]

    def fits(self, value: Any, answer: Answer, now: datetime) -> bool:  # noqa: ARG002 # as above
        """Return whether the matcher accepts a value."""
        try:
            return read_webp_size(value) == self.size
        except (LookupError, TypeError, ValueError, struct.error):
            return False


def differences(  # noqa: C901 # a case for each kind of value
    expected: Any,
    found: Any,
    answer: Answer,
    now: datetime,
    where: str = "body",
    *,
    is_open: bool = False,
) -> Iterator[str]:
    """Yield each difference between an expected and a received value.

    With `is_open`, objects may have further members.
    """
    if isinstance(expected, Matcher):
        if not expected.fits(found, answer, now):
            yield f"{where}: {found!r} does not match {expected}"
    elif isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in expected.keys() | found.keys():
            if name not in found:
                yield f"{where}/{name}: is missing"
            elif name not in expected:
                if not is_open:
                    yield f"{where}/{name}: is not expected, and is {found[name]!r}"
            else:
                below = f"{where}/{name}"
                yield from differences(
                    expected[name], found[name], answer, now, below, is_open=is_open
                )
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{where}: has {len(found)} items, not {len(expected)}: {found!r}"
        for index, (first, second) in enumerate(zip(expected, found, strict=False)):
            below = f"{where}/{index}"
            yield from differences(first, second, answer, now, below, is_open=is_open)
    elif type(expected) is not type(found) or expected != found:
        # Compare the types as well, because 1 == 1.0 == True in Python.
        yield f"{where}: {found!r} is not {expected!r}"
