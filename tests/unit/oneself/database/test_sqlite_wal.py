"""A long write-ahead log of a SQLite file is truncated, even under constant reads (DB-07)."""

import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from oneself.database import open_engine
from tests.support.deadlines import patient

pytestmark = pytest.mark.only_on("sqlite")

MAX_WAL_BYTES = 16 * 1024 * 1024
ROW = b"x" * 50_000


@pytest.fixture
def write_bytes(env):
    """Writes so many bytes, one row per transaction; returns the size of the log."""
    env.execute("CREATE TABLE filling (content BLOB)")

    def write(size):
        for _ in range(size // len(ROW)):
            env.execute("INSERT INTO filling VALUES (?)", ROW)
        return _wal_size(env)

    return write


def _wal_size(env):
    return env.location.with_name(f"{env.location.name}-wal").stat().st_size


@contextmanager
def _reading(env):
    """Keep a read transaction open."""
    engine = open_engine(env.location)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql("SELECT count(*) FROM filling").all()
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


@contextmanager
def _constant_reads(env):
    """Begin a read transaction before the previous one ends, so that one is always open."""
    begun, stopped = threading.Event(), threading.Event()

    def read():
        current = ExitStack()
        while not stopped.is_set():
            following = ExitStack()
            following.enter_context(_reading(env))
            begun.set()
            current.close()
            current = following
        current.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert begun.wait(patient(10))
        yield
    finally:
        stopped.set()
        reader.join(patient(30))


def test_short_log_is_not_truncated(env, write_bytes):
    """DB-07: SQLite does it by itself, and no transaction has to wait."""
    before = write_bytes(MAX_WAL_BYTES // 8)
    env.database.maintain()
    assert _wal_size(env) == before > 0


def test_log_is_truncated_after_a_long_read(env, write_bytes):
    """DB-07: not during the read, such as a backup; writes go on."""
    with _reading(env):
        wal_size = write_bytes(MAX_WAL_BYTES + MAX_WAL_BYTES // 4)
        assert wal_size > MAX_WAL_BYTES
        env.database.maintain()
        assert _wal_size(env) == wal_size
        assert write_bytes(len(ROW)) >= wal_size
    env.database.maintain()
    assert _wal_size(env) == 0
    assert (
        env.act(
            lambda session: session.core.exec_driver_sql(
                "SELECT sum(length(content)) FROM filling"
            ).scalar()
        )
        >= MAX_WAL_BYTES
    )


def test_log_is_truncated_under_constant_reads(env, write_bytes):
    """DB-07: otherwise it would grow without limit, although each read is short."""
    with _constant_reads(env):
        assert max(write_bytes(MAX_WAL_BYTES // 2) for _ in range(4)) > MAX_WAL_BYTES
        deadline = time.monotonic() + patient(10)
        while _wal_size(env) > MAX_WAL_BYTES:  # it may have to wait for a reader
            assert time.monotonic() < deadline
            env.database.maintain()
