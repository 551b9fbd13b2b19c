"""Raw HTTP/1.1 over a socket, plain or TLS, with full control over each byte.

Client libraries refuse to send malformed requests and tolerate malformed responses, so this module
parses responses strictly by RFC 9112.
"""

import re
import socket
import ssl
import struct
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self
from urllib.parse import urlsplit

from oneself_conformance.http_client import Answer

__all__ = ["Address", "Connection", "Read", "parse_answers"]

_PORTS = {"http": 80, "https": 443}
_BLOCK = 65_536
#: The most bytes kept of one connection; no response to a probe is that long.
_MAX_BYTES = 4 * 1024 * 1024
_MAX_HEAD_BYTES = 65_536

_STATUSES_WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[\t ]*;[^\r\n]*)?\r\n")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a deployment; `trust` verifies its certificate."""

    scheme: str
    host: str
    port: int
    trust: ssl.SSLContext | None = None

    @classmethod
    def of_url(cls, url: str, trust: ssl.SSLContext | None = None) -> Self:
        """Parse the address in an http or https URL; raise `ValueError` for any other."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url} is not an http or https URL")
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], trust)

    @property
    def host_header(self) -> str:
        """The value of `Host`, without the default port (RFC 9110, section 7.2)."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Read:
    """Parsed bytes: complete responses, the fault in the next, and whether one is truncated."""

    answers: tuple[Answer, ...] = ()
    fault: str | None = None
    is_cut: bool = False

    @property
    def final(self) -> tuple[Answer, ...]:
        """The responses without interim ones (1xx)."""
        return tuple(answer for answer in self.answers if answer.status >= HTTPStatus.OK)


class Connection(AbstractContextManager["Connection"]):
    """A connection that keeps all received bytes."""

    def __init__(self, address: Address, *, seconds: float, plain: bool = False) -> None:
        """Connect within `seconds`, or raise `OSError`; `plain` never uses TLS."""
        self.received = b""
        self.is_closed = False
        self.was_reset = False
        self._socket = socket.create_connection((address.host, address.port), timeout=seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.scheme == "https" and not plain:
            trust = address.trust or ssl.create_default_context()
            try:
                self._socket = trust.wrap_socket(self._socket, server_hostname=address.host)
            except OSError:
                self._socket.close()
                raise

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, data: bytes, *, seconds: float) -> bool:
        """Send bytes, and return whether all were accepted in time."""
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def receive(self, *, seconds: float) -> bool:
        """Wait for bytes or the end, and return whether either came in time."""
        if self.is_closed:
            return False
        try:
            self._socket.settimeout(max(seconds, 0.001))
            data = self._socket.recv(_BLOCK)
        except TimeoutError:
            return False
        except OSError:
            self.is_closed = self.was_reset = True
            return True
        self.is_closed = not data
        self.received = (self.received + data)[:_MAX_BYTES]
        return True

    def read(
        self, count: int, *, seconds: float, quiet_seconds: float, bodiless: bool = False
    ) -> Read:
        """Read until the end, or until `count` responses came and then nothing for a while."""
        deadline = time.monotonic() + seconds
        while True:
            read = parse_answers(self.received, is_closed=self.is_closed, bodiless=bodiless)
            is_complete = len(read.final) >= count and not read.is_cut
            remaining = deadline - time.monotonic()
            # After malformed bytes no response can be delimited, so read to the end.
            timeout = min(remaining, quiet_seconds) if is_complete or read.fault else remaining
            if self.is_closed or timeout <= 0 or not self.receive(seconds=timeout):
                return read

    def half_close(self) -> None:
        """Close the sending side, and keep listening."""
        # Not the TLS socket's method, which would also drop the keys needed to read responses.
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST instead of FIN, as after a power failure."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class _MalformedError(ValueError):
    """Bytes that are not an HTTP/1.1 response; the message says where."""


class _CutShortError(ValueError):
    """A response that is not complete yet."""


def parse_answers(data: bytes, *, is_closed: bool, bodiless: bool = False) -> Read:
    """Parse bytes into responses, strictly by RFC 9112.

    `is_closed` means that no more bytes will follow, `bodiless` that they respond to HEAD.
    """
    answers: list[Answer] = []
    start = 0
    while start < len(data):
        try:
            answer, start = _next(data, start, is_closed=is_closed, bodiless=bodiless)
        except _MalformedError as error:
            return Read(tuple(answers), str(error))
        except _CutShortError:
            fault = "it breaks off" if is_closed else None
            return Read(tuple(answers), fault, is_cut=True)
        answers.append(answer)
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            break  # the following bytes are not HTTP
    return Read(tuple(answers))


def _next(data: bytes, start: int, *, is_closed: bool, bodiless: bool) -> tuple[Answer, int]:
    end = data.find(b"\r\n\r\n", start)
    if not b"HTTP/1.".startswith(data[start : start + 7]):
        raise _MalformedError("it does not begin with HTTP")
    if end < 0:
        if len(data) - start > _MAX_HEAD_BYTES:
            raise _MalformedError("its head does not end")
        raise _CutShortError
    first, *lines = data[start:end].split(b"\r\n")
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        raise _MalformedError("its status line is malformed")
    status = int(line[2])
    headers = tuple(_field(each) for each in lines)
    head = Answer(status, headers, b"")
    start = end + 4
    if bodiless or status < HTTPStatus.OK or status in _STATUSES_WITHOUT_BODY:
        return head, start
    body, start = _body(head, data, start, is_closed=is_closed)
    return Answer(status, headers, body), start


def _field(line: bytes) -> tuple[str, str]:
    field = _FIELD.fullmatch(line)
    if field is None:
        raise _MalformedError("one of its header lines is malformed")
    return field[1].decode("ascii"), field[2].decode("latin-1").rstrip("\t ")


def _body(head: Answer, data: bytes, start: int, *, is_closed: bool) -> tuple[bytes, int]:
    lengths, codings = head.values("content-length"), head.values("transfer-encoding")
    if lengths and codings:
        raise _MalformedError("it has a Content-Length and a Transfer-Encoding")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise _MalformedError("its Transfer-Encoding is not chunked")
        return _dechunk(data, start)
    if lengths:
        if len(set(lengths)) > 1 or not re.fullmatch("[0-9]{1,15}", lengths[0]):
            raise _MalformedError("its Content-Length is malformed")
        end = start + int(lengths[0])
        if end > len(data):
            raise _CutShortError
        return data[start:end], end
    if not is_closed:
        raise _CutShortError
    return data[start:], len(data)


def _dechunk(data: bytes, start: int) -> tuple[bytes, int]:
    body = b""
    while True:
        line = _CHUNK.match(data, start)
        if line is None:
            if b"\n" in data[start : start + 1024]:
                raise _MalformedError("one of its chunks has no size")
            raise _CutShortError
        size = int(line[1], 16)
        start = line.end()
        if size == 0:
            break
        if len(data) < start + size + 2:
            raise _CutShortError
        body += data[start : start + size]
        start += size + 2
        if data[start - 2 : start] != b"\r\n":
            raise _MalformedError("one of its chunks does not have the stated length")
    while True:
        end = data.find(b"\r\n", start)
        if end < 0:
            raise _CutShortError
        line_of_trailer, start = data[start:end], end + 2
        if not line_of_trailer:
            return body, start
        _field(line_of_trailer)
