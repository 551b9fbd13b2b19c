"""A minimal HTTP/1.1 client: sends exact bytes, and reads answers as they are."""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.support.deadlines import patient

__all__ = ["Answer", "Wire", "ask", "head_of", "request_of"]

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are in lower case and in their order."""

    status: int
    version: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def every(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for header, value in self.headers if header == name]

    def header(self, name: str) -> str | None:
        """Return the value of a header that occurs at most once."""
        values = self.every(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    @property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Return the refusal's code, in any dialect."""
        body = self.json
        if not isinstance(body, dict) or ("errors" in body and "error" not in body):
            return None
        if isinstance(body.get("error"), dict):
            return str(body["error"]["code"])
        if isinstance(body.get("detail"), list) and "error" not in body:
            return str(body["detail"][0]["type"])
        return str(body.get("code") or body.get("error"))


class Wire:
    """One connection, over TCP to a loopback port unless another one is given."""

    def __init__(
        self, port: int, *, timeout: float = _PATIENCE, connection: socket.socket | None = None
    ) -> None:
        self.socket = connection or socket.create_connection(
            ("127.0.0.1", port), timeout=patient(timeout)
        )
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reader.close()
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Send bytes; return False when the other side does not take them all."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def answer(self, method: str = "GET") -> Answer | None:
        """Read the next answer; None if the connection was closed instead."""
        while True:
            try:
                line = self._reader.readline()
                if not line:
                    return None
                answer = self._read(line, method)
            except ConnectionResetError:
                return None
            if answer.status >= 200:
                return answer

    def answers(self) -> list[Answer]:
        """Read all answers until the connection is closed."""
        answers = []
        while (answer := self.answer()) is not None:
            answers.append(answer)
        return answers

    def seconds_until_closed(self) -> float:
        """Read until the other side closes, and return the seconds."""
        began = time.monotonic()
        with suppress(ConnectionResetError):
            while self._reader.read1(65_536):
                pass
        return time.monotonic() - began

    def _read(self, line: bytes, method: str) -> Answer:
        version, status, *_ = line.decode("ascii").split(" ", 2)
        headers = []
        while (line := self._reader.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").rstrip("\r\n").partition(":")
            headers.append((name.lower(), value.strip()))
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        assert not any(name == "transfer-encoding" for name, _ in headers)
        bodiless = method == "HEAD" or int(status) < 200 or int(status) in {204, 304}
        body = b"" if bodiless else self._reader.read(length)
        return Answer(int(status), version, tuple(headers), body)


def head_of(
    method: str, target: str, headers: Mapping[str, str | None] | None = None, *, host: str
) -> bytes:
    """Return the head of a request; a header that is None is left out."""
    lines = [f"{method} {target} HTTP/1.1"]
    fields = {"Host": host, **(headers or {})}
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def request_of(
    method: str,
    target: str,
    headers: Mapping[str, str | None] | None = None,
    body: Any = None,
    *,
    host: str,
) -> bytes:
    """Return a request after which the connection is closed; other bodies than bytes are JSON."""
    fields: dict[str, str | None] = {"Connection": "close"}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    head = head_of(method, target, {**fields, **(headers or {})}, host=host)
    return head + (content if body is not None else b"")


def ask(
    port: int,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str | None] | None = None,
    body: Any = None,
    host: str = "localhost",
    timeout: float = _PATIENCE,
) -> Answer:
    """Send one request on a connection of its own."""
    with Wire(port, timeout=timeout) as wire:
        wire.send(request_of(method, target, headers, body, host=host))
        answer = wire.answer(method)
        assert answer is not None, "the connection was closed without an answer"
        return answer
