"""Serve the floor on Granian with the options of oneself/server.py, and one worker."""

import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops

if __name__ == "__main__":
    Granian(
        "floor:application",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        factory=True,
        loop=Loops.asyncio,
        websockets=False,
        http=HTTPModes.http1,
        backlog=4096,
        backpressure=4096,
        log_access=False,
    ).serve()
