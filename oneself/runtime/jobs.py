"""Background jobs: repeated work, with one replica at a time per job."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from accounts.services.database import AccountSession
from oneself.database import Database
from oneself.runtime.thread_pools import Pool

_log = logging.getLogger("oneself.runtime.jobs")

#: How many parts a run does at most: at shutdown, the process waits for it.
_MAX_PARTS = 50
#: How long other transactions have between two parts, in seconds.
_PAUSE = 0.02
#: How long the process waits for a job at shutdown, in seconds.
_STOP_SECONDS = 10.0

Outcome = TypeVar("Outcome")


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
        time.sleep(_PAUSE)


@asynccontextmanager
async def repeated(work: Callable[[], object], seconds: float, pool: Pool) -> AsyncIterator[None]:
    """Repeat work in a thread, every so many seconds, and once more at the end.

    Work that hangs then, because the database does, is left behind.
    """
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
        if not (await asyncio.wait({task}, timeout=_STOP_SECONDS))[0]:
            task.cancel()
            _log.warning("a job hangs, and is left behind")


@asynccontextmanager
async def all_repeated(
    jobs: Sequence[tuple[Callable[[], object], float]], pool: Pool
) -> AsyncIterator[None]:
    """Repeat each of several works, as `repeated` does; at the end, wait for all at once."""
    started = [repeated(work, seconds, pool) for work, seconds in jobs]
    for job in started:
        await job.__aenter__()
    try:
        yield
    finally:
        await asyncio.gather(*(job.__aexit__(None, None, None) for job in started))
