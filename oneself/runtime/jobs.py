"""Work that is done now and then, beside the requests."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from accounts.services.database import AccountSession
from oneself.database import Database
from oneself.runtime.thread_pools import Pool

__all__ = ["repeated", "run_act", "run_alone", "run_in_parts"]

_log = logging.getLogger("oneself.runtime.jobs")

#: How many parts of an act are run one after the other, at most: at the end somebody waits.
_MOST_PARTS = 50
#: How long others have between two of them, in seconds.
_PAUSE = 0.02

Outcome = TypeVar("Outcome")


def run_act(database: Database, act: Callable[[AccountSession], Outcome]) -> Outcome:
    """Run an act of nobody's in a transaction of its own; returns what it does.

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
    """Run a background job, unless another replica holds its lock.

    `lock` names the job for all replicas. It is written down and not derived from the function:
    while a deployment is upgraded, replicas of two releases run side by side and must agree.

    Returns the job's result, or None when another replica is running it.

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

    Each part is a transaction of its own, and between two of them others write: on SQLite they
    would wait for all of it otherwise. What is too much for one run is left for the next.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """
    for _ in range(_MOST_PARTS):
        if not run_alone(database, lock, act):
            return
        time.sleep(_PAUSE)


@asynccontextmanager
async def repeated(work: Callable[[], object], seconds: float, pool: Pool) -> AsyncIterator[None]:
    """Do the work now and then in a thread, and once more at the end."""
    ending = asyncio.Event()

    async def repeat() -> None:
        last = False
        while not last:
            last = ending.is_set()
            try:
                await pool.run(work)
            except Exception:  # noqa: BLE001 # whatever it was, it is logged
                # The next time may be better; a job that ended for good would be missed by nobody.
                _log.exception("a job failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if last else seconds):
                    await ending.wait()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        ending.set()
        await task
