"""A TCP proxy between a service and PostgreSQL that cuts connections on demand."""

import random
import socket
import threading
from contextlib import suppress

from tests.support.deadlines import patient

__all__ = ["PHASES", "CuttingProxy"]

#: When a connection is cut: before the message reaches the server, after that but before the
#: response, or in the middle of the response.
PHASES = ("before", "after", "within")


class CuttingProxy:
    """A TCP proxy that, while armed, cuts some connections at a given word."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.cut = 0
        self._armed: tuple[bytes, str, float] | None = None
        self._random = random.Random(7)  # noqa: S311 # chooses connections, not secrets
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def arm(self, word: bytes, phase: str, share: float) -> None:
        """Cut this share of the connections at messages that contain this word."""
        self._armed = (word, phase, share)

    def disarm(self) -> None:
        """Stop cutting connections."""
        self._armed = None

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=patient(10))
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = _Pair(client, server)
            threading.Thread(target=self._forward, args=[pair], daemon=True).start()
            threading.Thread(target=pair.forward_back, daemon=True).start()

    def _forward(self, pair: "_Pair") -> None:
        with suppress(OSError):
            while data := pair.client.recv(65_536):
                armed = self._armed
                if armed and armed[0] in data and self._random.random() < armed[2]:
                    self.cut += 1
                    if armed[1] == "before":
                        break
                    pair.silent = True
                    pair.within = armed[1] == "within"
                pair.server.sendall(data)
        pair.close_unless_silent()

    def close(self) -> None:
        """Accept no more connections."""
        self._listening.close()


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.silent = self.within = False

    def forward_back(self) -> None:
        """Forward the server's messages to the client until the connection is cut."""
        with suppress(OSError):
            while data := self.server.recv(65_536):
                if self.silent:
                    # The server has acted, but the client gets no response.
                    if self.within:
                        self.client.sendall(data[: len(data) // 2])
                    break
                self.client.sendall(data)
        self._close()

    def close_unless_silent(self) -> None:
        if not self.silent:
            self._close()

    def _close(self) -> None:
        for connection in (self.client, self.server):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
