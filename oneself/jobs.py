"""Work that is done now and then, beside the requests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from accounts.database import AccountSession
from oneself.transactions import Database
from oneself.workloads import Pool

__all__ = ["repeated", "run_act", "run_alone"]

_log = logging.getLogger("oneself.jobs")


def run_act(database: Database, act: Callable[[AccountSession], object]) -> None:
    """Run an act of nobody's in a transaction of its own.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """

    def run() -> None:
        with database.transaction(writing=True) as session:
            act(session)

    database.attempt(run)


def run_alone(database: Database, act: Callable[[AccountSession], object]) -> None:
    """Run an act of nobody's, unless another replica is just doing so.

    Raises:
        sqlalchemy.exc.OperationalError: The database does not answer.
    """

    def run(session: AccountSession) -> None:
        if session.try_to_hold(f"job {act.__module__}.{act.__qualname__}"):
            act(session)

    run_act(database, run)


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
