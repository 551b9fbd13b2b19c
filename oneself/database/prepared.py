"""Prepared statements for hot paths, run through the driver."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, TextClause, Update

#: The statements that can be prepared.
Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete | TextClause

_Processor = Callable[[Any], Any]
PreparedT = TypeVar("PreparedT", bound="Prepared")


class Prepared:
    """A statement compiled once, with the processors of its parameters and columns.

    SQLAlchemy caches compiled statements as well, but of the 40 µs that it then takes to run one on
    SQLite the database needs 6. The rest is a cache key, a context and a result object, which a
    one-row read does not need.
    """

    __slots__ = ("_constants", "_names", "_positional", "_read", "text")

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        """Compile a statement; its parameters, except constants, are passed when it is run."""
        compiled: Any = statement.compile(dialect=dialect)
        names = compiled.positiontup if dialect.positional else compiled.binds
        self._positional = dialect.positional
        self.text: str = compiled.string
        self._names: list[tuple[str, _Processor]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) or _same)
            for name in names
        ]
        binds = {name: compiled.binds[name] for name in names}
        # Parameters with a fixed value, such as the OFFSET that SQLite's LIMIT is compiled with.
        self._constants = {
            name: bind.value for name, bind in binds.items() if bind.value is not None
        }
        columns = statement.selected_columns if isinstance(statement, Select) else ()
        processors = (
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        )
        #: Most columns need no processing.
        self._read: list[tuple[int, _Processor]] = [
            (index, process) for index, process in enumerate(processors) if process is not None
        ]

    def bind(self, parameters: Mapping[str, Any]) -> Any:
        """Return the parameters in the form that the driver takes."""
        if self._constants:
            parameters = {**self._constants, **parameters}
        if self._positional:
            return tuple([process(parameters[name]) for name, process in self._names])
        return {name: process(parameters[name]) for name, process in self._names}

    def read(self, raw_rows: Iterable[Iterable[Any]]) -> list[list[Any]]:
        """Return rows of the driver with their values processed."""
        rows = [list(row) for row in raw_rows]
        for row in rows:
            for index, process in self._read:
                row[index] = process(row[index])
        return rows


class PreparedStatements(Generic[PreparedT]):
    """The prepared statements of a database, each compiled on first use."""

    def __init__(
        self, make: Callable[[Statement, Dialect], PreparedT], driver_error: type[Exception]
    ) -> None:
        self._make = make
        self._driver_error = driver_error
        self._prepared: dict[Statement, PreparedT] = {}

    def prepare(self, statement: Statement, connection: Connection) -> PreparedT:
        """Return a statement, compiled.

        Callers pass the same object each time; otherwise the cache would grow without bound.
        """
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = self._make(statement, connection.dialect)
        return prepared

    def rows(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> list[list[Any]]:
        """Return the rows of a statement.

        It is run by the driver, which is faster, and after a failure again by SQLAlchemy: that
        meets the same failure, and raises it as its own exception class, a `DBAPIError`.
        """
        prepared = self._prepared.get(statement) or self.prepare(statement, connection)
        values = prepared.bind(parameters)
        if not has_listeners(connection):
            try:  # takes fewer calls
                return prepared.read(driver_of(connection).execute(prepared.text, values))
            except self._driver_error:
                pass
        return prepared.read(connection.exec_driver_sql(prepared.text, values))

    def write(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> int:
        """Run a statement and return the number of rows written."""
        prepared = self._prepared.get(statement) or self.prepare(statement, connection)
        return connection.exec_driver_sql(prepared.text, prepared.bind(parameters)).rowcount

    def defer(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> None:
        """Run a statement without a result, at the latest before the next one."""
        self.write(connection, statement, parameters)


def driver_of(connection: Connection) -> Any:
    """Return the driver's own connection."""
    return connection.connection.dbapi_connection


def has_listeners(connection: Connection) -> bool:
    """Return whether event listeners want each statement; they miss those run by the driver."""
    # The check that SQLAlchemy itself makes for each statement; its public interface takes five
    # calls.
    if not (connection._has_events or connection.engine._has_events):  # noqa: SLF001
        return False
    return bool(connection.dispatch.before_cursor_execute)


def _same(value: Any) -> Any:
    return value
