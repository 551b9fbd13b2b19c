"""The round trips of a connection to PostgreSQL, in libpq's own trace."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import Trace

__all__ = ["record_round_trips"]

_FROM_CLIENT = re.compile(r"F\t\d+\t(?P<kind>\w+)(?P<values>.*)", re.DOTALL)


@contextmanager
def record_round_trips(connection: psycopg.Connection) -> Iterator[list[list[str]]]:
    """Record the statements of each round trip: what the client sends before it waits.

    A statement is its text or, once it was prepared, the name of that.
    """
    trips: list[list[str]] = []
    with tempfile.TemporaryFile("w+") as trace:
        connection.pgconn.trace(trace.fileno())
        connection.pgconn.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        try:
            yield trips
        finally:
            connection.pgconn.untrace()
        trace.seek(0)
        sent: list[str] = []
        text = ""
        # A statement may have several lines.
        for part in re.split(r"^(?=[FB]\t)", trace.read(), flags=re.MULTILINE):
            if message := _FROM_CLIENT.match(part):
                if message["kind"] == "Sync":
                    trips.append(sent)
                    sent = []
                elif message["kind"] == "Parse":
                    text = message["values"]
                elif message["kind"] == "Bind":
                    sent.append(text or message["values"])
                    text = ""
