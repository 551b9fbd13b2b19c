"""A wrong proxy: the judges have to notice what it does to answers that were right."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

from oneself.conformance.http_client import Answer, Request, ask

__all__ = ["Spoil", "spoiled"]

#: What comes of an answer. It is given the request, and how to have it answered.
Spoil = Callable[[Request, Callable[[Request], Answer]], Answer]

#: What belongs to one connection and is made anew for the other (RFC 9110, section 7.6.1).
_OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@contextmanager
def spoiled(port: int, spoil: Spoil) -> Iterator[int]:
    """Answer, on a port of its own, as the one behind does, but for what is spoiled."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        #: Of a sender that says nothing, in seconds.
        timeout: ClassVar[int] = 5

        def _relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = tuple(
                (name, value)
                for name, value in self.headers.items()
                # Whoever asks this proxy by its name asks the service behind by its own.
                if name.lower() not in _OF_A_CONNECTION
                and (name.lower(), value) != ("host", f"127.0.0.1:{self.server.server_port}")
            )
            request = Request(self.command, self.path, headers, body)
            answer = spoil(request, lambda each: ask(f"http://127.0.0.1:{port}", each))
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _OF_A_CONNECTION:
                    self.send_header(name, value)
            if answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _relay  # noqa: N815 # its names
        do_OPTIONS = do_TRACE = do_QUERY = _relay  # noqa: N815 # as above

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name there
            """Say nothing: the tests do."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
