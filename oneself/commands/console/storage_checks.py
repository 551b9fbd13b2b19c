"""Looking whether a database keeps what it is given: a SQLite file, or a PostgreSQL server."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row

from oneself.commands.console.check_result import CheckResult, ok, problem
from oneself.database import migrations, sqlite_driver

__all__ = ["checks_of"]

_MOST_TOLD = 5
#: So many seconds between two clocks are no longer the time that the question takes.
_APART = 10

# From and before which version a reset of the WAL does not corrupt the file; the first two are
# backports (https://sqlite.org/wal.html#walresetbug).
_FIXED = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (99,)))

#: The oldest server that is still looked after by its makers when this was written.
_OLDEST_SERVER = 140_000

#: What refuses to change or delete an event (LO-04); no comparison of tables looks at it.
_EVENT_TABLES = ("security_event", "event_link")
_TRIGGERS: Mapping[str, tuple[str, set[str]]] = {
    "sqlite": (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        {f"{table}_no_{verb}" for table in _EVENT_TABLES for verb in ("update", "delete")},
    ),
    "postgresql": (
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')",
        {
            f"{table}_no_{verb}"
            for table in _EVENT_TABLES
            for verb in ("update", "delete", "truncate")
        },
    ),
}

_Look = Callable[[Engine], CheckResult]


def checks_of(engine: Engine) -> Mapping[str, _Look]:
    """The checks of a database of this kind, in the order in which they are told."""
    return _CHECKS[engine.dialect.name]


def _ask(engine: Engine, question: str) -> Sequence[Row[Any]]:
    with engine.connect() as connection:
        return connection.exec_driver_sql(question).all()


def _library(_engine: Engine) -> CheckResult:
    driver = sqlite_driver()
    version = tuple(map(int, driver.sqlite_version.split(".")))
    found = f"SQLite {driver.sqlite_version} of {driver.__name__.partition('.')[0]}"
    if any(first <= version < end for first, end in _FIXED):
        return ok(found)
    return problem(
        f"{found}, in which a reset of the WAL can corrupt the database",
        "Install pysqlite3 0.6.1 or newer, or a Python with SQLite 3.51.3 or newer.",
    )


def _journal_mode(engine: Engine) -> CheckResult:
    ((mode,),) = _ask(engine, "PRAGMA journal_mode")
    if mode == "wal":
        return ok("WAL")
    return problem(
        f"{mode}, not WAL",
        "Run: python -m oneself db upgrade, which switches it. If it stays so, put the"
        " database on a local disk, where WAL is possible.",
    )


def _integrity(engine: Engine) -> CheckResult:
    found = [str(row[0]) for row in _ask(engine, "PRAGMA integrity_check")]
    if found == ["ok"]:
        return ok("the file is whole")
    return problem(
        "; ".join(found[:_MOST_TOLD]),
        "Stop the service, keep a copy of the file, and restore the last backup.",
    )


def _foreign_keys(engine: Engine) -> CheckResult:
    broken = _ask(engine, "PRAGMA foreign_key_check")
    if not broken:
        return ok("every row refers to rows that are there")
    tables = ", ".join(sorted({row[0] for row in broken}))
    return problem(
        f"{len(broken)} rows refer to rows that are not there, in: {tables}",
        "Something else has written to the database. Compare it with the last backup.",
    )


def _tables(engine: Engine) -> CheckResult:
    present = migrations.present_revision(engine)
    if present != migrations.REVISION:
        found = f"revision {present}, and this version works with {migrations.REVISION}"
        return problem(found, "Copy the database, then run: python -m oneself db upgrade")
    question, expected = _TRIGGERS[engine.dialect.name]
    missing = expected - {row[0] for row in _ask(engine, question)}
    others = migrations.differences(engine) + [f"no trigger {name}" for name in sorted(missing)]
    if others:
        return problem(
            f"revision {present}, with differences: {', '.join(others)}",
            "Something else has changed the tables. Compare them with those of the last backup.",
        )
    return ok(f"revision {present}")


def _server(engine: Engine) -> CheckResult:
    ((version,),) = _ask(engine, "SHOW server_version")
    ((number,),) = _ask(engine, "SHOW server_version_num")
    if int(number) >= _OLDEST_SERVER:
        return ok(f"PostgreSQL {version}")
    return problem(f"PostgreSQL {version}, which this version is not tried with", "Upgrade it.")


def _encoding(engine: Engine) -> CheckResult:
    ((encoding,),) = _ask(engine, "SHOW server_encoding")
    if encoding == "UTF8":
        return ok("UTF8")
    return problem(
        f"{encoding}, which cannot hold every name",
        "Make a database with ENCODING 'UTF8', and move the tables there.",
    )


def _durability(engine: Engine) -> CheckResult:
    """What the server may lose of what it has acknowledged."""
    asked = ("fsync", "full_page_writes", "synchronous_commit")
    off = [name for name in asked if _ask(engine, f"SHOW {name}")[0][0] == "off"]
    if not off:
        return ok("what is committed is on disk")
    return problem(
        f"{', '.join(off)} off: a crash can lose what was acknowledged",
        "Switch them on, in postgresql.conf or by ALTER SYSTEM.",
    )


def _server_clock(engine: Engine) -> CheckResult:
    """It decides nothing here; but where two clocks differ, one is wrong."""
    ((moment,),) = _ask(engine, "SELECT clock_timestamp()")
    apart = abs((moment - datetime.now(UTC)).total_seconds())
    if apart < _APART:
        return ok("agrees with this machine's")
    return problem(
        f"{apart:,.0f} seconds apart from this machine's", "See that NTP sets the clocks of both."
    )


def _constraints(engine: Engine) -> CheckResult:
    found = _ask(
        engine,
        "SELECT conname FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace"
        " WHERE NOT convalidated AND nspname = current_schema() ORDER BY conname",
    )
    if not found:
        return ok("all are in force")
    return problem(
        f"not in force for every row: {', '.join(str(row[0]) for row in found[:_MOST_TOLD])}",
        "Something else has changed the tables. Compare them with those of the last backup.",
    )


_CHECKS: Mapping[str, Mapping[str, _Look]] = {
    "sqlite": {
        "sqlite_library": _library,
        "journal_mode": _journal_mode,
        "integrity": _integrity,
        "foreign_keys": _foreign_keys,
        "tables": _tables,
    },
    "postgresql": {
        "server": _server,
        "encoding": _encoding,
        "server_clock": _server_clock,
        "durability": _durability,
        "constraints": _constraints,
        "tables": _tables,
    },
}
