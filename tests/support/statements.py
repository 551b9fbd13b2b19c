"""What a request asks the database, and how the database goes about it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event

__all__ = ["Asked", "Step", "asked_of", "steps_of"]

#: A place for a value as psycopg is given it, `%(name)s::TIMESTAMP WITH TIME ZONE`.
_PLACE = re.compile(r"%\(\w+\)s(?:::(?:TIMESTAMP WITH TIME ZONE|\w+))?")
#: Lists of values, and lists of them.
_VALUES = re.compile(r"\((?:\?(?:, )?)+\)(?:, \((?:\?(?:, )?)+\))*")
_ABOUT_ROWS = re.compile(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b")

# SQLite's words: https://sqlite.org/eqp.html
_SCAN = re.compile(r"SCAN (?P<name>\w+)")
_SEARCH = re.compile(r"SEARCH (?P<name>\w+) [^(]*\((?P<terms>.*)\)")
_ROWS_OF_VALUES = re.compile(r"SCAN (\d+ )?CONSTANT ROWS?")


class Asked(NamedTuple):
    """One statement, as it was sent to the driver."""

    statement: str
    parameters: Any

    @property
    def reads_or_writes(self) -> bool:
        """Whether it is about rows; a BEGIN is not, nor what comes along with one."""
        return _ABOUT_ROWS.match(self.statement) is not None and ";" not in self.statement

    @property
    def form(self) -> str:
        """The statement as both databases have it, with however many values in its lists."""
        words = " ".join(self.statement.replace('"', "").split())
        return _VALUES.sub("(…)", _PLACE.sub("?", words))


class Step(NamedTuple):
    """A part of a plan that may cost more with every row that there is.

    `how` is "scan" for all rows of a table or of an index, "range" for all on one side of a value,
    and "sort" for putting rows in order that do not come in it.
    """

    table: str
    how: str


@contextmanager
def asked_of(dialect: str) -> Iterator[list[Asked]]:
    """Collect what is asked meanwhile, by whatever thread, of databases of this kind."""
    asked: list[Asked] = []

    def note(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, *more: Any
    ) -> None:
        _context, executemany = more
        if connection.dialect.name == dialect:
            asked.append(Asked(statement, parameters[0] if executemany else parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def steps_of(connection: Connection, asked: Asked) -> set[Step]:
    """The costly steps of a statement, by the plan that the database has for it.

    PostgreSQL chooses by what it knows of the rows, so there have to be many, and it has to have
    analysed them. A table that is small all the same is read over its index where there is one.
    """
    if connection.dialect.name == "sqlite":
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked.statement}", asked.parameters)
        return set(_steps_of_sqlite([row[-1] for row in plan]))
    connection.exec_driver_sql("SET enable_seqscan = off")
    plan = connection.exec_driver_sql(
        f"EXPLAIN (COSTS off, FORMAT json) {asked.statement}", asked.parameters
    )
    found = plan.scalar_one()
    [root] = json.loads(found) if isinstance(found, str) else found
    return set(_steps_of_postgresql(root["Plan"]))


def _steps_of_sqlite(lines: Sequence[str]) -> Iterator[Step]:
    first = next(filter(None, (_SCAN.match(line) or _SEARCH.match(line) for line in lines)), None)
    for line in lines:
        if _ROWS_OF_VALUES.match(line):
            continue
        if scan := _SCAN.match(line):
            yield Step(scan["name"], "scan")
        elif "AUTOMATIC" in line:  # an index over the whole table, made for this statement
            yield Step(line.split()[1], "scan")
        elif search := _SEARCH.match(line):
            if "=" not in search["terms"]:
                yield Step(search["name"], "range")
        elif line.startswith("USE TEMP B-TREE"):
            yield Step(first["name"] if first else "", "sort")


def _steps_of_postgresql(node: Mapping[str, Any]) -> Iterator[Step]:
    kind = node["Node Type"]
    name = node.get("Relation Name") or node.get("CTE Name") or node.get("Index Name", "")
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
        yield from _steps_of_postgresql(child)


def _first_relation(node: Mapping[str, Any]) -> str:
    while "Relation Name" not in node and "CTE Name" not in node:
        if not node.get("Plans"):
            return ""
        node = node["Plans"][0]
    return str(node.get("Relation Name") or node["CTE Name"])
