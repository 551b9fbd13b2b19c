"""A PostgreSQL server, with a bounded number of connections that all threads of a process share."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import orjson
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, OperationalError

from accounts.errors import Unavailable
from oneself.database.failures import OutcomeUnknown
from oneself.database.prepared import PreparedStatements, Statement, driver_of
from oneself.database_urls import PREPARE, parse_threshold

__all__ = ["Postgresql", "open_server"]

#: What the driver says of no transaction, of one, and of one in which a statement has failed.
_IDLE, _IN_TRANSACTION, _IN_ERROR = 0, (2, 3), 3

#: How often, and after how many seconds, it is asked again how a commit has ended.
_QUESTIONS, _PAUSE = 20, 0.25

#: Both in one round trip. What stands before the BEGIN belongs to its transaction, and only of the
#: first of several statements does SQLAlchemy read the result.
_BEGIN = "SELECT concat(pg_current_xact_id(), ' ', clock_timestamp()); BEGIN"
#: How a transaction has ended, and whether anybody is still connected who was when it began. A
#: server that crashes gives the number of a transaction that it has lost to another one, and all of
#: its connections end. So without such a witness it may be another's end that is told.
_ENDED = """
    SELECT pg_xact_status(%s::xid8), EXISTS (
        SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND backend_start < %s
    )
