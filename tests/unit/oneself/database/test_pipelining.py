"""Statements on PostgreSQL that are sent together: their order, their failures, their number."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from traceback import format_exception

import pytest
from sqlalchemy import Integer, Text, bindparam, cast, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlmodel import col

from accounts.errors import NotFound
from accounts.limits import Limits
from models import Tenant
from oneself.database import Database, open_engine
from oneself.database.postgresql import Postgresql
from oneself.database.prepared import driver_of
from tests.support.deadlines import patient
from tests.support.round_trips import record_round_trips

_INSERT = insert(Tenant)
_RENAME = (
    update(Tenant)
    .where(col(Tenant.id) == bindparam("tenant_id"))
    .values(display_name=bindparam("new_name"))
)
_NAME = select(col(Tenant.display_name)).where(col(Tenant.id) == bindparam("tenant_id"))
_ECHO = select(bindparam("large", type_=col(Tenant.display_name).type))
_WRONG = select(cast(bindparam("word", type_=Text), Integer))
_FAIL = text("SELECT CAST(:word AS integer)")


def _row(name):
    return {
        "id": name,
        "uuid": name,
        "display_name": "A",
        "created_at": datetime.now(UTC),
        "disabled_at": None,
    }


@pytest.fixture
def location(server_location):
    """A PostgreSQL database, regardless of the one chosen for the other tests."""
    return server_location


@pytest.fixture
def database(location, keys, clock):
    """The database, with one tenant."""
    opened = Database(location, keys=keys, limits=Limits(password_cost=4), clock=clock)
    with opened.transaction(writing=True) as session:
        session.defer(_INSERT, _row("tnt_1"))
    yield opened
    opened.close()


@pytest.fixture
def names(location):
    """Returns the names of all tenants, over a connection of its own."""
    engine = open_engine(location)
    with engine.connect() as connection:
        yield lambda: list(
            connection.exec_driver_sql("SELECT display_name FROM tenant ORDER BY id").scalars()
        )
    engine.dispose()


def _act(database, act):
    with database.transaction(writing=True) as session:
        return act(session)


def _rename(session, name):
    session.defer(_RENAME, {"tenant_id": "tnt_1", "new_name": name})


def _read_name(session):
    [[name]] = session.rows(_NAME, {"tenant_id": "tnt_1"})
    return name


def test_lock_and_read_take_one_trip_and_writes_share_one_with_the_commit(database):
    """Scale-out P6."""
    with database.transaction(writing=True) as session:
        with record_round_trips(driver_of(session.core)) as begun:
            session.lock("a")
            session.lock("b")
            _read_name(session)
        connection = session.core
        with record_round_trips(driver_of(connection)) as ended:
            _rename(session, "B")
            _rename(session, "C")
            session.finish()
    assert [len(trip) for trip in begun] == [5]  # BEGIN, its identity, two locks, the SELECT
    assert [len(trip) for trip in ended] == [3]  # two updates, COMMIT


def test_statement_after_a_lock_sees_what_was_committed_before_it(database, run_in_thread):
    """DB-02: both are sent at once, and the read still waits for the lock."""

    def read_locked():
        with database.transaction(writing=True) as session:
            session.lock("a")
            return _read_name(session)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction(writing=True) as session:
            session.lock("a")
            assert _read_name(session) == "A"
            reading = thread.submit(read_locked)
            _rename(session, "B")
            # It is waiting for the lock by now, or comes too late to read the former name.
            assert not run_in_thread(_has_lock, database, "a")
        assert reading.result(patient(30)) == "B"


def _has_lock(database, name):
    with database.transaction(writing=True) as session:
        return session.try_lock(name)


@pytest.mark.parametrize(
    "read",
    [
        _read_name,
        lambda session: session.core.execute(_NAME, {"tenant_id": "tnt_1"}).scalar(),
        lambda session: session.core.exec_driver_sql("SELECT display_name FROM tenant").scalar(),
        lambda session: session.get_one(Tenant, "tnt_1").display_name,
    ],
    ids=["prepared", "core", "driver", "entity"],
)
def test_every_statement_sees_the_deferred_ones(database, read):
    """DB-04: in whichever way it is run."""
    with database.transaction(writing=True) as session:
        _rename(session, "B")
        assert read(session) == "B"


def test_statement_for_many_rows_comes_after_the_deferred_ones(database, names):
    """DB-04."""
    with database.transaction(writing=True) as session:
        session.defer(_INSERT, _row("tnt_2"))
        rows = [{"tenant_id": name, "new_name": name} for name in ("tnt_1", "tnt_2")]
        session.core.execute(_RENAME, rows)
    assert names() == ["tnt_1", "tnt_2"]


def test_savepoint_undoes_only_what_came_after_it(database, names):
    """DB-04: deferred statements before it stay, and those within it go."""
    with database.transaction(writing=True) as session:
        _rename(session, "B")
        with session.core.begin_nested() as savepoint:
            session.defer(_INSERT, _row("tnt_2"))
            savepoint.rollback()
    assert names() == ["B"]


@pytest.mark.parametrize("release", ["ROLLBACK", "DROP"])
def test_statement_is_prepared_again_after_the_driver_released_it(database, release):
    """DB-04: the driver releases all prepared statements when it sees a ROLLBACK or a DROP."""
    with database.transaction(writing=True) as session:
        assert _read_name(session) == "A"
        for _ in range(10):  # the driver prepares a statement that it has seen often
            session.core.exec_driver_sql("SELECT 1")
        if release == "ROLLBACK":
            session.core.begin_nested().rollback()
        else:
            session.core.exec_driver_sql("CREATE TEMPORARY TABLE passing (id integer)")
            session.core.exec_driver_sql("DROP TABLE passing")
        assert _read_name(session) == "A"


def test_value_that_the_server_has_not_is_refused_alone(database, names):
    """DB-04: the statements that were deferred before it are still sent."""
    with database.transaction(writing=True) as session:
        _rename(session, "B")
        with pytest.raises(DBAPIError):
            session.rows(_ECHO, {"large": "a\0b"})
        assert _read_name(session) == "B"
    assert names() == ["B"]


def test_entities_and_deferred_writes_are_committed_together(database, names):
    """DB-04: also if SQLAlchemy's session began a transaction, and has sent nothing in it."""
    with database.transaction(writing=True) as session:
        session.begin()
        _rename(session, "B")
    assert names() == ["B"]
    with database.transaction(writing=True) as session:
        session.add(Tenant(**_row("tnt_2")))
        session.flush()
        _rename(session, "C")
    assert names() == ["C", "A"]


