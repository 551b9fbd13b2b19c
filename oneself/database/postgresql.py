"""A PostgreSQL server, with a bounded pool of connections shared by a process's threads."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import orjson
import psycopg
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError

from oneself.database.connection_slots import ConnectionSlots, Slot
from oneself.database.failures import READ_ONLY, sqlstate
from oneself.database.file_health import FULL
from oneself.database.outcomes import (
    forget_warnings,
    require_acknowledged,
    require_committed,
    watch_warnings,
)
from oneself.database.pipelining import PipelinedConnection, PipelinedStatements, Transaction
from oneself.database.prepared import Statement, driver_of
from oneself.database.timelines import Timelines
from oneself.database_urls import PREPARE, parse_threshold

#: libpq's transaction status: in one (sound or failed), in a failed one.
_IN_TRANSACTION, _IN_ERROR = (2, 3), 3

#: Default timeout for a connection or a lock, in milliseconds; past it, the response is a 503.
DEFAULT_TIMEOUT = 5000
_DISK_FULL = "53100"
#: How long a server's disk counts as full after the last write that failed for it, in seconds.
_FULL_SECONDS = 10.0

#: Each commit waits for a synchronous standby; one that is there answers in milliseconds.
_COMMITS_WAIT = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND query_start < clock_timestamp() - interval '1 second'
    )
"""
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def session_settings(*, timeout: int = DEFAULT_TIMEOUT) -> Mapping[str, str]:
    """Return the settings that acts rely on, by name; times are in milliseconds (DB-12)."""
    return {
        "lock_timeout": str(timeout),
        "statement_timeout": str(2 * timeout),
        "idle_in_transaction_session_timeout": str(2 * timeout),
        # Each statement sees what was committed before it. An act that reads in order to write
        # takes a lock first (accounts/services/database.py), which SQLite's single writer always
        # has.
        "default_transaction_isolation": "read committed",
    }


