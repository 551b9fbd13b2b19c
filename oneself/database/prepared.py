"""Statements that most requests need, ready for the driver."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Update

__all__ = ["Prepared", "PreparedStatements", "Statement", "driver_of"]

#: What can be prepared.
Statement = Select[*tuple[Any, ...]] | Insert | Update | Delete

_Processor = Callable[[Any], Any]


class Prepared:
    """A statement compiled once, with what its types make of the values that go in and come out.

    SQLAlchemy compiles a statement once as well, but of the 40 µs that it then takes to run one on
    SQLite 6 are the database's: the others are a key to find the text by, a context and a result,
    for what one row does not need.
    """

    __slots__ = ("_constants", "_names", "_positional", "_read", "text")

    def __init__(self, statement: Statement, dialect: Dialect) -> None:
        """Take a statement whose parameters are given when it is run, but for its constants."""
        compiled: Any = statement.compile(dialect=dialect)
        names = compiled.positiontup if dialect.positional else compiled.binds
        self._positional = dialect.positional
        self.text: str = compiled.string
        self._names: list[tuple[str, _Processor]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) or _same)
            for name in names
        ]
        binds = {name: compiled.binds[name] for name in names}
        # Whatever has a value of its own, as the OFFSET that SQLite's LIMIT is compiled with.
        self._constants = {
            name: bind.value for name, bind in binds.items() if bind.value is not None
        }
        columns = statement.selected_columns if isinstance(statement, Select) else ()
        processors = (
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        )
        #: Most columns come out of the driver as they are.
        self._read: list[tuple[int, _Processor]] = [
            (place, each) for place, each in enumerate(processors) if each is not None
        ]

    def given(self, parameters: Mapping[str, Any]) -> Any:
        """The parameters as the driver takes them."""
        if self._constants:
            parameters = {**self._constants, **parameters}
        if self._positional:
            return tuple([process(parameters[name]) for name, process in self._names])
        return {name: process(parameters[name]) for name, process in self._names}

    def read(self, found: Iterable[Iterable[Any]]) -> list[list[Any]]:
        """The rows that the driver has found, with the values that their types make of them."""
        rows = [list(row) for row in found]
        for row in rows:
            for place, process in self._read:
                row[place] = process(row[place])
        return rows


class PreparedStatements:
    """The statements of a database, each prepared when it is needed for the first time."""

    def __init__(self, driver_error: type[Exception]) -> None:
        self._driver_error = driver_error
        self._prepared: dict[Statement, Prepared] = {}

    def _prepare(self, statement: Statement, connection: Connection) -> Prepared:
        """Keep a statement, which is the same object each time, or they would become ever more."""
        prepared = self._prepared[statement] = Prepared(statement, connection.dialect)
        return prepared

    def rows(
        self,
        connection: Connection,
        statement: Statement,
        parameters: Mapping[str, Any],
        *,
        twice: bool,
    ) -> list[list[Any]]:
        """What a statement selects.

        Whether it can be run `twice` is whether a failure leaves the connection as it was. Then the
        driver is asked first, which is faster, and SQLAlchemy where that fails: whatever goes
        wrong, it meets that as well, and knows what it is to be called.

        Raises:
            sqlalchemy.exc.DBAPIError: It fails.
        """
        prepared = self._prepared.get(statement) or self._prepare(statement, connection)
        given = prepared.given(parameters)
        if twice and not _is_watched(connection):
            try:
                return prepared.read(driver_of(connection).execute(prepared.text, given))
            except self._driver_error:
                pass
        return prepared.read(connection.exec_driver_sql(prepared.text, given))

    def write(
        self, connection: Connection, statement: Statement, parameters: Mapping[str, Any]
    ) -> int:
        """How many rows a statement has written.

        Raises:
            sqlalchemy.exc.DBAPIError: It fails.
        """
        prepared = self._prepared.get(statement) or self._prepare(statement, connection)
        return connection.exec_driver_sql(prepared.text, prepared.given(parameters)).rowcount


def driver_of(connection: Connection) -> Any:
    """The driver's own connection."""
    return connection.connection.dbapi_connection


def _is_watched(connection: Connection) -> bool:
    """Whether somebody wants to hear of each statement, and hears of none that is the driver's."""
    # As SQLAlchemy asks itself for each statement: what it says otherwise takes five calls.
    if not (connection._has_events or connection.engine._has_events):  # noqa: SLF001
        return False
    return bool(connection.dispatch.before_cursor_execute)


def _same(value: Any) -> Any:
    return value
