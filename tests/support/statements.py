"""The statements of a request, and the costly steps in their query plans."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event

__all__ = ["Statement", "Step", "costly_steps", "record_statements"]

#: A placeholder of psycopg: `%(name)s::TIMESTAMP WITH TIME ZONE`.
_PLACE = re.compile(r"%\(\w+\)s(?:::(?:TIMESTAMP WITH TIME ZONE|\w+))?")
#: Lists of values, and lists of such lists.
_VALUES = re.compile(r"\((?:\?(?:, )?)+\)(?:, \((?:\?(?:, )?)+\))*")
_ABOUT_ROWS = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")

# The format of SQLite's plans: https://sqlite.org/eqp.html
_SCAN = re.compile(r"SCAN (?P<name>\w+)")
_SEARCH = re.compile(r"SEARCH (?P<name>\w+) [^(]*\((?P<terms>.*)\)")
_ROWS_OF_VALUES = re.compile(r"SCAN (\d+ )?CONSTANT ROWS?")


class Statement(NamedTuple):
    """A statement, as it was sent to the driver."""

    statement: str
    parameters: Any

    @property
    def reads_or_writes(self) -> bool:
        """Return whether it is about rows, unlike BEGIN and the statements sent with it."""
        return _ABOUT_ROWS.match(self.statement) is not None and ";" not in self.statement

    @property
    def form(self) -> str:
        """The statement in a form common to both databases, with lists of any length merged."""
        words = " ".join(self.statement.replace('"', "").split())
        return _VALUES.sub("(…)", _PLACE.sub("?", words))


class Step(NamedTuple):
    """A step of a query plan whose cost can grow with the number of rows.

    `how` is "scan" for all rows of a table or an index, "range" for all rows on one side of a
    value, and "sort" for sorting rows that no index yields in order.
    """

    table: str
    how: str


@contextmanager
def record_statements(dialect: str) -> Iterator[list[Statement]]:
    """Record the statements, of all threads, on databases of this dialect."""
    statements: list[Statement] = []

    def note(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, *more: Any
    ) -> None:
        _context, executemany = more
        if connection.dialect.name == dialect:
            statements.append(Statement(statement, parameters[0] if executemany else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def costly_steps(connection: Connection, statement: Statement) -> set[Step]:
    """Return the costly steps in the query plan of a statement.

    PostgreSQL plans by its statistics, so there must be many rows, and an ANALYZE. Small tables are
    read over an index if there is one.
    """
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement.statement}", statement.parameters
        )
        return set(_steps_of_sqlite([row[-1] for row in plan]))
    connection.exec_driver_sql("SET enable_seqscan = off")
    plan = connection.exec_driver_sql(
        f"EXPLAIN (COSTS off, FORMAT json) {statement.statement}", statement.parameters
    )
    text = plan.scalar_one()
    [root] = json.loads(text) if isinstance(text, str) else text
    return set(_steps_of_postgresql(root["Plan"]))


def _steps_of_sqlite(lines: Sequence[str]) -> Iterator[Step]:
    first = next(filter(None, (_SCAN.match(line) or _SEARCH.match(line) for line in lines)), None)
    for line in lines:
        if _ROWS_OF_VALUES.match(line):
            continue
        if scan := _SCAN.match(line):
            yield Step(scan["name"], "scan")
        elif "AUTOMATIC" in line:  # an index built for this statement alone
            yield Step(line.split()[1], "scan")
        elif search := _SEARCH.match(line):
            if "=" not in search["terms"]:
                yield Step(search["name"], "range")
        elif line.startswith("USE TEMP B-TREE"):
            yield Step(first["name"] if first else "", "sort")


def _steps_of_postgresql(node: Mapping[str, Any], relation: str = "") -> Iterator[Step]:
    kind = node["Node Type"]
    # The scan of a bitmap names its index only; the node above it has the table.
    name = node.get("Relation Name") or node.get("CTE Name") or relation
    if kind in {"Seq Scan", "CTE Scan", "Sample Scan"}:
        yield Step(name, "scan")
    elif kind in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"}:
        condition = node.get("Index Cond", "")
        if not condition:
            yield Step(name, "scan")
        elif " = " not in condition and "IS NULL" not in condition:
            yield Step(name, "range")
    elif kind in {"Sort", "Incremental Sort"}:
        yield Step(_first_relation(node), "sort")
    for child in node.get("Plans", ()):
        yield from _steps_of_postgresql(child, name)


def _first_relation(node: Mapping[str, Any]) -> str:
    while "Relation Name" not in node and "CTE Name" not in node:
        if not node.get("Plans"):
            return ""
        node = node["Plans"][0]
    return str(node.get("Relation Name") or node["CTE Name"])
