"""Requests at a fixed rate over kept connections, whether or not earlier ones are answered."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from typing import cast

#: Called with each response: the number of its request, its status and its seconds; 0 means none.
Record = Callable[[int, int, float], None]

_MAX_CONNECTIONS = 3000
_TICK = 0.002
_TIMEOUT = 30.0


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, load: "OpenLoop") -> None:
        self._load = load
        self._buffer = b""
        self._current: tuple[int, float] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, number: int, request: bytes, due: float) -> None:
        """Send a request that was due at a time of the performance counter."""
        self._current = number, due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or self._current is None:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) < int(length or b"0"):
            return
        (number, due), self._current, self._buffer = self._current, None, b""
        self._load.done(self, number, int(head[9:12]), due)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._current is not None:
            self._load.record(self._current[0], 0, time.perf_counter() - self._current[1])
        self._load.lose(self)


class OpenLoop:
    """A load of requests, sent in turn."""

    def __init__(self, port: int, requests: Sequence[bytes], record: Record) -> None:
        self.record = record
        self._port = port
        self._requests = cycle(enumerate(requests))
        #: How late a request was sent, at most, in seconds: the load's own share of the times.
        self.lag = 0.0
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._opening = 0
        self._pending = 0
        self._finished = asyncio.Event()
        self._repeats = False

    def done(self, connection: _Connection, number: int, status: int, due: float) -> None:
        """Record a response, and send the next request on its connection in a closed loop."""
        now = time.perf_counter()
        self.record(number, status, now - due)
        self._pending -= 1
        if not self._pending:
            self._finished.set()
        if self._repeats:
            self._send(connection, now)
        else:
            self._idle.append(connection)

    def lose(self, connection: _Connection) -> None:
        """Forget a connection that the service has closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def closed(self, connections: int, seconds: float) -> None:
        """Send requests one after the other on some connections."""
        self._repeats = True
        for _ in range(connections):
            await self._send_on_new(time.perf_counter())
        await asyncio.sleep(seconds)
        self._repeats = False
        await self._finish()

    async def run(self, rate: float, seconds: float) -> None:
        """Send `rate` requests per second, and wait for their responses."""
        start, sent = time.perf_counter(), 0
        tasks: set[asyncio.Task[None]] = set()
        passed = 0.0
        while passed < seconds:
            before, passed = passed, time.perf_counter() - start
            self.lag = max(self.lag, passed - before)
            for _ in range(int(passed * rate) - sent):
                sent += 1
                due = start + sent / rate
                if self._idle:
                    self._send(self._idle.pop(), due)
                elif len(self._open) + self._opening < _MAX_CONNECTIONS:
                    tasks.add(asyncio.create_task(self._send_on_new(due)))
                else:
                    self.record(0, 0, 0.0)
            await asyncio.sleep(_TICK)
        await asyncio.gather(*tasks)
        await self._finish()

    def _send(self, connection: _Connection, due: float) -> None:
        number, request = next(self._requests)
        self._pending += 1
        connection.send(number, request, due)

    async def _send_on_new(self, due: float) -> None:
        self._opening += 1
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self), "127.0.0.1", self._port
        )
        self._opening -= 1
        self._open.add(connection)
        self._send(connection, due)

    async def _finish(self) -> None:
        self._finished.clear()
        if self._pending:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._finished.wait(), _TIMEOUT)
