"""Recorded requests and responses, from which coverage of the document is computed."""

import json
from collections.abc import Iterator
from pathlib import Path

from oneself_conformance.http_client import Answer, Request

#: JSON has no bytes; this encoding has a character for each.
_BYTES = "latin-1"


class Traffic:
    """A file of exchanges, one per line; without a path, nothing is written.

    It contains credentials: write it to a private, temporary folder.
    """

    def __init__(self, path: str | Path | None) -> None:
        self._path = None if path is None else Path(path)

    def write(self, request: Request, answer: Answer) -> None:
        """Append an exchange."""
        if self._path is None:
            return
        sent = [request.method, request.target, request.headers, request.body.decode(_BYTES)]
        received = [answer.status, answer.headers, answer.body.decode(_BYTES)]
        with self._path.open("a") as file:
            file.write(f"{json.dumps([sent, received])}\n")


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