def open_server(url: URL, *, timeout: int) -> Engine:
    """Return an engine for a server, with a time limit on all statements and waits (DB-12).

    `timeout` is how long a statement waits for a connection or a lock, in milliseconds; a statement
    itself, and an idle transaction, may take twice as long.
    """
    settings = {**session_settings(timeout=timeout), "timezone": "UTC"}
    options = " ".join(
        f"-c {name}={value}".replace("read committed", r"read\ committed")
        for name, value in settings.items()
    )
    connect_args = {
        # Whole seconds; libpq's minimum is 2.
        "connect_timeout": max(2, timeout // 1000),
        # The kernel gives up after this when no answer comes, as on a broken network.
        "tcp_user_timeout": 2 * timeout,
        "application_name": "oneself",
    }
    # The driver takes its own option as a number, and values in a URL are text.
    driver_options = (
        {PREPARE: parse_threshold(str(url.query[PREPARE]))} if PREPARE in url.query else {}
    )
    engine = sqlalchemy.create_engine(
        url.difference_update_query(["options", PREPARE]),
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        # `Postgresql` keeps the connections; the pool only opens and closes them.
        poolclass=sqlalchemy.NullPool,
        connect_args={
            **{name: value for name, value in connect_args.items() if name not in url.query},
            # Options in the URL come last, and so override ours.
            "options": f"{options} {url.query.get('options', '')}",
            # A read is one statement in one round trip; `begin` sends an explicit BEGIN.
            "autocommit": True,
            # Text is decoded in any database encoding: from a database in SQL_ASCII the driver
            # would return bytes, and even a check of it would fail.
            "client_encoding": "utf8",
            **driver_options,
        },
        # The parameters of a failed statement would be logged.
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "handle_error", _leave_read_only_server)
    event.listen(engine, "handle_error", _note_ended_session)
    event.listen(engine, "handle_error", _hide_values)
    watch_warnings(engine)
    return engine


def _connect(
    _dialect: object, _record: object, arguments: Sequence[Any], options: Mapping[str, Any]
) -> PipelinedConnection:
    return PipelinedConnection.connect(*arguments, **options)


def _leave_read_only_server(context: ExceptionContext) -> None:
    """Close the connection to a server that accepts no writes, and so the idle ones as well.

    After a switchover the server is a standby. A new connection finds its successor.
    """
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _note_ended_session(context: ExceptionContext) -> None:
    """Take a connection for broken whose session the server ends, or which the driver gives up.

    The driver may not have seen yet that it is closed: after the message of a shutdown, and in the
    middle of a pipeline. A COMMIT among the statements may have been done (DB-12).
    """
    error = context.original_exception
    if context.connection is None:
        return
    if isinstance(error, psycopg.OperationalError):
        # Otherwise FATAL, PANIC, or none: a failure of the driver itself.
        context.is_disconnect = error.diag.severity_nonlocalized != "ERROR"


def _hide_values(context: ExceptionContext) -> None:
    """Remove values from a server's error: they would be logged (LO-01).

    DETAIL contains the whole rejected row, and class 22 (bad data) quotes the value in the message.
    """
    error = cast("Any", context.original_exception)
    state = getattr(error, "sqlstate", None)
    if state is None or context.sqlalchemy_exception is None:
        return
    message = error.diag.message_primary
    if message is None or state.startswith("22"):
        message = type(error).__name__
    error.args = (message,)
    context.sqlalchemy_exception.args = (f"({type(error).__name__}) {message}",)


class Postgresql:
    """Connections to a server, bounded in number (DB-11).

    They are pooled here and not by SQLAlchemy: with its pool a read took 220 µs, here 160 to 200
    µs, and every request begins with one.
    """

    is_nonblocking = False

    def __init__(self, url: URL, *, timeout: int, connections: int) -> None:
        self._engine = open_server(url, timeout=timeout)
        self._timelines = Timelines(self._engine)
        self._timeout = timeout / 1000
        self._slots = ConnectionSlots(connections)
        self._taken: dict[Connection, Slot] = {}
        # The most recently used is taken first: those that only a peak needed stay idle.
        self._idle: deque[Connection] = deque()
        self._full_until = 0.0
        self.statements = PipelinedStatements()

    def take(self, *, blocking: bool, writing: bool = True) -> Connection:
        """Return a connection for one transaction; one that only reads has a slot more (DB-12).

        Raises:
            Unavailable: All are in use, and none was given back in time.
            sqlalchemy.exc.OperationalError: The server accepts no connection.
        """
        slot = self._slots.acquire(writing=writing, timeout=self._timeout if blocking else 0)
        try:
            connection = self._idle_connection() or self._engine.connect()
        except BaseException:
            self._slots.release(slot)
            raise
        self._taken[connection] = slot
        return connection

    def _idle_connection(self) -> Connection | None:
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                idle = self._idle.pop()
                if not idle.closed and not idle.invalidated:
                    if self._timelines.is_current(idle):
                        return idle
                    idle.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Return a connection to the pool; close a broken one, and all idle ones with it."""
        # First: once the connection is idle, another thread can take it with a slot of its own.
        slot = self._taken.pop(connection)
        try:
            if not connection.closed and not connection.invalidated:
                self._idle.append(connection)
                return
            connection.close()
            # The cause, usually a restart, has broken the idle ones as well. Each would cost a
            # request an attempt.
            self._close_idle()
        finally:
            self._slots.release(slot)

    def begin(self, connection: Connection, *, writing: bool, snapshot: bool) -> Transaction | None:
        """Begin a transaction; return it if it writes.

        A read without `snapshot` needs no transaction: either way each statement sees what is
        committed. With `snapshot`, all reads see one moment.
        """
        if writing:
            connection.begin()  # SQLAlchemy sends nothing
            return Transaction(connection)
        if snapshot:
            connection.exec_driver_sql(_BEGIN_SNAPSHOT)
        return None

    def rows(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """Return the rows of a prepared statement."""
        return self.statements.rows(connection, statement, parameters)

    def roll_back(self, connection: Connection) -> None:
        """End a connection's transaction, which SQLAlchemy leaves open after a failed commit."""
        connection.rollback()
        if not (connection.closed or connection.invalidated):
            driver = driver_of(connection)
            if driver.info.transaction_status in _IN_TRANSACTION:
                driver.rollback()

    def require_sound(self, connection: Connection) -> None:
        """Check that no statement of the transaction has failed, before it is committed.

        Raises:
            RuntimeError: One has, and the act went on. The server would accept COMMIT, roll back,
                and report success.
        """
        if driver_of(connection).info.transaction_status == _IN_ERROR:
            raise RuntimeError("a statement failed, and the transaction is committed nonetheless")
        forget_warnings(connection)

    def require_acknowledged(self, connection: Connection) -> None:
        """Check that a commit was acknowledged without a warning: see `outcomes`.

        Raises:
            OutcomeUnknown: There was a warning.
        """
        require_acknowledged(connection)

    def require_committed(self, transaction: str, event_id: str | None) -> None:
        """Ask whether a transaction was committed whose connection broke: see `outcomes`.

        Raises:
            sqlalchemy.exc.OperationalError: It was not committed; it can be retried.
            OutcomeUnknown: No server answers for too long, or it does not know.
        """
        require_committed(self._engine, transaction, event_id)

    def find_degradation(self, connection: Connection) -> str | None:
        """Return why changes are not stored, while reads are served; None if they are."""
        is_waiting = connection.exec_driver_sql(_COMMITS_WAIT).scalar_one()
        return "commits wait for a standby" if is_waiting else None

    def note_failure(self, error: DBAPIError) -> None:
        """Remember that the server's disk is full, for `unready_reason`."""
        if sqlstate(error) == _DISK_FULL:
            self._full_until = time.monotonic() + _FULL_SECONDS

    def unready_reason(self) -> str | None:
        """Return why no change can be stored; None if there is no such reason."""
        return FULL if time.monotonic() < self._full_until else None

    def maintain(self) -> None:
        """Do nothing: the server manages its own files."""

    def close(self) -> None:
        """Close every connection that is not in use; no other thread may be using one."""
        self._close_idle()
        self._engine.dispose()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
