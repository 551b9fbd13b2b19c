"""A connection to PostgreSQL that sends several statements in one round trip.

A statement is deferred if nothing waits for its result. It is sent together with the next one, in a
pipeline (https://www.postgresql.org/docs/current/libpq-pipeline-mode.html). The server runs them in
order, each with a snapshot of its own: a statement that follows a lock sees everything that was
committed before the lock was granted. After a failure it skips the rest, a COMMIT included.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection

from oneself.database.outcomes import IDENTIFY
from oneself.database.prepared import PreparedStatements, Statement, driver_of, has_listeners

__all__ = ["PipelinedConnection", "PipelinedStatements", "Transaction"]

Outcome = TypeVar("Outcome")


class PipelinedConnection(psycopg.Connection[Any]):
    """A connection in autocommit that can defer statements until the next one."""

    def __init__(self, pgconn: Any, *arguments: Any) -> None:
        super().__init__(pgconn, *arguments)
        self.cursor_factory = _Cursor
        self._deferred: list[tuple[psycopg.Cursor[Any], str, Any, bool | None]] = []
        self._failure: Exception | None = None
        self._is_sending = False

    def defer(
        self, query: str, values: Any = None, *, prepare: bool | None = None
    ) -> psycopg.Cursor[Any]:
        """Defer a statement; its cursor has the result as soon as another one was run."""
        cursor = self.cursor()
        self._deferred.append((cursor, query, values, prepare))
        return cursor

    def fail_next(self, failure: Exception) -> None:
        """Raise a failure instead of running the next statement.

        SQLAlchemy runs that one, and so handles the failure of one that it did not run.
        """
        self._failure = failure

    @property
    def is_pending(self) -> bool:
        """True if the next statement is not run alone, or not at all."""
        return bool(self._deferred) or self._failure is not None

    @contextmanager
    def sending_deferred(self) -> Iterator[None]:
        """Send the deferred statements and those of the block together.

        Raises:
            psycopg.Error: The first failure.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        deferred, self._deferred = self._deferred, []
        self._is_sending = True
        try:
            with self.pipeline() as pipeline:
                _end_with_sync(pipeline)
                for cursor, query, values, prepare in deferred:
                    psycopg.Cursor.execute(cursor, query, values, prepare=prepare)
                yield
        finally:
            self._is_sending = False

    def commit(self) -> None:
        """Commit, together with the deferred statements."""
        if not self._deferred:
            super().commit()
        elif self.pgconn.transaction_status == TransactionStatus.INTRANS:
            self.execute("COMMIT", prepare=False)
        else:
            # BEGIN is among them. What it is sent with must be known before a commit is possible:
            # the outcome can be asked for only by the number of the transaction.
            with self.sending_deferred():
                pass
            super().commit()

    def rollback(self) -> None:
        """Drop the deferred statements, and roll back."""
        self._deferred.clear()
        self._failure = None
        super().rollback()

    def wait(self, gen: PQGen[Outcome], *arguments: Any, **options: Any) -> Outcome:
        """Wait for the server; not before all of a pipeline is sent."""
        if self._is_sending:
            gen = self._send_first(gen)
        return super().wait(gen, *arguments, **options)

    def _send_first(self, gen: PQGen[Outcome]) -> PQGen[Outcome]:
        """Skip the waits of a generator that only sends.

        psycopg would wait for the socket, and so release the interpreter, before and after each
        statement, although there is room for the next one.
        """
        try:
            wait = next(gen)
            while True:
                wait = gen.send((yield from self._ready(wait)))
        except StopIteration as end:
            return cast("Outcome", end.value)

    def _ready(self, wait: Wait) -> Generator[Wait, Ready, Ready]:
        if wait != Wait.RW:
            return (yield wait)
        while self.pgconn.flush():  # the socket takes no more
            if (yield wait) & Ready.R:
                return Ready.R
        return Ready.W


def _end_with_sync(pipeline: psycopg.Pipeline) -> None:
    """Let a pipeline end with its Sync message, which makes the server send all results.

    psycopg adds a Flush message. A server that has received one ends no idle transaction: it stops
    the clock at any message, and starts it only with an answer to a Sync.
    """
    fetch = pipeline._fetch_gen  # noqa: SLF001 # there is no public way; see the docstring
    pipeline._fetch_gen = lambda **_: fetch(flush=False)  # type: ignore[method-assign] # noqa: SLF001 # as above


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that sends the deferred statements of its connection first."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Run a statement; the first failure, of it or of a deferred one, is raised."""
        connection = cast("PipelinedConnection", self.connection)
        if not connection.is_pending:
            return super().execute(query, params, **options)
        with connection.sending_deferred():
            super().execute(query, params, **options)
        return self

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """Run a statement for each of the parameters, as `execute` does."""
        connection = cast("PipelinedConnection", self.connection)
        if connection.is_pending:
            with connection.sending_deferred():
                pass
        super().executemany(query, params_seq, **options)


class Transaction:
    """A writing transaction, which begins with its first statement."""

    def __init__(self, connection: Connection) -> None:
        driver = driver_of(connection)
        driver.defer("BEGIN", prepare=False)
        self._identified = driver.defer(IDENTIFY)

    @property
    def identity(self) -> str:
        """Facts for `require_committed`, once the transaction has begun."""
        self._identified.scroll(0, mode="absolute")
        return str(self._identified.fetchone()[0])


class PipelinedStatements(PreparedStatements):
    """The prepared statements of a server, all of them run by the driver."""

    def __init__(self) -> None:
        super().__init__(psycopg.Error)

    def write(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> int:
        """See `PreparedStatements`."""
        prepared = self.prepare(statement, connection)
        values = prepared.bind(parameters)
        if not has_listeners(connection):
            driver = driver_of(connection)
            try:
                count: int = driver.execute(prepared.text, values).rowcount
            except psycopg.Error as failure:
                self._repeat(driver, failure)
            else:
                return count
        return connection.exec_driver_sql(prepared.text, values).rowcount

    def defer(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> None:
        """Send a statement with the next one."""
        prepared = self.prepare(statement, connection)
        values = prepared.bind(parameters)
        if has_listeners(connection):
            connection.exec_driver_sql(prepared.text, values)
        else:
            driver_of(connection).defer(prepared.text, values)

    def _repeat(self, driver: Any, failure: Exception) -> None:
        # The server may have ended the transaction, and would answer with another failure.
        driver.fail_next(failure)
