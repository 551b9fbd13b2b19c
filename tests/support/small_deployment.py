"""A deployment of two operations that passes all probes, unless it has a flaw."""

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from oneself.http.request.bodies import parse_json
from oneself.http.request.errors import MalformedBody
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Address

__all__ = ["EXAMPLE", "SECRET", "running_deployment"]

SECRET = "a-credential-of-the-owner"
EXAMPLE = {"name": "ci", "count": 1}

#: Slower senders are disconnected, which breaks no promise even on a busy machine.
_DEADLINE = 1.0
_TIMEOUT = 3.0
#: Longer than anything that a deployment does here, however busy the machine is.
_FOREVER = 60.0
_MOST_HEAD, _MOST_BODY = 16_384, 65_536
_METHODS = {"/api/health": {"GET"}, "/api/me": {"GET", "HEAD"}, "/api/keys": {"POST"}}
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")


class _Rejected(Exception):
    """A status, after which nothing more is read."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class _Received:
    """A request, as far as it could be parsed."""

    raw: bytes
    method: str = ""
    target: str = ""
    version: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def every(self, name: str) -> list[str]:
        return [value for item, value in self.fields if item.lower() == name]

    @property
    def closes(self) -> bool:
        return self.version == "HTTP/1.0" or self.every("connection") == ["close"]


class _Deployment:
    """A deployment with the flaw of this name; the empty string means none."""

    def __init__(self, flaw: str, deadline: float) -> None:
        self.flaw = flaw
        self.deadline = deadline
        self.host = ""
        self.turn = asyncio.Lock()
        self.server: asyncio.Server | None = None
        #: All connections so far, in the order in which they were accepted.
        self.connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.is_unhealthy = False
        self.has_seen_owner = False

    async def open(self, keys: ssl.SSLContext | None) -> int:
        """Start to listen, and return the port."""
        self.server = await asyncio.start_server(
            self._accept,
            "127.0.0.1",
            0,
            limit=_MOST_HEAD,
            backlog=512,
            ssl=keys,
            ssl_handshake_timeout=self.deadline if keys else None,
        )
        port: int = self.server.sockets[0].getsockname()[1]
        self.host = f"localhost:{port}"
        return port

    async def close(self) -> None:
        """Close all connections and the server."""
        assert self.server is not None
        self.server.close()
        # Each accepted connection has a task by now. One that never started to run would not close
        # its socket.
        await asyncio.sleep(0)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            self._hang_up()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._hang_up()
        closed = [writer.wait_closed() for writer in self.connections.values()]
        await asyncio.gather(*closed, return_exceptions=True)

    def _hang_up(self) -> None:
        # Closing would wait for clients that do not read.
        for writer in self.connections.values():
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine, from which the server would create a task: cancelled before it starts to
        # run, it would never close its connection.
        self.connections[asyncio.get_running_loop().create_task(self._serve(reader, writer))] = (
            writer
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.flaw == "serves one after the other":
                async with self.turn:
                    await self._serve_requests(reader, writer)
            else:
                await self._serve_requests(reader, writer)
        except (OSError, asyncio.CancelledError):
            # The client has disconnected, or the test is over.
            self.is_unhealthy = self.is_unhealthy or self.flaw == "is sick when somebody breaks off"
        finally:
            with suppress(OSError):
                writer.close()

    async def _serve_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.flaw in _ALWAYS:
            await self._answer_always(reader, writer)
            return
        goes_on = True
        while goes_on:
            try:
                goes_on = await self._answer_one(reader, writer)
            except _Rejected as rejected:
                goes_on = False
                writer.write(_answer(rejected.status, close=True))
            except (asyncio.LimitOverrunError, ValueError):
                goes_on = False
                writer.write(_answer(431, close=True))
        if self.flaw == "never closes":
            await asyncio.sleep(_FOREVER)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether another may follow."""
        try:
            request = await self._read(reader, writer)
        except TimeoutError:
            if self.flaw == "waits for ever":
                await asyncio.sleep(_FOREVER)
            return False
        if request is None:
            return False
        if self.flaw == "is sick when somebody breaks off" and request.target == "/api/health":
            # Earlier clients have disconnected by now; their tasks must notice that first.
            await asyncio.gather(
                *(item for item in self.connections if item is not asyncio.current_task())
            )
        answer = self._answer(request)
        if self.flaw == "closes instead of a 400" and b" 400 " in answer[:20]:
            return False
        if request.body.startswith(b"[" * 1000):
            # Before the response, after which the next request may come at any time.
            self.is_unhealthy = self.is_unhealthy or self.flaw == "is sick after a deep body"
            if self.flaw == "stops after a deep body" and self.server is not None:
                self.server.close()
        writer.write(answer)
        await writer.drain()
        return not request.closes or self.flaw == "ignores Connection"

    async def _answer_always(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        first = b""
        # A silent client gets the same response at the deadline.
        with suppress(TimeoutError):
            async with asyncio.timeout(self.deadline):
                first = await reader.read(_MOST_HEAD)
        is_health = first.startswith(b"GET /api/health ")
        writer.write(_answer(200, close=True) if is_health else _ALWAYS[self.flaw])
        await writer.drain()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> _Received | None:
        try:
            raw = await self._head(reader)
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise _Rejected(400) from error
            return None
        request = _Received(raw)
        lines = raw[:-4].decode("latin-1").split("\r\n")
        if self.flaw == "answers in HTTP/0.9" and not lines[0].endswith(("1.0", "1.1")):
            writer.write(b"a page\n")
            return None
        if self.flaw == "never answers what is folded" and any(
            line.startswith(" ") for line in lines
        ):
            await asyncio.sleep(_FOREVER)
        self._parse(request, lines)
        if self.flaw == "does not wait for bodies" and not request.every("authorization"):
            return request
        try:
            async with asyncio.timeout(self.deadline):
                request.body = await self._body(request, reader, writer)
        except asyncio.IncompleteReadError as error:
            raise _Rejected(400) from error
        except TimeoutError as error:
            if self.flaw == "waits for ever":
                raise
            raise _Rejected(408) from error
        return request

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        if self.flaw != "counts the time from each line anew":
            async with asyncio.timeout(self.deadline):
                return await reader.readuntil(b"\r\n\r\n")
        raw = b""
        while not raw.endswith(b"\r\n\r\n"):
            async with asyncio.timeout(_FOREVER):
                raw += await reader.readuntil(b"\r\n")
        return raw

    def _parse(self, request: _Received, lines: list[str]) -> None:
        if self.flaw == "fails at a NUL" and b"\0" in request.raw:
            raise _Rejected(500)
        words = lines[0].split(" ")
        if len(words) != 3 or not words[1].startswith("/") or not re.fullmatch("[!-~]+", words[1]):
            raise _Rejected(400)
        request.method, request.target, request.version = words
        if request.version not in {"HTTP/1.0", "HTTP/1.1"} or not request.method.isascii():
            raise _Rejected(400)
        fields = [_FIELD.fullmatch(line) for line in lines[1:]]
        if not all(fields) or not re.fullmatch(_FIELD.pattern.partition(":")[0], request.method):
            raise _Rejected(400)
        request.fields = tuple((item[1], item[2]) for item in fields if item)
        if request.every("host") != [self.host] and self.flaw != "takes any host":
            raise _Rejected(421)

    async def _body(
        self, request: _Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        lengths, codings = request.every("content-length"), request.every("transfer-encoding")
        if self.flaw == "believes the length, not the chunks" and lengths:
            codings = []
        if (codings and (codings != ["chunked"] or lengths or request.closes)) or len(lengths) > 1:
            raise _Rejected(400)
        if request.every("expect") and (lengths or codings):
            if request.every("expect") != ["100-continue"]:
                raise _Rejected(417)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not codings:
            if lengths and not re.fullmatch("[0-9]{1,19}", lengths[0]):
                raise _Rejected(400)
            length = int(lengths[0]) if lengths else 0
            if length > _MOST_BODY:
                raise _Rejected(413)
            return await reader.readexactly(length)
        return await self._chunks(reader)

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body, size = b"", -1
        while size:
            line = await reader.readuntil(b"\r\n")
            if not re.fullmatch(rb"[0-9a-f]{1,8}(;[^\r\n]{0,100})?\r\n", line):
                raise _Rejected(400)
            size = int(line.strip().split(b";")[0], 16)
            if len(body) + size > _MOST_BODY:
                raise _Rejected(413)
            body += await reader.readexactly(size)
            # Anything but an end of line is rejected, including trailers.
            if await reader.readexactly(2) != b"\r\n" and self.flaw != "knows no trailers":
                raise _Rejected(400)
        return body

    def _answer(self, request: _Received) -> bytes:
        flawed = self._flawed_answer(request)
        if flawed is not None:
            return flawed
        path, _, query = request.target.partition("?")
        if path not in _METHODS:
            return _answer(404, close=request.closes)
        if request.method not in _METHODS[path]:
            return _answer(405, extra=self._allow(request, _METHODS[path]), close=request.closes)
        status = 503 if self.is_unhealthy else 200
        if path != "/api/health":
            has_query = query or "?" in request.target
            status = self._status_for_owner(request, has_query=bool(has_query))
        body = b"{}" if self.flaw == "HEAD has a body" or request.method != "HEAD" else b""
        return _answer(status, body, bodiless=not body, close=request.closes)

    def _flawed_answer(self, request: _Received) -> bytes | None:
        """Return the answer that only a flaw gives, or None."""
        path, close = request.target, request.closes
        if self.flaw == "upgrades" and request.every("upgrade"):
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0\4\0"
        if self.flaw == "lets in by another case" and path != path.lower():
            return _answer(200, close=close)
        if self.flaw == "redirects what ends in a slash" and path.endswith("/"):
            return _answer(308, extra={"Location": path[:-1]}, close=close)
        if self.flaw == "names the path that is not there" and path not in _METHODS:
            return _answer(404, path.encode(), close=close)
        if self.flaw == "sends a TRACE back" and request.method == "TRACE":
            return _answer(405, request.raw, extra={"Allow": "GET, HEAD"}, close=close)
        return None

    def _status_for_owner(self, request: _Received, *, has_query: bool) -> int:
        owner = request.every("authorization") == [f"Bearer {SECRET}"]
        self.has_seen_owner = self.has_seen_owner or owner
        if not owner and not (self.flaw == "remembers who asked before" and self.has_seen_owner):
            return 401
        if request.method == "POST":
            return self._status_of_body(request)
        return 400 if has_query or request.body else 200

    def _allow(self, request: _Received, methods: set[str]) -> Mapping[str, str]:
        allow = {
            "says no Allow": None,
            "allows what it refuses": ", ".join({*methods, request.method}),
            "allows what there is not": ", ".join({*methods, "DELETE"}),
            "allows no methods": "everything (but this)",
        }.get(self.flaw, ", ".join(methods))
        return {} if allow is None else {"Allow": allow}

    def _status_of_body(self, request: _Received) -> int:
        if request.every("content-encoding") or request.every("content-type") != [
            "application/json"
        ]:
            return 415
        try:
            content: Any = parse_json(request.body)
        except MalformedBody:
            return 201 if self.flaw == "takes any body" else 400
        kinds = {"name": str, "count": int}
        right = isinstance(content, dict) and content.keys() == kinds.keys()
        if right and all(type(content[name]) is kind for name, kind in kinds.items()):
            return 201
        return 400


def _answer(
    status: int,
    body: bytes = b"{}",
    *,
    extra: Mapping[str, str] | None = None,
    bodiless: bool = False,
    close: bool = False,
) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) or 2}"]
    lines += [f"{name}: {value}" for name, value in (extra or {}).items()]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if bodiless else body)


