"""What was asked and answered, written down for whoever counts how much of the document that is."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from oneself.conformance.http_client import Answer, Request

__all__ = ["Traffic", "read_traffic"]


class Traffic:
    """A file of exchanges, one a line; with no file, nothing is written.

    There are credentials in it: it is for a folder that nobody else reads and that is thrown away.
    """

    def __init__(self, path: str | Path | None) -> None:
        self._path = None if path is None else Path(path)

    def write(self, request: Request, answer: Answer) -> None:
        """Add one exchange at the end."""
        if self._path is None:
            return
        line = json.dumps(
            [
                [request.method, request.target, request.headers, _text(request.body)],
                [answer.status, answer.headers, _text(answer.body)],
            ]
        )
        with self._path.open("a") as file:
            file.write(f"{line}\n")


def read_traffic(path: Path) -> Iterator[tuple[Request, Answer]]:
    """Each exchange in a file, in the order they came.

    Raises:
        OSError: There is no such file.
    """
    with path.open() as file:
        for line in file:
            (method, target, sent, body), (status, got, content) = json.loads(line)
            yield (
                Request(method, target, _pairs(sent), base64.b64decode(body)),
                Answer(status, _pairs(got), base64.b64decode(content)),
            )


def _pairs(headers: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
