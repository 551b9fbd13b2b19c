"""Recorded requests and responses, from which coverage of the document is computed."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from oneself.conformance.http_client import Answer, Request

__all__ = ["Traffic", "read_traffic"]


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
        line = json.dumps(
            [
                [request.method, request.target, request.headers, _encode(request.body)],
                [answer.status, answer.headers, _encode(answer.body)],
            ]
        )
        with self._path.open("a") as file:
            file.write(f"{line}\n")


def read_traffic(path: Path) -> Iterator[tuple[Request, Answer]]:
    """Yield the exchanges of a file in order.

    Raises:
        OSError: There is no such file.
    """
    with path.open() as file:
        for line in file:
            (method, target, request_headers, body), (status, answer_headers, content) = json.loads(
                line
            )
            yield (
                Request(method, target, _pairs(request_headers), base64.b64decode(body)),
                Answer(status, _pairs(answer_headers), base64.b64decode(content)),
            )


def _pairs(headers: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers)


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode()
