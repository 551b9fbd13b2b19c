"""A proxy that tampers with responses, to test that the conformance checks notice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

from oneself_conformance.http_client import Answer, Request, ask

__all__ = ["Tamper", "tampering_proxy"]

#: Returns the response to a request; the second argument fetches the original one.
Tamper = Callable[[Request, Callable[[Request], Answer]], Answer]

#: Hop-by-hop headers, which each connection sets itself (RFC 9110, section 7.6.1).
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@contextmanager
def tampering_proxy(port: int, tamper: Tamper) -> Iterator[int]:
    """Run a proxy on a port of its own that tampers with the responses of `port`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        #: Seconds until an idle connection is closed.
        timeout: ClassVar[int] = 5

        def _relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = tuple(
                (name, value)
                for name, value in self.headers.items()
                # Requests to the proxy's own address get the address of the service as Host.
                if name.lower() not in _HOP_BY_HOP
                and (name.lower(), value) != ("host", f"127.0.0.1:{self.server.server_port}")
            )
            request = Request(self.command, self.path, headers, body)
            answer = tamper(request, lambda forwarded: ask(f"http://127.0.0.1:{port}", forwarded))
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            if answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _relay  # noqa: N815 # names of the base class
        do_OPTIONS = do_TRACE = do_QUERY = _relay  # noqa: N815 # as above

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name in the base class
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