#: Responses of a deployment to all requests except health checks.
_ALWAYS: Mapping[str, bytes] = {
    "always fails": _answer(500, close=True),
    "always agrees": _answer(200, close=True),
    "always babbles": b"220 ready\r\n",
    "always breaks off": b"HTTP/1.1 400 Said\r\nContent-Length: 9\r\n\r\n{}",
    "always answers sixty times": _answer(400) * 60,
}


@contextmanager
def running_deployment(
    flaw: str = "",
    trust: ssl.SSLContext | None = None,
    keys: ssl.SSLContext | None = None,
    deadline: float = _DEADLINE,
) -> Iterator[ProbeTarget]:
    """Run a deployment in a thread of its own, over TLS if it gets `keys`."""
    deployment, loop = _Deployment(flaw, deadline), asyncio.new_event_loop()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(deployment.open(keys), loop).result(_FOREVER)
        try:
            yield ProbeTarget(
                Address("https" if keys else "http", "localhost", port, trust),
                host=deployment.host,
                read="/api/me",
                post="/api/keys",
                example=EXAMPLE,
                credential=f"Authorization: Bearer {SECRET}",
                health="/api/health",
                read_methods=frozenset({"GET"}),
                deadline_seconds=deadline,
                timeout_seconds=_TIMEOUT,
            )
        finally:
            asyncio.run_coroutine_threadsafe(deployment.close(), loop).result(_FOREVER)
    finally:
        # Even after an error: a running loop would keep the process from exiting.
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
