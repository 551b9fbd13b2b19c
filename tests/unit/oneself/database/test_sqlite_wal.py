"""The log beside a SQLite file is emptied when it has become long, whoever reads (DB-07)."""

import threading
import time
from contextlib import contextmanager

import pytest

from oneself.database import open_engine

pytestmark = pytest.mark.only_on("sqlite")

MANY = 16 * 1024 * 1024
LINE = b"x" * 50_000


@pytest.fixture
def written(env):
    """Writes so many bytes, a row a transaction; gives the size of the log."""
    env.execute("CREATE TABLE filling (content BLOB)")

    def write(many):
        for _ in range(many // len(LINE)):
            env.execute("INSERT INTO filling VALUES (?)", LINE)
        return _log(env)

    return write


def _log(env):
    return env.location.with_name(f"{env.location.name}-wal").stat().st_size


@contextmanager
def _reading(env):
    """Somebody reads in the file, and goes on until the end."""
    engine = open_engine(env.location)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SELECT count(*) FROM filling").all()
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


@contextmanager
def _requests(env):
    """Two who read in turn, so that there is none in which nobody does."""
    over, turns = threading.Event(), [threading.Event(), threading.Event()]

    def read(mine, other):
        while not over.is_set():
            mine.wait(1)
            mine.clear()
            with _reading(env):
                other.set()
                time.sleep(0.005)  # and the other has begun

    pairs = [(turns[0], turns[1]), (turns[1], turns[0])]
    threads = [threading.Thread(target=read, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    turns[0].set()
    yield
    over.set()
    for thread in threads:
        thread.join(30)


def test_a_short_log_is_left_alone(env, written):
    """DB-07: SQLite does it by itself, and nobody has to wait."""
    before = written(MANY // 8)
    env.database.truncate_wal()
    assert _log(env) == before > 0


def test_a_log_that_somebody_kept_from_being_copied_is_emptied_afterwards(env, written):
    """DB-07: not while they read, as for a backup; nobody is refused for it."""
    with _reading(env):
        long = written(MANY + MANY // 4)
        assert long > MANY
        env.database.truncate_wal()
        assert _log(env) == long
        assert written(len(LINE)) >= long
    env.database.truncate_wal()
    assert _log(env) == 0
    assert (
        env.act(
            lambda session: session.core.exec_driver_sql(
                "SELECT sum(length(content)) FROM filling"
            ).scalar()
        )
        >= MANY
    )


def test_a_log_is_emptied_although_there_is_always_somebody_who_reads(env, written):
    """DB-07: it grows for ever otherwise, while each of them reads for a moment only."""
    with _requests(env):
        assert max(written(MANY // 2) for _ in range(4)) > MANY
        deadline = time.monotonic() + 10
        while _log(env) > MANY:  # it may not be its turn at once
            assert time.monotonic() < deadline
            env.database.truncate_wal()


def test_a_file_that_was_never_written_to_has_no_log(env):
    """DB-07: or somebody else has just emptied and removed it."""
    env.location.with_name(f"{env.location.name}-wal").unlink(missing_ok=True)
    assert env.database.truncate_wal() is None
