"""A connection to PostgreSQL that sends several statements in one round trip.

A statement is deferred if nothing waits for its result. It is sent together with the next one, in a
pipeline (https://www.postgresql.org/docs/current/libpq-pipeline-mode.html). The server runs them in
order, each with a snapshot of its own: a statement that follows a lock sees everything that was
committed before the lock was granted. After a failure it skips the rest, a COMMIT included.

The pipelines are libpq's, by `psycopg.pq`: the driver's cursors took two thirds of the time of a
change (ADR 38).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, cast

import psycopg
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection, Dialect

from oneself.database.outcomes import IDENTIFY
from oneself.database.prepared import (
    Prepared,
    PreparedStatements,
    Statement,
    driver_of,
    has_listeners,
)

__all__ = ["PipelinedConnection", "PipelinedStatements", "Transaction"]

_IDENTIFY = IDENTIFY.encode()
#: The statements after which the driver releases all prepared ones, as it does in `_preparing`.
_RELEASING = re.compile(r"(?:DROP|ALTER|ROLLBACK|DISCARD ALL|DEALLOCATE ALL)\b")


class _Query:
    """A statement with numbered parameters, and its result once it was run."""

    __slots__ = ("_adapting", "_formats", "_values", "key", "result")

    def __init__(
        self, connection: psycopg.Connection[Any], text: bytes, values: Sequence[Any]
    ) -> None:
        """Adapt the values.

        Raises:
            psycopg.Error: The server has no such value, such as a text with a NUL.
        """
        self.result: PGresult | None = None
        self._adapting = Transformer(connection)
        self._values: Sequence[Buffer | None] = ()
        self._formats: Sequence[int] | None = None
        types: tuple[int, ...] = ()
        if values:
            self._values = self._adapting.dump_sequence(values, [PyFormat.AUTO] * len(values))
            types, self._formats = self._adapting.types or (), self._adapting.formats
        #: What it is prepared for: its text, and the types of its parameters.
        self.key = (text, types)

    def send(self, pgconn: PGconn, name: bytes | None) -> None:
        """Add it to a pipeline, by the name it is prepared under or without one."""
        if name is None:
            text, types = self.key
            pgconn.send_query_params(text, self._values, types, self._formats)
        else:
            pgconn.send_query_prepared(name, self._values, self._formats)

    def rows(self) -> list[tuple[Any, ...]]:
        """The rows of its result."""
        result = cast("PGresult", self.result)
        self._adapting.set_pgresult(result)
        return self._adapting.load_rows(0, result.ntuples, tuple)

    @property
    def count(self) -> int:
        """The number of rows that it wrote."""
        return cast("PGresult", self.result).command_tuples or 0


class PipelinedConnection(psycopg.Connection[Any]):
    """A connection in autocommit that can defer statements until the next one."""

    def __init__(self, pgconn: Any, *arguments: Any) -> None:
        super().__init__(pgconn, *arguments)
        self.cursor_factory = _Cursor
        self._deferred: list[_Query] = []
        self._failure: Exception | None = None
        #: The names of prepared statements by their texts and the types of their parameters.
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._names_given = 0

    def defer(self, text: bytes, values: Sequence[Any] = ()) -> _Query:
        """Defer a statement; it has its result as soon as another one was run."""
        query = _Query(self, text, values)
        self._deferred.append(query)
        return query

    def run(self, text: bytes, values: Sequence[Any] = ()) -> _Query:
        """Run a statement, after the deferred ones and in the same round trip.

        Raises:
            psycopg.Error: The first failure, of it or of a deferred one.
        """
        query = self.defer(text, values)
        self.run_deferred()
        return query

    def fail_next(self, failure: Exception) -> None:
        """Raise a failure instead of running the next statement.

        SQLAlchemy runs that one, and so handles the failure of one that it did not run.
        """
        self._failure = failure

    def run_deferred(self) -> None:
        """Run the deferred statements, if there are any.

        Raises:
            psycopg.Error: The first failure.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        queries, self._deferred = self._deferred, []
        if not queries:
            return
        names = self._names.copy()
        failed = self.wait(self._exchange(queries))
        if failed is not None:
            self._names = names  # the others may not exist: the server skips what follows a failure
            raise error_from_result(failed, self.info.encoding)

    def _exchange(self, queries: Iterable[_Query]) -> PQGen[PGresult | None]:
        """Send statements, and receive their results; return the first that is a failure."""
        pgconn = self.pgconn
        pgconn.enter_pipeline_mode()
        expected: list[_Query] = []  # one for each result; the last one of a statement counts
        for query in queries:
            name = self._names.get(query.key)
            if name is None and (name := self._new_name()) is not None:
                pgconn.send_prepare(name, *query.key)
                self._names[query.key] = name
                expected.append(query)
            query.send(pgconn, name)
            expected.append(query)
        pgconn.pipeline_sync()
        while pgconn.flush():  # the socket takes no more
            if (yield Wait.RW) & Ready.R:
                pgconn.consume_input()
        failed: PGresult | None = None
        try:
            for query in expected:
                while (result := (yield from fetch(pgconn))) is not None:
                    query.result = result
                    if failed is None and result.status == ExecStatus.FATAL_ERROR:
                        failed = result
            yield from fetch(pgconn)  # the end of the pipeline
            pgconn.exit_pipeline_mode()
        except psycopg.OperationalError:
            # The server has ended the session; its message comes first.
            if failed is None:
                raise
        return failed

    def _new_name(self) -> bytes | None:
        """Return a name for one more prepared statement; None if there may be no more."""
        if self.prepare_threshold is None or len(self._names) >= (self.prepared_max or 0):
            return None
        self._names_given += 1
        return b"oneself_%d" % self._names_given

    def forget_prepared(self) -> None:
        """Prepare all statements again: the driver may have released them."""
        self._names.clear()

    def commit(self) -> None:
        """Commit, together with the deferred statements."""
        if self._deferred and self.pgconn.transaction_status != TransactionStatus.INTRANS:
            # BEGIN is among them. What it is sent with must be known before a commit is possible:
            # the outcome can be asked for only by the number of the transaction.
            self.run_deferred()
        self._end(b"COMMIT")

    def rollback(self) -> None:
        """Drop the deferred statements, and roll back."""
        self._deferred.clear()
        self._failure = None
        self._end(b"ROLLBACK")

    def _end(self, text: bytes) -> None:
        """End the transaction if there is one.

        The driver's own ROLLBACK would also release all prepared statements.
        """
        if self.pgconn.transaction_status != TransactionStatus.IDLE:
            self.run(text)


