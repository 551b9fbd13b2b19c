"""Recorded requests and responses, for coverage of the document and for reports."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from oneself_conformance.http_client import Answer, Request

#: JSON has no bytes; this encoding has a character for each.
_BYTES = "latin-1"


@dataclass
class Exchange:
    """A request and its response, sent by the test with this name.

    `is_step` is false for the request that the test is about.
    """

    name: str
    request: Request
    answer: Answer
    started: datetime
    seconds: float
    is_step: bool = True


@dataclass
class Recorder:
    """Exchanges in memory, with their credentials."""

    exchanges: list[Exchange] = field(default_factory=list)


class Traffic:
    """A file of exchanges, one per line, and a recorder; without them, nothing is written.

    Both contain credentials: write the file to a private, temporary folder. `name` is that of the
    test.
    """

    def __init__(
        self, path: str | Path | None, recorder: Recorder | None = None, name: str = ""
    ) -> None:
        self._path = None if path is None else Path(path)
        self._recorder = recorder
        self._name = name
        self._latest: Exchange | None = None

    def write(self, request: Request, answer: Answer, started: datetime | None = None) -> None:
        """Append an exchange, which ends now."""
        if self._recorder is not None:
            now = datetime.now(UTC)
            began = started or now
            seconds = (now - began).total_seconds()
            self._latest = Exchange(self._name, request, answer, began, seconds)
            self._recorder.exchanges.append(self._latest)
        if self._path is None:
            return
        sent = [request.method, request.target, request.headers, request.body.decode(_BYTES)]
        received = [answer.status, answer.headers, answer.body.decode(_BYTES)]
        with self._path.open("a") as file:
            file.write(f"{json.dumps([sent, received])}\n")

    def mark_latest(self) -> None:
        """Note that the latest exchange is the one that the test is about."""
        if self._latest is not None:
            self._latest.is_step = False


def read_traffic(path: Path) -> Iterator[tuple[Request, Answer]]:
    """Yield the exchanges of a file in order."""
    with path.open() as file:
        for line in file:
            (method, target, sent, body), (status, received, content) = json.loads(line)
            yield (
                Request(method, target, _pairs(sent), body.encode(_BYTES)),
                Answer(status, _pairs(received), content.encode(_BYTES)),
            )


def _pairs(headers: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers)