"""
_BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def open_server(url: URL, *, timeout: int) -> Engine:
    """An engine for a server, whose statements and waits all end some time (DB-12).

    `timeout` is how long a statement waits for a connection or a lock, in milliseconds; a
    statement itself, and a transaction in which nobody says anything, may take twice as long.
    """
    ours = {
        "lock_timeout": timeout,
        "statement_timeout": 2 * timeout,
        "idle_in_transaction_session_timeout": 2 * timeout,
        "timezone": "UTC",
        # Each statement sees what was committed before it. An act that reads in order to write
        # takes a lock first (accounts/services/database.py), as SQLite's one writer always does.
        "default_transaction_isolation": r"read\ committed",
    }
    options = " ".join(f"-c {name}={value}" for name, value in ours.items())
    connecting = {
        # In whole seconds, of which libpq takes at least two.
        "connect_timeout": max(2, timeout // 1000),
        # Where nobody answers, as on a network that is gone, the kernel gives up then.
        "tcp_user_timeout": 2 * timeout,
        "application_name": "oneself",
    }
    # What is the driver's own it takes as it is, and in a URL all is text.
    own = {PREPARE: parse_threshold(str(url.query[PREPARE]))} if PREPARE in url.query else {}
    engine = sqlalchemy.create_engine(
        url.difference_update_query(["options", PREPARE]),
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
        # As with SQLite, connections are held elsewhere: see `Postgresql`.
        poolclass=sqlalchemy.NullPool,
        connect_args={
            **{name: value for name, value in connecting.items() if name not in url.query},
            # What an operator writes into the URL comes after ours, and so is what counts.
            "options": f"{options} {url.query.get('options', '')}",
            # A reading is one statement in one round trip; `begin` writes out what is more.
            "autocommit": True,
            # Text is text in any encoding: of a database in SQL_ASCII the driver would give bytes,
            # and not even what is wrong with it could be asked.
            "client_encoding": "utf8",
            **own,
        },
        # A failed statement's parameters would otherwise stand in the log.
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _hide_values)
    return engine


def _hide_values(context: ExceptionContext) -> None:
    """Take the values out of what a server says of a failure: they would stand in the log (LO-01).

    Its DETAIL has the whole row that was refused, and bad data (class 22) is quoted in the message.
    """
    error = cast("Any", context.original_exception)
    state = getattr(error, "sqlstate", None)
    if state is None or context.sqlalchemy_exception is None:
        return
    said = error.diag.message_primary
    if said is None or state.startswith("22"):
        said = type(error).__name__
    error.args = (said,)
    context.sqlalchemy_exception.args = (f"({type(error).__name__}) {said}",)


class Postgresql:
    """The connections to a server, at most so many at a time (DB-11).

    They are held here and not in SQLAlchemy's pool: with that one a reading took 220 µs in place of
    160 to 200, and it is the reading that every request begins with.
    """

    is_nonblocking = False

    def __init__(self, url: URL, *, timeout: int, connections: int) -> None:
        self._engine = open_server(url, timeout=timeout)
        self._timeout = timeout / 1000
        self._places = threading.Semaphore(connections)
        # The one that was used last is taken first: those that a peak has needed stay untouched.
        self._idle: deque[Connection] = deque()
        self.statements = PreparedStatements(self._engine.dialect.loaded_dbapi.Error)

    def take(self, *, blocking: bool) -> Connection:
        """A connection for one transaction.

        Raises:
            Unavailable: All are taken, and none was given back in time.
            sqlalchemy.exc.OperationalError: The server takes no connection.
        """
        if not self._places.acquire(timeout=self._timeout if blocking else 0):
            raise Unavailable
        try:
            while self._idle:
                with suppress(IndexError):  # somebody was faster
                    idle = self._idle.pop()
                    if not idle.closed and not idle.invalidated:
                        return idle
            return self._engine.connect()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, connection: Connection) -> None:
        """Let others have a connection; one that broke is closed, and with it all that are idle."""
        try:
            if not connection.closed and not connection.invalidated:
                self._idle.append(connection)
                return
            connection.close()
            # Whatever broke this one, a restart as a rule, has broken them as well. Each would cost
            # somebody an attempt.
            self._close_idle()
        finally:
            self._places.release()

    def begin(self, connection: Connection, *, writing: bool, snapshot: bool) -> str | None:
        """Begin a transaction, and tell its number and its beginning if it is one that writes.

        Whoever reads needs none: a statement sees what is committed, with or without. In a snapshot
        all that is read is of one moment.
        """
        if writing:
            return str(connection.exec_driver_sql(_BEGIN).scalar_one())
        if snapshot:
            connection.exec_driver_sql(_BEGIN_SNAPSHOT)
        return None

    def rows(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        """What a prepared statement selects.

        Raises:
            sqlalchemy.exc.DBAPIError: It fails.
        """
        # In a transaction all fails for another reason after the first failure.
        idle = driver_of(connection).info.transaction_status == _IDLE
        return self.statements.rows(connection, statement, parameters, twice=idle)

    def roll_back(self, connection: Connection) -> None:
        """End what is open on a connection; after a failed commit SQLAlchemy leaves that open."""
        connection.rollback()
        if not (connection.closed or connection.invalidated):
            driver = driver_of(connection)
            if driver.info.transaction_status in _IN_TRANSACTION:
                driver.rollback()

    def require_sound(self, connection: Connection) -> None:
        """Let a transaction be committed in which no statement has failed.

        Raises:
            RuntimeError: One has, and somebody went on. The server would take the COMMIT, roll all
                back, and call that a success.
        """
        if driver_of(connection).info.transaction_status == _IN_ERROR:
            raise RuntimeError("a statement failed, and the transaction is committed nonetheless")

    def require_committed(self, transaction: str) -> None:
        """Find out whether a transaction was committed whose connection broke meanwhile (DB-12).

        Its client hears the truth then, and neither does it again in vain nor thinks it is done.

        Raises:
            sqlalchemy.exc.OperationalError: It was not; it may be begun again.
            OutcomeUnknown: The server does not answer for too long, or does not know.
        """
        number, _, began = transaction.partition(" ")
        for _ in range(_QUESTIONS):
            try:
                with self._engine.connect() as asking:
                    found, witnessed = asking.exec_driver_sql(_ENDED, (number, began)).one()
            except OperationalError:
                found, witnessed = "in progress", False  # as it looks to us
            except DBAPIError as error:
                raise OutcomeUnknown from error
            if found == "committed" and witnessed:
                return
            if found == "aborted":
                broken = ConnectionError("the connection broke before the commit")
                raise OperationalError("COMMIT", None, broken, connection_invalidated=True)
            if found != "in progress":
                break
            time.sleep(_PAUSE)
        raise OutcomeUnknown

    def shorten_log(self) -> None:
        """Nothing: the server looks after its log."""

    def close(self) -> None:
        """Close every connection that is not in use; no other thread may be using one."""
        self._close_idle()
        self._engine.dispose()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
