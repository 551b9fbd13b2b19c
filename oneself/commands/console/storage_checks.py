"""Checks of the storage: a SQLite file, or a PostgreSQL server."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row

from oneself.commands.console.check_result import CheckResult, ok, problem
from oneself.database import migrations, sqlite_driver

_MAX_SHOWN = 5
#: More seconds between two clocks than a query takes.
_MAX_SKEW_SECONDS = 10

#: Version ranges (from, before) without the WAL-reset bug, which corrupts the file; the first two
#: are backports (https://sqlite.org/wal.html#walresetbug).
_FIXED_VERSIONS = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (99,)))

#: PostgreSQL 14, the oldest version supported upstream at the time of writing.
_MIN_SERVER_VERSION = 140_000

#: The triggers that make events append-only (LO-04); a comparison of tables ignores triggers.
_EVENT_TABLES = ("security_event", "event_link", "event_seal")
_TRIGGERS: Mapping[str, tuple[str, Sequence[str]]] = {
    "sqlite": ("SELECT name FROM sqlite_master WHERE type = 'trigger'", ("update", "delete")),
    "postgresql": (
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')",
        ("update", "delete", "truncate"),
    ),
}

_CHANGED = "Another program has changed the tables. Compare them with those of the last backup."

_EngineCheck = Callable[[Engine], CheckResult]


def checks_for(engine: Engine) -> Mapping[str, _EngineCheck]:
    """Return the checks for a database of this kind, by name, in the order of the output."""
    return {check.__name__.removeprefix("_"): check for check in _CHECKS[engine.dialect.name]}


def _query(engine: Engine, query: str) -> Sequence[Row[Any]]:
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).all()


def _sqlite_library(_engine: Engine) -> CheckResult:
    driver = sqlite_driver()
    version = tuple(map(int, driver.sqlite_version.split(".")))
    library = f"SQLite {driver.sqlite_version} of {driver.__name__.partition('.')[0]}"
    if any(first <= version < end for first, end in _FIXED_VERSIONS):
        return ok(library)
    return problem(
        f"{library}, in which a WAL reset can corrupt the database",
        "Install pysqlite3 0.6.1 or newer, or a Python with SQLite 3.51.3 or newer.",
    )


def _journal_mode(engine: Engine) -> CheckResult:
    ((mode,),) = _query(engine, "PRAGMA journal_mode")
    if mode == "wal":
        return ok("WAL")
    return problem(
        f"{mode}, not WAL",
        "Run: python -m oneself db upgrade, which switches to WAL. If that has no effect, move the"
        " database to a local disk, where WAL is possible.",
    )


def _integrity(engine: Engine) -> CheckResult:
    messages = [str(row[0]) for row in _query(engine, "PRAGMA integrity_check")]
    if messages == ["ok"]:
        return ok("the file is intact")
    return problem(
        "; ".join(messages[:_MAX_SHOWN]),
        "Stop the service, keep a copy of the file, and restore the last backup.",
    )


def _foreign_keys(engine: Engine) -> CheckResult:
    dangling = _query(engine, "PRAGMA foreign_key_check")
    if not dangling:
        return ok("all references are valid")
    tables = ", ".join(sorted({row[0] for row in dangling}))
    return problem(
        f"{len(dangling)} rows refer to missing rows, in: {tables}",
        "Another program has written to the database. Compare it with the last backup.",
    )


def _tables(engine: Engine) -> CheckResult:
    present = migrations.present_revision(engine)
    if present != migrations.REVISION:
        text = f"revision {present}; this version needs {migrations.REVISION}"
        return problem(text, "Back up the database, then run: python -m oneself db upgrade")
    query, verbs = _TRIGGERS[engine.dialect.name]
    expected = {f"{table}_no_{verb}" for table in _EVENT_TABLES for verb in verbs}
    missing = expected - {row[0] for row in _query(engine, query)}
    differences = [
        *migrations.differences(engine),
        *(f"no trigger {name}" for name in sorted(missing)),
    ]
    if differences:
        text = f"revision {present}, with differences: {', '.join(differences)}"
        return problem(text, _CHANGED)
    return ok(f"revision {present}")


def _server(engine: Engine) -> CheckResult:
    ((version,),) = _query(engine, "SHOW server_version")
    ((number,),) = _query(engine, "SHOW server_version_num")
    if int(number) >= _MIN_SERVER_VERSION:
        return ok(f"PostgreSQL {version}")
    return problem(f"PostgreSQL {version}, which is not supported", "Upgrade the server.")


def _encoding(engine: Engine) -> CheckResult:
    ((encoding,),) = _query(engine, "SHOW server_encoding")
    if encoding == "UTF8":
        return ok("UTF8")
    return problem(
        f"{encoding}, which cannot store every name",
        "Create a database with ENCODING 'UTF8', and move the tables there.",
    )


def _durability(engine: Engine) -> CheckResult:
    """Check that a crash of the server loses no acknowledged write."""
    names = ("fsync", "full_page_writes", "synchronous_commit")
    off = [name for name in names if _query(engine, f"SHOW {name}")[0][0] == "off"]
    if not off:
        return ok("committed data is on disk")
    return problem(
        f"{', '.join(off)} off: a crash can lose acknowledged writes",
        "Turn them on in postgresql.conf or with ALTER SYSTEM.",
    )


def _server_clock(engine: Engine) -> CheckResult:
    """Compare the clocks: the server's decides nothing, but if they differ, one is wrong."""
    ((server_time,),) = _query(engine, "SELECT clock_timestamp()")
    skew = abs((server_time - datetime.now(UTC)).total_seconds())
    if skew < _MAX_SKEW_SECONDS:
        return ok("agrees with this machine's clock")
    return problem(
        f"{skew:,.0f} seconds apart from this machine's clock",
        "Synchronise both machines with NTP.",
    )


def _constraints(engine: Engine) -> CheckResult:
    rows = _query(
        engine,
        "SELECT conname FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace"
        " WHERE NOT convalidated AND nspname = current_schema() ORDER BY conname",
    )
    if not rows:
        return ok("all are enforced")
    names = ", ".join(str(row[0]) for row in rows[:_MAX_SHOWN])
    return problem(f"not enforced for every row: {names}", _CHANGED)


_CHECKS: Mapping[str, Sequence[_EngineCheck]] = {
    "sqlite": (_sqlite_library, _journal_mode, _integrity, _foreign_keys, _tables),
    "postgresql": (_server, _encoding, _server_clock, _durability, _constraints, _tables),
}
