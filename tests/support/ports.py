"""Ports for what a test starts."""

import random
import socket

__all__ = ["free_port"]

#: Below those that systems give to whoever asks for any (Linux from 32768, others from 49152): one
#: of these, asked for and given back, may be somebody else's before it is used.
_PORTS = range(20_000, 32_768)


def free_port() -> int:
    """A port of loopback that nobody listens on, and that nobody is given by chance."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe:
            # As servers have it: what was closed a moment ago does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("there is no port left")
