"""Checks of how a PostgreSQL server treats the connections and the commits of the service."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from oneself.commands.console.check_result import CheckResult, ok, problem

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from oneself.database import Location

_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
#: Only the service's own role, and none of the details, are visible without `pg_read_all_stats`.
_STANDBYS = """
    SELECT count(*), count(*) FILTER (WHERE coalesce(sync_state, '') <> 'async')
    FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming'
"""


def checks_of_server(location: "Location") -> "Mapping[str, Callable[[Engine], CheckResult]]":
    """Return the checks for a server, by name; none for a SQLite file."""
    if isinstance(location, Path):
        return {}
    return {"session_settings": partial(_session_settings, location), "standbys": _standbys}


def report_lost_settings(location: "Location") -> None:
    """Log a warning at the start if connections lack the settings that the service sends."""
    from oneself.commands.console.session_setup import using_engine

    if isinstance(location, Path):
        return
    with using_engine(location) as engine:
        result = _session_settings(location, engine)
    if not result.ok:
        logging.getLogger(__name__).warning("%s. %s", result.found, result.to_do)


def _session_settings(url: "URL", engine: "Engine") -> CheckResult:
    """Check that a connection has the settings that the service sends, or stricter ones.

    A pooler may drop them: with `ignore_startup_parameters` PgBouncer drops `options`, and then
    statements and waits never end.
    """
    from oneself.database.postgresql import session_settings as intended_settings

    intended = intended_settings()
    overridden = str(url.query.get("options", ""))
    with engine.connect() as connection:
        settings = connection.exec_driver_sql(_SETTINGS, (list(intended),)).all()
        role = connection.exec_driver_sql("SELECT quote_ident(current_user)").scalar_one()
    lost = {
        name: intended[name]
        for name, setting in settings
        if not _is_kept(setting, intended[name]) and name not in overridden
    }
    if not lost:
        return ok("statements and waits have timeouts")
    statements = "; ".join(
        f"ALTER ROLE {role} SET {name} = '{value}'" for name, value in lost.items()
    )
    return problem(
        f"the connection has another {', '.join(lost)} than the service asks for, as behind"
        " PgBouncer",
        f"Run: {statements}; then RECONNECT in the console of PgBouncer.",
    )


def _is_kept(setting: str, intended: str) -> bool:
    """Return whether a timeout is on and no longer than intended, or another setting is equal."""
    if not intended.isdigit():
        return setting == intended
    return 0 < int(setting) <= int(intended)


def _standbys(engine: "Engine") -> CheckResult:
    """Check that commits do not wait for a synchronous standby that is missing."""
    with engine.connect() as connection:
        names = connection.exec_driver_sql("SHOW synchronous_standby_names").scalar_one()
        attached, synchronous = connection.exec_driver_sql(_STANDBYS).one()
    if not names:
        return ok("none is required: a failover to a standby may lose the last writes")
    if not synchronous:
        return problem(
            "synchronous_standby_names is set, and no synchronous standby is attached: every write"
            " waits",
            "Start the standby. If it is lost, take its name out of synchronous_standby_names;"
            " waiting writes then go on.",
        )
    if attached == 1:
        return problem(
            "only one standby is attached: without it every write waits",
            "Attach a second standby, and set synchronous_standby_names to ANY 1 of both.",
        )
    return ok(f"{attached} are attached, {synchronous} of them can be synchronous")
