"""Closes idle client connections before the limit is reached (HT-08).

Granian accepts connections up to a limit, and keeps each while requests come on it. One client with
a request every few seconds on thousands of them would keep out all others. Granian does not tell
the application of its connections, but the kernel does: they are open files of this process.
"""

import os
import socket
import stat
import struct
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import NamedTuple

from accounts.values.networks import network_of

_FILES = Path("/proc/self/fd")
#: Shares of the limit: from the first on, connections are closed until the second is left.
_FULL_SHARE, _LEFT_SHARE = 7 / 8, 3 / 4
#: A connection on which the last data came more recently, in milliseconds, is not idle.
_MIN_IDLE = 1000
#: Position of `tcpi_last_data_recv` in Linux's `struct tcp_info`, and the size up to its end.
_LAST_RECEIVED, _INFO_BYTES = 52, 56

#: The address and the port of a client.
Peer = tuple[str, int]


class _Connection(NamedTuple):
    idle: int
    descriptor: int
    peer: Peer


def close_idle(is_busy: Callable[[Peer], bool], *, limit: int) -> int:
    """Close idle connections if they are near the limit; return the number closed.

    First those of the client with the most of them, and of these the longest idle. `is_busy` tells
    whether a request of a connection is in progress: such a connection is never closed.
    """
    if sys.platform != "linux" or len(_descriptors()) < _FULL_SHARE * limit:
        return 0
    connections = list(_client_connections())
    if len(connections) < _FULL_SHARE * limit:
        return 0
    by_network: defaultdict[str, list[_Connection]] = defaultdict(list)
    for connection in connections:
        by_network[network_of(connection.peer[0])].append(connection)
    # By network: the number of its connections, negative for the heap, and the idle ones.
    largest = []
    for network, each in by_network.items():
        idle = sorted(one for one in each if one.idle > _MIN_IDLE and not is_busy(one.peer))
        if idle:
            largest.append((-len(each), network, idle))
    heapify(largest)
    closed = 0
    while largest and len(connections) - closed > _LEFT_SHARE * limit:
        count, network, idle = heappop(largest)
        closed += _close(idle.pop())
        if idle:
            heappush(largest, (count + 1, network, idle))
    return closed


def _descriptors() -> list[int]:
    return [int(path.name) for path in _FILES.iterdir()]


def _client_connections() -> Iterator[_Connection]:
    """Yield the connections that a listening socket of this process has accepted."""
    ports: set[int] = set()
    found: list[tuple[int, _Connection]] = []
    for descriptor in _descriptors():
        with suppress(OSError), _opened(descriptor) as opened:
            port = opened.getsockname()[1]
            if opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                ports.add(port)
            else:
                found.append((port, _described(descriptor, opened)))
    return (connection for port, connection in found if port in ports)


@contextmanager
def _opened(descriptor: int) -> Iterator[socket.socket]:
    """Yield the socket of a descriptor, by another one: nothing else can take its number meanwhile.

    Raises:
        OSError: It is closed, or no TCP socket.
    """
    # A socket does not take the descriptor of anything else, and then does not close it either.
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError("no socket")
    copy = os.dup(descriptor)
    try:
        opened = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with opened:
        if opened.family not in {socket.AF_INET, socket.AF_INET6}:
            raise OSError("no TCP socket")
        yield opened


def _described(descriptor: int, opened: socket.socket) -> _Connection:
    info = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    [idle] = struct.unpack_from("I", info, _LAST_RECEIVED)
    address, port = opened.getpeername()[:2]
    return _Connection(idle, descriptor, (address.partition("%")[0], port))


def _close(connection: _Connection) -> bool:
    """Close a connection for reading: the server ends it as if the client had left.

    A request that has come meanwhile is still read and answered.
    """
    with suppress(OSError), _opened(connection.descriptor) as opened:
        now = _described(connection.descriptor, opened)
        if now.peer == connection.peer and now.idle > _MIN_IDLE:
            opened.shutdown(socket.SHUT_RD)
            return True
    return False
