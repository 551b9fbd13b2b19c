"""A proxy that breaks promises: what a judge must notice, put in front of our service."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from oneself.proving.asking import Answer, Request
from tests.support.service import Service

__all__ = ["Fault", "add_field", "answer_with", "drop_field", "drop_header", "faulty", "set_field"]

#: What becomes of an answer.
Fault = Callable[[Answer], Answer]

#: Those of one connection, which the proxy has of its own.
_OF_THE_CONNECTION = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


@contextmanager
def faulty(service: Service, faults: Mapping[tuple[str, str], Fault]) -> Iterator[str]:
    """The address of a proxy that passes all on, but breaks what (method, path) answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = tuple(
                (name, value)
                for name, value in self.headers.items()
                if name.lower() not in _OF_THE_CONNECTION
            )
            request = Request(self.command, self.path, headers, self.rfile.read(length))
            answer = service.ask(request)
            fault = faults.get((self.command, self.path.partition("?")[0]))
            if fault is not None:
                answer = fault(answer)
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            if answer.body or answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 # http.server's

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def set_field(name: str, value: Any) -> Fault:
    """A field of the object that is answered has another value, or is one too many."""
    return lambda answer: _with_body(answer, {**answer.json(), name: value})


add_field = set_field


def drop_field(name: str) -> Fault:
    """A field of the object that is answered is missing."""
    return lambda answer: _with_body(
        answer, {key: value for key, value in answer.json().items() if key != name}
    )


def drop_header(name: str) -> Fault:
    """A header is missing."""
    return lambda answer: replace(
        answer, headers=tuple(each for each in answer.headers if each[0].lower() != name)
    )


def answer_with(status: int, body: Any = None) -> Fault:
    """Another status; with a body, that instead of what was answered."""
    return lambda answer: replace(
        answer if body is None else _with_body(answer, body), status=status
    )


def _with_body(answer: Answer, content: Any) -> Answer:
    return replace(answer, body=json.dumps(content).encode())
