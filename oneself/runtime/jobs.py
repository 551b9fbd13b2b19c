"""Background jobs: repeated work, with one replica at a time per job."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from typing import TypeVar

from accounts.errors import Unavailable
from accounts.services.database import AccountSession
from oneself.database import Database
from oneself.runtime.thread_pools import Pool

_log = logging.getLogger("oneself.runtime.jobs")

#: How long a run begins new parts, in seconds: at shutdown, the process waits for it.
_SECONDS = 2.0
#: How long other transactions have between two parts, in seconds.
PAUSE = 0.02
#: How long the process waits for a job at shutdown, in seconds.
_STOP_SECONDS = 5.0
#: How long until an unfinished run is continued, in seconds.
_BREAK = 0.1

Outcome = TypeVar("Outcome")
Found = TypeVar("Found")


class Unfinished(Enum):
    """The result of a run that has left work, to be continued soon."""

    UNFINISHED = auto()


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


def run_in_parts(
    database: Database, lock: str, act: Callable[[AccountSession], int]
) -> Unfinished | None:
    """Run a background job in parts, until a part has nothing left to do or the time is over.

    Each part is a transaction of its own, so that other transactions can write in between: on
    SQLite they would wait for the whole job otherwise.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """
    deadline = time.monotonic() + _SECONDS
    # None means that another replica runs a part, and not that nothing is left.
    while run_alone(database, lock, act) != 0:
        if time.monotonic() > deadline:
            return Unfinished.UNFINISHED
        time.sleep(PAUSE)
    return None


def run_found_parts(
    database: Database,
    lock: str,
    find: Callable[[AccountSession], Sequence[Callable[[AccountSession], object]]],
) -> Unfinished | None:
    """Find the parts of a background job by reads, and run them until none is found.

    Finding them may take long, and no other transaction waits for it. Two replicas may find the
    same parts: a part must check what it changes.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """
    deadline = time.monotonic() + _SECONDS

    def read() -> Sequence[Callable[[AccountSession], object]]:
        with database.transaction(writing=False) as session:
            return find(session)

    while parts := database.attempt(read):
        for part in parts:
            run_alone(database, lock, part)
            if time.monotonic() > deadline:
                return Unfinished.UNFINISHED
            time.sleep(PAUSE)
    return None


@asynccontextmanager
async def repeated(
    work: Callable[[], object], seconds: float, pool: Pool, *, stop_seconds: float = _STOP_SECONDS
) -> AsyncIterator[None]:
    """Repeat work in a thread, every so many seconds, and once more at the end.

    Work that returns `Unfinished` is continued sooner. Work that takes longer than `stop_seconds`
    at the end, because the database hangs, is left behind.
    """
    stopping = asyncio.Event()

    async def repeat() -> None:
        is_last = False
        while not is_last:
            is_last = stopping.is_set()
            pause = seconds
            try:
                if await pool.run(work) is Unfinished.UNFINISHED:
                    pause = min(_BREAK, seconds)
            except Unavailable as refusal:
                if refusal.reason is None:  # otherwise the cause is logged where it is found
                    _log.exception("a job failed")
            except Exception:  # noqa: BLE001 # logged
                # The next run may succeed; a job that stopped for good would go unnoticed.
                _log.exception("a job failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(0 if is_last else pause):
                    await stopping.wait()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        stopping.set()
        if not (await asyncio.wait({task}, timeout=stop_seconds))[0]:
            task.cancel()
            _log.warning("a job hangs, and is left behind")


@asynccontextmanager
async def all_repeated(
    jobs: Sequence[tuple[Callable[[], object], float]],
    pool: Pool,
    *,
    stop_seconds: float = _STOP_SECONDS,
) -> AsyncIterator[None]:
    """Repeat each of several works, as `repeated` does; at the end, wait for all at once."""
    started = [repeated(*job, pool, stop_seconds=stop_seconds) for job in jobs]
    for job in started:
        await job.__aenter__()
    try:
        yield
    finally:
        await asyncio.gather(*(job.__aexit__(None, None, None) for job in started))
