"""One request and its answer over HTTP/1.1, with every header in the asker's own hands."""

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

__all__ = ["FORM", "Answer", "Request", "ask", "form_request", "json_request"]

FORM = "application/x-www-form-urlencoded"

_SECONDS = 30
#: The longest body that is pasted into a shell, in characters.
_PASTED = 2000
#: What the head of a dribbling request says will follow; one byte of it does.
_ANNOUNCED = "10"


@dataclass(frozen=True)
class Request:
    """One request as it goes over the wire; one that dribbles never sends all of its body."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    dribbles: bool = False

    def as_curl(self, url: str) -> str:
        """A line for a shell that repeats it, as far as curl can."""
        words = ["curl", "--include", "--path-as-is", "--request", self.method]
        for name, value in self.headers:
            words += ["--header", f"{name}: {value}"]
        if self.dribbles:
            words += ["--header", f"Content-Length: {_ANNOUNCED}"]
        if self.body:
            text = self.body.decode(errors="replace")
            # No shell passes every byte on; what was made for the row can be made again.
            words += (
                ["--data-binary", "@picture"]
                if "\N{REPLACEMENT CHARACTER}" in text
                else ["--data-raw", text if len(text) < _PASTED else f"{text[:20]}…"]
            )
        return shlex.join([*words, url + self.target])


@dataclass(frozen=True)
class Answer:
    """One answer as it came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Each value of a header, in the order they came."""
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.body)


class _InOnePiece(HTTPConnection):
    """Sends a request as one piece, when it is told to.

    A server that has seen the head and not the body yet may answer, and then closes the connection
    and says so; which of the two it sees must not depend on how busy the machine is.
    """

    _held = b""

    def send(self, data: Any) -> None:
        self._held += data

    def flush(self) -> None:
        super().send(self._held)


class _InOnePieceOverTls(_InOnePiece, HTTPSConnection):
    """The same over TLS, with the certificate verified (`SSL_CERT_FILE` names other roots)."""


def ask(url: str, request: Request) -> Answer:
    """Send a request to the origin `url` over a connection of its own, and read the answer.

    Raises:
        OSError, http.client.HTTPException: There was no answer.
    """
    origin = urlsplit(url)
    kind = _InOnePieceOverTls if origin.scheme == "https" else _InOnePiece
    connection = kind(origin.hostname or "", origin.port, timeout=_SECONDS)
    try:
        connection.putrequest(
            request.method, request.target, skip_host=True, skip_accept_encoding=True
        )
        names = {name.lower() for name, _ in request.headers}
        if "host" not in names:
            connection.putheader("Host", origin.netloc)
        for name, value in request.headers:
            connection.putheader(name, value)
        if request.dribbles:
            connection.putheader("Content-Length", _ANNOUNCED)
        elif "content-length" not in names and (
            request.body or request.method in {"POST", "PUT", "PATCH"}
        ):
            connection.putheader("Content-Length", str(len(request.body)))
        # A server that has seen enough may answer and hang up before all is sent.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(request.body[:1] if request.dribbles else request.body)
            connection.flush()
        response = connection.getresponse()
        return Answer(response.status, tuple(response.getheaders()), response.read())
    finally:
        connection.close()


def json_request(
    method: str, path: str, body: object = None, headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    """A request with a body of JSON, or with none."""
    if body is None:
        return Request(method, path, headers)
    typed = (*headers, ("Content-Type", "application/json"))
    return Request(method, path, typed, json.dumps(body).encode())


def form_request(
    path: str, fields: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    """A POST with a form; a field that is a list stands in it as often."""
    typed = (*headers, ("Content-Type", FORM))
    return Request("POST", path, typed, urlencode(fields, doseq=True).encode())
