"""The database that the tests run on, and the tables that a suite prints at its end.

`--database` is `sqlite` by default, or `postgresql`.
"""

import gc
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.support.databases import PostgresqlStorage, SqliteStorage, Storage
from tests.support.postgresql import databases
from tests.support.touched import is_touched

_TABLES = pytest.StashKey[list[Table]]()
_HANDED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="the database of the unit, service and resilience tests",
    )

    parser.addoption(
        "--touched",
        action="store_true",
        help="run only the contract rows that the changes of this checkout touch",
    )
    parser.addoption(
        "--nightly",
        action="store_true",
        help="run the tests marked `nightly`, too: those that a change need not wait for",
    )
    parser.addoption(
        "--rounds",
        type=int,
        help="kill each process this often, on both databases; 5 times by default",
    )
    parser.addoption(
        "--record",
        action="store_true",
        help="write the tables of faults and of tools into docs/operations.md and conformance.md",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests of the other kind of database, and deselect those that were not asked for."""
    if config.getoption("--touched"):
        items[:] = [item for item in items if is_touched(item.callspec.params["row"])]
    if not config.getoption("--nightly"):
        items[:] = [item for item in items if item.get_closest_marker("nightly") is None]
    chosen = config.getoption("--database")
    for item in items:
        for mark in item.iter_markers("only_on"):
            [kind] = mark.args
            if kind != chosen:
                item.add_marker(pytest.mark.skip(reason=f"only on {kind}"))


def pytest_collection_finish() -> None:
    """Spare the garbage collector the modules and the tests, which live as long as the process."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def servers() -> Iterator[PostgresqlStorage]:
    """Create databases on a PostgreSQL server, which starts in a second."""
    with databases() as made:
        yield PostgresqlStorage(made)


@pytest.fixture(scope="session")
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """Create databases of the chosen kind."""
    if request.config.getoption("--database") == "sqlite":
        return SqliteStorage(tmp_path_factory.mktemp("migrated"))
    chosen: PostgresqlStorage = request.getfixturevalue("servers")
    return chosen


@pytest.fixture(scope="session")
def show(pytestconfig: pytest.Config) -> Callable[[Table], None]:
    """Print a table below the tests; a test can fill it until then."""
    tables = pytestconfig.stash.setdefault(_TABLES, [])
    return tables.append


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the tables of a worker process to the process that prints."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tables"] = [_drawn(table) for table in session.config.stash.get(_TABLES, [])]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the tables of a worker process (a hook of pytest-xdist)."""
    node.config.stash.setdefault(_HANDED, []).extend(getattr(node, "workeroutput", {})["tables"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stash = terminalreporter.config.stash
    own = [_drawn(table) for table in stash.get(_TABLES, [])]
    for text in (*own, *stash.get(_HANDED, [])):
        terminalreporter.write_line("")
        terminalreporter.write_line(text)


def _drawn(table: Table) -> str:
    text = io.StringIO()
    Console(file=text, width=120).print(table)
    return text.getvalue().rstrip()
