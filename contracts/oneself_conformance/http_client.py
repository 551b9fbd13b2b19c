"""HTTP/1.1 client that sends exactly the given headers."""

import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

FORM = "application/x-www-form-urlencoded"

#: The longest body printed in a curl command, in characters.
_MAX_CURL_BODY = 2000
#: The length that a dribbling request announces; it sends one byte of it.
_ANNOUNCED_LENGTH = "10"


@dataclass(frozen=True)
class Request:
    """A request as sent over the wire; with `dribbles`, its body is never completed."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    dribbles: bool = False

    def as_curl(self, url: str) -> str:
        """Return a shell command that repeats the request, as far as curl can."""
        words = ["curl", "--include", "--path-as-is", "--request", self.method]
        for name, value in self.headers:
            words += ["--header", f"{name}: {value}"]
        if self.dribbles:
            words += ["--header", f"Content-Length: {_ANNOUNCED_LENGTH}"]
        if self.body:
            text = self.body.decode(errors="replace")
            # A shell cannot pass every byte; pictures and long texts can be generated again.
            if "\N{REPLACEMENT CHARACTER}" in text:
                words += ["--data-binary", "@picture"]
            elif len(text) < _MAX_CURL_BODY:
                words += ["--data-raw", text]
            else:
                words += ["--data-binary", "@body"]
        return shlex.join([*words, url + self.target])


@dataclass(frozen=True)
class Answer:
    """A response as received."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return the values of a header in order."""
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def json(self) -> Any:
        """Parse the body as JSON, or as YAML if that is its type, or raise `ValueError`."""
        if self.values("content-type") != ["application/yaml"]:
            return json.loads(self.body)
        try:
            return yaml.load(self.body, Loader=yaml.CSafeLoader)
        except yaml.YAMLError as error:
            raise ValueError("the body is not YAML") from error


class _SingleSendConnection(HTTPConnection):
    """An HTTP connection that buffers a request and sends it in one piece on `flush`.

    A server that has read the head but not the body may respond early and close the connection.
    Whether it does must not depend on the load of the machine.
    """

    _unsent = b""

    def send(self, data: Any) -> None:
        self._unsent += data

    def flush(self) -> None:
        super().send(self._unsent)


class _SingleSendTlsConnection(_SingleSendConnection, HTTPSConnection):
    """The same over TLS, with certificate verification (`SSL_CERT_FILE` sets other roots)."""


def ask(url: str, request: Request, *, timeout: float = 30) -> Answer:
    """Send a request to the origin `url` over a new connection, and read the response.

    Raises:
        OSError, http.client.HTTPException: There was no response.
    """
    origin = urlsplit(url)
    kind = _SingleSendTlsConnection if origin.scheme == "https" else _SingleSendConnection
    connection = kind(origin.hostname or "", origin.port, timeout=timeout)
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
            connection.putheader("Content-Length", _ANNOUNCED_LENGTH)
        elif "content-length" not in names and (
            request.body or request.method in {"POST", "PUT", "PATCH"}
        ):
            connection.putheader("Content-Length", str(len(request.body)))
        # A server may respond and close the connection before the request is complete.
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
    """Build a request with a JSON body, or without a body if None."""
    if body is None:
        return Request(method, path, headers)
    typed_headers = (*headers, ("Content-Type", "application/json"))
    return Request(method, path, typed_headers, json.dumps(body).encode())


def form_request(
    path: str, fields: Mapping[str, object], headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    """Build a POST with a form; a list repeats the field."""
    typed_headers = (*headers, ("Content-Type", FORM))
    return Request("POST", path, typed_headers, urlencode(fields, doseq=True).encode())
