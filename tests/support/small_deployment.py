"""A deployment of two operations that keeps every promise of the probes, and can break any one."""

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from accounts.errors import MalformedBody
from oneself.conformance.probes.target import ProbeTarget
from oneself.conformance.probes.wire import Address
from oneself.http.request.bodies import parse_json

__all__ = ["EXAMPLE", "SECRET", "deployed"]

SECRET = "a-credential-of-somebody"
EXAMPLE = {"name": "ci", "count": 1}

#: A sender that the machine keeps waiting for longer is hung up on, and no promise is broken by it.
_DEADLINE = 1.0
_PATIENCE = 3.0
#: None of what a deployment here does by itself takes so long, however busy the machine is.
_AGES = 60.0
_MOST_HEAD, _MOST_BODY = 16_384, 65_536
_METHODS = {"/api/health": {"GET"}, "/api/me": {"GET", "HEAD"}, "/api/keys": {"POST"}}
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*?)[ \t]*")


class _Refused(Exception):
    """A status, after which nothing more is read."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass
class _Asked:
    """One request, as far as it could be read."""

    raw: bytes
    method: str = ""
    target: str = ""
    version: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def every(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each.lower() == name]

    @property
    def closes(self) -> bool:
        return self.version == "HTTP/1.0" or self.every("connection") == ["close"]


class _Deployment:
    """`flaw` is the one thing that it does wrong; the empty word is none."""

    def __init__(self, flaw: str, deadline: float) -> None:
        self.flaw = flaw
        self.deadline = deadline
        self.host = ""
        self.turn = asyncio.Lock()
        self.server: asyncio.Server | None = None
        #: Whoever was ever met, in that order.
        self.met: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.is_sick = False
        self.has_met_owner = False

    async def open(self, keys: ssl.SSLContext | None) -> int:
        """Begin to listen; the port."""
        self.server = await asyncio.start_server(
            self._meet,
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
        """Hang up on everybody, and leave no socket open."""
        assert self.server is not None
        self.server.close()
        # Each connection that was accepted has a task by now, and one that never began to run
        # would leave its socket to nobody.
        await asyncio.sleep(0)
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            self._hang_up()
            for task in others:
                task.cancel()
            await asyncio.wait(others)
        self._hang_up()
        closed = [writer.wait_closed() for writer in self.met.values()]
        await asyncio.gather(*closed, return_exceptions=True)

    def _hang_up(self) -> None:
        # Closing would wait for whoever does not read.
        for writer in self.met.values():
            writer.transport.abort()

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine for the server to make a task of: cancelled before it began to run, it
        # would never close its connection.
        self.met[asyncio.get_running_loop().create_task(self._serve(reader, writer))] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.flaw == "serves one after the other":
                async with self.turn:
                    await self._converse(reader, writer)
            else:
                await self._converse(reader, writer)
        except (OSError, asyncio.CancelledError):
            # The other side is gone, or the test is over.
            self.is_sick = self.is_sick or self.flaw == "is sick when somebody breaks off"
        finally:
            with suppress(OSError):
                writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.flaw in _ALWAYS:
            await self._always(reader, writer)
            return
        goes_on = True
        while goes_on:
            try:
                goes_on = await self._answer_one(reader, writer)
            except _Refused as refused:
                goes_on = False
                writer.write(_answer(refused.status, close=True))
            except (asyncio.LimitOverrunError, ValueError):
                goes_on = False
                writer.write(_answer(431, close=True))
        if self.flaw == "never closes":
            await asyncio.sleep(_AGES)

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow."""
        try:
            asked = await self._read(reader, writer)
        except TimeoutError:
            if self.flaw == "waits for ever":
                await asyncio.sleep(_AGES)
            return False
        if asked is None:
            return False
        if self.flaw == "is sick when somebody breaks off" and asked.target == "/api/health":
            # Those who came before have broken off by now, and are noticed first.
            await asyncio.gather(*(each for each in self.met if each is not asyncio.current_task()))
        answer = self._answer(asked)
        if self.flaw == "closes instead of a 400" and b" 400 " in answer[:20]:
            return False
        if asked.body.startswith(b"[" * 1000):
            # Before the answer, after which somebody else may ask at any moment.
            self.is_sick = self.is_sick or self.flaw == "is sick after a deep body"
            if self.flaw == "stops after a deep body" and self.server is not None:
                self.server.close()
        writer.write(answer)
        await writer.drain()
        return not asked.closes or self.flaw == "ignores Connection"

    async def _always(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = b""
        # Whoever says nothing is told the same, at the deadline.
        with suppress(TimeoutError):
            async with asyncio.timeout(self.deadline):
                first = await reader.read(_MOST_HEAD)
        is_health = first.startswith(b"GET /api/health ")
        writer.write(_answer(200, close=True) if is_health else _ALWAYS[self.flaw])
        await writer.drain()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> _Asked | None:
        try:
            raw = await self._head(reader)
        except asyncio.IncompleteReadError as broken:
            if broken.partial:
                raise _Refused(400) from broken
            return None
        asked = _Asked(raw)
        lines = raw[:-4].decode("latin-1").split("\r\n")
        if self.flaw == "answers in HTTP/0.9" and not lines[0].endswith(("1.0", "1.1")):
            writer.write(b"a page\n")
            return None
        if self.flaw == "never answers what is folded" and any(
            line.startswith(" ") for line in lines
        ):
            await asyncio.sleep(_AGES)
        self._parse(asked, lines)
        if self.flaw == "does not wait for bodies" and not asked.every("authorization"):
            return asked
        try:
            async with asyncio.timeout(self.deadline):
                asked.body = await self._body(asked, reader, writer)
        except asyncio.IncompleteReadError as broken:
            raise _Refused(400) from broken
        except TimeoutError as late:
            if self.flaw == "waits for ever":
                raise
            raise _Refused(408) from late
        return asked

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        if self.flaw != "counts the time from each line anew":
            async with asyncio.timeout(self.deadline):
                return await reader.readuntil(b"\r\n\r\n")
        raw = b""
        while not raw.endswith(b"\r\n\r\n"):
            async with asyncio.timeout(_AGES):
                raw += await reader.readuntil(b"\r\n")
        return raw

    def _parse(self, asked: _Asked, lines: list[str]) -> None:
        if self.flaw == "fails at a NUL" and b"\0" in asked.raw:
            raise _Refused(500)
        words = lines[0].split(" ")
        if len(words) != 3 or not words[1].startswith("/") or not re.fullmatch("[!-~]+", words[1]):
            raise _Refused(400)
        asked.method, asked.target, asked.version = words
        if asked.version not in {"HTTP/1.0", "HTTP/1.1"} or not asked.method.isascii():
            raise _Refused(400)
        fields = [_FIELD.fullmatch(line) for line in lines[1:]]
        if not all(fields) or not re.fullmatch(_FIELD.pattern.partition(":")[0], asked.method):
            raise _Refused(400)
        asked.fields = tuple((each[1], each[2]) for each in fields if each)
        if asked.every("host") != [self.host] and self.flaw != "takes any host":
            raise _Refused(421)

    async def _body(
        self, asked: _Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        lengths, codings = asked.every("content-length"), asked.every("transfer-encoding")
        if self.flaw == "believes the length, not the chunks" and lengths:
            codings = []
        if (codings and (codings != ["chunked"] or lengths or asked.closes)) or len(lengths) > 1:
            raise _Refused(400)
        if asked.every("expect") and (lengths or codings):
            if asked.every("expect") != ["100-continue"]:
                raise _Refused(417)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not codings:
            if lengths and not re.fullmatch("[0-9]{1,19}", lengths[0]):
                raise _Refused(400)
            wanted = int(lengths[0]) if lengths else 0
            if wanted > _MOST_BODY:
                raise _Refused(413)
            return await reader.readexactly(wanted)
        return await self._chunks(reader)

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body, size = b"", -1
        while size:
            line = await reader.readuntil(b"\r\n")
            if not re.fullmatch(rb"[0-9a-f]{1,8}(;[^\r\n]{0,100})?\r\n", line):
                raise _Refused(400)
            size = int(line.strip().split(b";")[0], 16)
            if len(body) + size > _MOST_BODY:
                raise _Refused(413)
            body += await reader.readexactly(size)
            # A trailer is refused like anything else that is no end of line.
            if await reader.readexactly(2) != b"\r\n" and self.flaw != "knows no trailers":
                raise _Refused(400)
        return body

    def _answer(self, asked: _Asked) -> bytes:
        flawed = self._flawed(asked)
        if flawed is not None:
            return flawed
        path, _, query = asked.target.partition("?")
        if path not in _METHODS:
            return _answer(404, close=asked.closes)
        if asked.method not in _METHODS[path]:
            return _answer(405, extra=self._allow(asked, _METHODS[path]), close=asked.closes)
        status = 503 if self.is_sick else 200
        if path != "/api/health":
            has_query = query or "?" in asked.target
            status = self._status_for_owner(asked, has_query=bool(has_query))
        body = b"{}" if self.flaw == "HEAD has a body" or asked.method != "HEAD" else b""
        return _answer(status, body, bodiless=not body, close=asked.closes)

    def _flawed(self, asked: _Asked) -> bytes | None:
        """An answer that only a flaw gives."""
        path, close = asked.target, asked.closes
        if self.flaw == "upgrades" and asked.every("upgrade"):
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0\4\0"
        if self.flaw == "lets in by another case" and path != path.lower():
            return _answer(200, close=close)
        if self.flaw == "redirects what ends in a slash" and path.endswith("/"):
            return _answer(308, extra={"Location": path[:-1]}, close=close)
        if self.flaw == "names the path that is not there" and path not in _METHODS:
            return _answer(404, path.encode(), close=close)
        if self.flaw == "sends a TRACE back" and asked.method == "TRACE":
            return _answer(405, asked.raw, extra={"Allow": "GET, HEAD"}, close=close)
        return None

    def _status_for_owner(self, asked: _Asked, *, has_query: bool) -> int:
        owner = asked.every("authorization") == [f"Bearer {SECRET}"]
        self.has_met_owner = self.has_met_owner or owner
        if not owner and not (self.flaw == "remembers who asked before" and self.has_met_owner):
            return 401
        if asked.method == "POST":
            return self._judge(asked)
        return 400 if has_query or asked.body else 200

    def _allow(self, asked: _Asked, methods: set[str]) -> Mapping[str, str]:
        said = {
            "says no Allow": None,
            "allows what it refuses": ", ".join({*methods, asked.method}),
            "allows what there is not": ", ".join({*methods, "DELETE"}),
            "allows no methods": "everything (but this)",
        }.get(self.flaw, ", ".join(methods))
        return {} if said is None else {"Allow": said}

    def _judge(self, asked: _Asked) -> int:
        if asked.every("content-encoding") or asked.every("content-type") != ["application/json"]:
            return 415
        try:
            content: Any = parse_json(asked.body)
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


#: What a deployment says to everybody but its guardian, whatever was asked.
_ALWAYS: Mapping[str, bytes] = {
    "always fails": _answer(500, close=True),
    "always agrees": _answer(200, close=True),
    "always babbles": b"220 ready\r\n",
    "always breaks off": b"HTTP/1.1 400 Said\r\nContent-Length: 9\r\n\r\n{}",
    "always answers sixty times": _answer(400) * 60,
}


@contextmanager
def deployed(
    flaw: str = "",
    trust: ssl.SSLContext | None = None,
    keys: ssl.SSLContext | None = None,
    deadline: float = _DEADLINE,
) -> Iterator[ProbeTarget]:
    """Run one on a thread of its own; over TLS, where it is given `keys`."""
    deployment, loop = _Deployment(flaw, deadline), asyncio.new_event_loop()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(deployment.open(keys), loop).result(_AGES)
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
                timeout_seconds=_PATIENCE,
            )
        finally:
            asyncio.run_coroutine_threadsafe(deployment.close(), loop).result(_AGES)
    finally:
        # Whatever went wrong: a loop that goes on would keep the process from ending.
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