def test_large_statement_can_follow_deferred_ones(database):
    """The socket takes only a part of it at once."""
    large = "x" * 20_000_000
    with database.transaction(writing=True) as session:
        _rename(session, "B")
        [[echo]] = session.rows(_ECHO, {"large": large})
        assert echo == large


@pytest.mark.parametrize(
    "ending",
    [lambda _: None, _read_name, lambda session: session.core.exec_driver_sql("SELECT 1")],
    ids=["commit", "prepared", "driver"],
)
def test_failure_of_a_deferred_statement_is_its_own(database, names, ending):
    """DB-04: with its own class, and nothing that was sent after it is done."""

    def fail(session):
        _rename(session, "B")
        session.defer(_INSERT, _row("tnt_1"))
        _rename(session, "C")
        ending(session)

    with pytest.raises(IntegrityError) as failed:
        _act(database, fail)
    assert failed.value.orig.sqlstate == "23505"
    assert names() == ["A"]
    for _ in range(10):  # with any statement prepared on the server meanwhile
        with database.transaction(writing=True) as session:
            _rename(session, "D")
    assert names() == ["D"]


def test_failure_of_a_deferred_statement_shows_no_value(database):
    """LO-01."""

    def fail(session):
        session.defer(_FAIL, {"word": "canary"})
        _read_name(session)

    with pytest.raises(DBAPIError) as failed:
        _act(database, fail)
    assert "canary" not in "".join(format_exception(failed.value))


def test_suppressed_failure_of_a_deferred_statement_prevents_the_commit(database, names):
    """DB-04: the server would accept COMMIT, roll back, and report success."""

    def suppress_failure(session):
        _rename(session, "B")
        session.defer(_INSERT, _row("tnt_1"))
        with pytest.raises(IntegrityError):
            _read_name(session)

    with pytest.raises(RuntimeError, match="a statement failed"):
        _act(database, suppress_failure)
    assert names() == ["A"]


def test_failure_of_a_prepared_statement_is_reported_once(database, names):
    """DB-04: it is not run again in the failed transaction, where it would fail differently."""

    def read(session):
        _rename(session, "B")
        _read_name(session)
        session.rows(_WRONG, {"word": "canary"})

    def write(session):
        _rename(session, "B")
        session.write(_INSERT, _row("tnt_1"))

    for act, state in ((read, "22P02"), (write, "23505")):
        with pytest.raises(DBAPIError) as failed:
            _act(database, act)
        assert failed.value.orig.sqlstate == state
    assert names() == ["A"]


def test_refused_act_sends_nothing_that_it_deferred(database):
    """DB-04."""
    used = []

    def refuse(session):
        _rename(session, "B")
        used.append(driver_of(session.core))
        raise NotFound

    with pytest.raises(NotFound):
        _act(database, refuse)
    with record_round_trips(*used) as trips:
        assert _act(database, _read_name) == "A"
    assert not any("UPDATE" in statement for trip in trips for statement in trip)


def test_commit_comes_after_the_transaction_is_known(database, names):
    """DB-12: otherwise the outcome of the commit could not be asked for."""
    with (
        database.transaction(writing=True) as session,
        record_round_trips(driver_of(session.core)) as trips,
    ):
        _rename(session, "B")
        session.finish()
    with_commit = ["COMMIT" in " ".join(trip) for trip in trips]
    assert with_commit[0] is False
    assert names() == ["B"]


def test_deferred_writes_on_a_broken_connection_are_not_done(database, names):
    """DB-12: the server says so, and the act can be retried."""

    def break_connection(session):
        _read_name(session)
        _rename(session, "B")
        driver_of(session.core).pgconn.finish()

    with pytest.raises(OperationalError) as failed:
        _act(database, break_connection)
    assert failed.value.connection_invalidated
    assert names() == ["A"]


def test_outcome_of_a_commit_with_deferred_writes_is_asked_for(database, names, monkeypatch):
    """DB-12: it is committed, and the connection breaks before the client reads so."""
    asked = []
    require_committed = Postgresql.require_committed

    def ask(connections, *arguments):
        asked.append(arguments)
        require_committed(connections, *arguments)

    monkeypatch.setattr(Postgresql, "require_committed", ask)
    with database.transaction(writing=True) as session:
        _read_name(session)
        _rename(session, "B")
        driver = driver_of(session.core)
        commit = driver.commit

        def commit_and_break():
            commit()
            driver.pgconn.finish()
            raise driver_error("the connection is lost")

        driver_error = session.core.dialect.loaded_dbapi.OperationalError
        driver.commit = commit_and_break
    assert len(asked) == 1
    assert names() == ["B"]
