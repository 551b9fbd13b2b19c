"""Free ports for the servers of tests."""

import random
import socket

__all__ = ["free_port"]

#: Below the ephemeral ports (Linux: from 32768, others: from 49152): the system could assign one of
#: those to another process before it is used.
_PORTS = range(20_000, 32_768)
#: Those that a server of this process uses, or will.
_taken: set[int] = set()


def free_port() -> int:
    """Return a loopback port that is free, new, and outside the ephemeral range."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port in _taken:
            continue
        with socket.socket() as probe:
            # As servers do: ignore connections that were closed a moment ago.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _taken.add(port)
            return port
    raise AssertionError("there is no port left")
