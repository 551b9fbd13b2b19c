"""Tells a PostgreSQL server that was replaced by another from its successor (ADR 39).

A suspended primary that wakes up after a standby was promoted accepts reads until it is ended, and
its rows are out of date: a credential that was revoked meanwhile would be accepted. Each promotion
begins a timeline with a higher number, so connections to a lower one are no longer used.
"""

import threading
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

#: The key of a connection's timeline in `Connection.info`.
_TIMELINE = "oneself.timeline"

#: The database system, and its timeline; null on a standby, which only reads.
_FIND_TIMELINE = """
    SELECT system_identifier, CASE WHEN NOT pg_is_in_recovery() THEN
        ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint END
    FROM pg_control_system()
"""


class Timelines:
    """The newest timeline that this process has seen of each database system.

    An idle process learns of a promotion when it next connects. Only a watchdog on the servers
    closes the gap until then.
    """

    def __init__(self, engine: Engine) -> None:
        """Look at each new connection of the engine."""
        self._newest: dict[int, int] = {}
        self._lock = threading.Lock()
        self._error = engine.dialect.loaded_dbapi.Error
        event.listen(engine, "connect", self._admit)

    def is_current(self, connection: Connection) -> bool:
        """Return whether no later timeline than that of the connection has been seen."""
        seen = connection.info.get(_TIMELINE)
        return seen is None or self._newest[seen[0]] == seen[1]

    def _admit(self, driver: Any, record: Any) -> None:
        """Note the timeline of a new connection.

        Raises:
            sqlalchemy.exc.OperationalError: The server was replaced.
        """
        try:
            system, timeline = driver.execute(_FIND_TIMELINE).fetchone()
        except self._error:  # another engine that speaks the protocol
            return
        if timeline is None:
            return
        with self._lock:
            newest = self._newest[system] = max(timeline, self._newest.get(system, 0))
        if timeline < newest:
            driver.close()
            replaced = ConnectionError("the server was replaced by another")
            raise OperationalError("connect", None, replaced)
        record.info[_TIMELINE] = (system, timeline)