class _Cursor(psycopg.Cursor[Any]):
    """A cursor that sends the deferred statements of its connection first."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Run a statement; the failure of a deferred one is raised instead."""
        connection = cast("PipelinedConnection", self.connection)
        connection.run_deferred()
        super().execute(query, params, **options)
        if _RELEASING.match(self.statusmessage or ""):
            connection.forget_prepared()
        return self

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        """Run a statement for each of the parameters, as `execute` does."""
        cast("PipelinedConnection", self.connection).run_deferred()
        super().executemany(query, params_seq, **options)


class Transaction:
    """A writing transaction, which begins with its first statement."""

    def __init__(self, connection: Connection) -> None:
        driver = driver_of(connection)
        driver.defer(b"BEGIN")
        self._identified = driver.defer(_IDENTIFY)

    @property
    def identity(self) -> str:
        """Facts for `require_committed`, once the transaction has begun."""
        return str(self._identified.rows()[0][0])


class _Numbered(Prepared):
    """A prepared statement with numbered parameters, as the protocol takes them."""

    __slots__ = ("_order", "numbered")

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        super().__init__(statement, dialect)
        numbers: Any = type(dialect)(paramstyle="numeric_dollar")  # type: ignore[call-arg]
        compiled: Any = statement.compile(dialect=numbers)
        self.numbered: bytes = compiled.string.encode()
        processors = dict(self._names)
        self._order = [(name, processors[name]) for name in compiled.positiontup or ()]

    def in_order(self, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Return the values of the numbered parameters."""
        if self._constants:
            parameters = {**self._constants, **parameters}
        return [process(parameters[name]) for name, process in self._order]


class PipelinedStatements(PreparedStatements[_Numbered]):
    """The prepared statements of a server, all of them sent in pipelines."""

    def __init__(self) -> None:
        super().__init__(_Numbered, psycopg.Error)

    def rows(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> list[list[Any]]:
        """See `PreparedStatements`."""
        prepared = self.prepare(statement, connection)
        query = self._run(connection, prepared, parameters)
        if query is None:
            rows = connection.exec_driver_sql(prepared.text, prepared.bind(parameters))
            return prepared.read(rows)
        return prepared.read(query.rows())

    def write(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> int:
        """See `PreparedStatements`."""
        query = self._run(connection, self.prepare(statement, connection), parameters)
        return query.count if query else super().write(connection, statement, parameters)

    def defer(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> None:
        """Send a statement with the next one."""
        if has_listeners(connection):
            super().write(connection, statement, parameters)
        else:
            prepared = self.prepare(statement, connection)
            driver_of(connection).defer(prepared.numbered, prepared.in_order(parameters))

    def _run(
        self, connection: Connection, prepared: _Numbered, parameters: Mapping[str, Any]
    ) -> _Query | None:
        """Run a statement; None if SQLAlchemy has to, which then raises the failure of this one."""
        if has_listeners(connection):
            return None
        driver: PipelinedConnection = driver_of(connection)
        try:
            return driver.run(prepared.numbered, prepared.in_order(parameters))
        except psycopg.Error as failure:
            # The server may have ended the transaction, and would answer with another failure.
            driver.fail_next(failure)
            return None
