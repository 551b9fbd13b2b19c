"""Background jobs: repeated work, with one replica at a time per job."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar

from accounts.services.database import AccountSession
from oneself.database import Database
from oneself.runtime.thread_pools import Pool

_log = logging.getLogger("oneself.runtime.jobs")

#: How many parts a run does at most: at shutdown, the process waits for it.
_MAX_PARTS = 50
#: How long other transactions have between two parts, in seconds.
PAUSE = 0.02
#: How long a run in batches begins new ones, in seconds, for the same reason.
_RUN_SECONDS = 5.0
#: How many rows a batch has: writing them takes far less time than a writer may wait.
_BATCH = 200

Outcome = TypeVar("Outcome")
Found = TypeVar("Found")


def run_act(database: Database, act: Callable[[AccountSession], Outcome]) -> Outcome:
    """Run an act that has no user, in a transaction of its own, and return its result.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """

    def run() -> Outcome:
        with database.transaction(writing=True) as session:
            return act(session)

    return database.attempt(run)


def run_alone(
    database: Database, lock: str, act: Callable[[AccountSession], Outcome]
) -> Outcome | None:
    """Run a background job, unless another replica holds its lock; return its result, or None.

    `lock` names the job for all replicas. It is written down and not derived from the function:
    while a deployment is upgraded, replicas of two releases run side by side and must agree.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """

    def run(session: AccountSession) -> Outcome | None:
        if session.try_lock(f"job {lock}"):
            return act(session)
        return None

    return run_act(database, run)


def run_in_parts(database: Database, lock: str, act: Callable[[AccountSession], int]) -> None:
    """Run a background job in parts, until a part has nothing left to do.

    Each part is a transaction of its own, so that other transactions can write in between: on
    SQLite they would wait for the whole job otherwise. Work beyond the limit of one run is left to
    the next.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """
    for _ in range(_MAX_PARTS):
        if not run_alone(database, lock, act):
            return
        time.sleep(PAUSE)


def run_in_batches(
    find: Callable[[AccountSession], Sequence[Found]],
    database: Database,
    lock: str,
    act: Callable[[AccountSession, Sequence[Found]], int],
) -> None:
    """Find rows and act on them in batches, until nothing is found or the time is over.

    Rows are found in a reading transaction, which no writer waits for, however long it takes. The
    act must therefore tolerate that another replica has acted on a row meanwhile; it then returns
    0, which ends the run.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """

    def look() -> Sequence[Found]:
        with database.transaction(writing=False) as session:
            return find(session)

    end = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < end and (rows := database.attempt(look)):
        for first in range(0, len(rows), _BATCH):
            batch = rows[first : first + _BATCH]
            if not run_alone(database, lock, partial(_act_on, act, batch)):
                return
            time.sleep(PAUSE)


def _act_on(
    act: Callable[[AccountSession, Sequence[Found]], int],
    rows: Sequence[Found],
    session: AccountSession,
) -> int:
    return act(session, rows)


@asynccontextmanager
async def repeated(work: Callable[[], object], seconds: float, pool: Pool) -> AsyncIterator[None]:
    """Repeat work in a thread, every so many seconds, and once more at the end."""
    stopping = asyncio.Event()

    async def repeat() -> None:
        is_last = False
        while not is_last:
            is_last = stopping.is_set()
            try:
                await pool.run(work)
            except Exception:  # noqa: BLE001 # logged
                # The next run may succeed; a job that stopped for good would go unnoticed.
                _log.exception("a job failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if is_last else seconds):
                    await stopping.wait()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        stopping.set()
        await task
