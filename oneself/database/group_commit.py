"""Acts of one event loop that share a transaction, and so one wait for the disk (group commit).

A change takes a fifth of a millisecond of a processor, and until the disk has it as long again, or
ten times that: one after the other they would wait for each other's disk. Here those that come
while one transaction is committed are done together in the next. Nobody is answered before the
commit.

Written here since SQLite has no such thing, and drivers that have a thread for themselves
(aiosqlite) hand each statement over to it, which takes longer than the statement.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from accounts.errors import AccountError, Unavailable

__all__ = ["GroupCommit", "Groups", "RetryAlone"]

Outcome = TypeVar("Outcome")

#: The event loop does nothing else meanwhile, so that it is a few milliseconds at most.
_MOST_AT_ONCE = 32
_LONGEST_QUEUE = 1024
#: How long an act may wait for its group, in seconds; as long as what waits for a thread
#: (oneself/runtime/thread_pools.py). Whoever asked may have gone by then.
_PATIENCE = 10.0


class Groups(Protocol):
    """Whose transactions are shared."""

    def begin_group(self, *, blocking: bool) -> Connection | None:
        """Begin one that writes, on a connection for it alone; None if that had to be waited for.

        Raises:
            Unavailable: Others were writing for too long.
            sqlalchemy.exc.OperationalError: So was another process, or it fails.
        """

    def end_group(self, connection: Connection) -> None:
        """Roll back what is not committed, and let others write."""


class RetryAlone(Exception):
    """The database refused a part of what was done together, and all of it was undone.

    Which part it would have refused alone, is found out by doing each alone.
    """


class _Member(NamedTuple):
    act: Callable[[Connection], Any]
    told: asyncio.Future[Any]
    since: float


class GroupCommit:
    """To be called from one event loop only."""

    def __init__(self, groups: Groups, *, timeout: float = _PATIENCE) -> None:
        """Begin with nobody; `timeout` is how long an act may wait for its group, in seconds."""
        self._groups = groups
        self._timeout = timeout
        self._waiting: deque[_Member] = deque()
        self._work: asyncio.Task[None] | None = None
        self._thread = _thread()

    async def run(self, act: Callable[[Connection], Outcome]) -> Outcome:
        """Do an act on a connection in whose transaction others act as well; it is committed then.

        The act sees to it that nothing of it is left where it raises an `AccountError`, but what is
        to be kept.

        Raises:
            Unavailable: Too many others wait, its turn came too late, or somebody else was writing
                for too long.
            NotTogether: Nothing was done.
            sqlalchemy.exc.DBAPIError: It could not be begun, or committed.
        """
        if len(self._waiting) >= _LONGEST_QUEUE:
            raise Unavailable
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Member(act, told, time.monotonic()))
        if self._work is None:
            # Of its own, since whoever began it may be cancelled and the others not.
            self._work = loop.create_task(self._do_all())
        return await told

    def close(self) -> None:
        """End the thread that commits; nobody may be waiting."""
        self._thread.shutdown()
        self._thread = _thread()

    async def _do_all(self) -> None:
        try:
            while self._waiting:
                self._refuse_late()
                some = min(len(self._waiting), _MOST_AT_ONCE)
                if some:
                    await self._run_group([self._waiting.popleft() for _ in range(some)])
        finally:
            self._work = None

    def _refuse_late(self) -> None:
        """Refuse those, of whom the first has waited for longest, whose turn comes too late."""
        begun = time.monotonic() - self._timeout
        while self._waiting and self._waiting[0].since < begun:
            _fail([self._waiting.popleft()], Unavailable())

    async def _run_group(self, members: list[_Member]) -> None:
        try:
            connection = await self._begin()
        except Exception as error:  # noqa: BLE001 # each of them is to hear of it
            # Group after group would wait as long for the same, and the last for minutes.
            _fail([*members, *self._waiting], error)
            self._waiting.clear()
            return
        try:
            outcomes = await self._committed(members, connection)
        except Exception as error:  # noqa: BLE001 # as above
            _fail(members, error)
            return
        for (_, told, _), (outcome, refusal) in zip(members, outcomes, strict=True):
            if told.done():  # its client has left
                continue
            if refusal is None:
                told.set_result(outcome)
            else:
                told.set_exception(refusal)

    async def _begin(self) -> Connection:
        connection = self._groups.begin_group(blocking=False)
        if connection is not None:
            return connection
        return await _in(self._thread, self._begin_with_patience)

    async def _committed(
        self, members: list[_Member], connection: Connection
    ) -> list[tuple[Any, AccountError | None]]:
        """What each act returned, or was refused for, once all are committed."""
        try:
            outcomes = [_outcome_of(each.act, connection) for each in members]
            # What was refused has left nothing behind that the disk would have to be waited for.
            if any(refusal is None or refusal.keep_writes for _, refusal in outcomes):
                await _in(self._thread, connection.commit)
        finally:
            self._groups.end_group(connection)
        return outcomes

    def _begin_with_patience(self) -> Connection:
        connection = self._groups.begin_group(blocking=True)
        if connection is None:
            raise AssertionError("whoever waits has it, or an error")
        return connection


def _thread() -> ThreadPoolExecutor:
    """For one thread, which it starts only when it is needed."""
    return ThreadPoolExecutor(1, thread_name_prefix="commit")


async def _in(thread: ThreadPoolExecutor, work: Callable[[], Outcome]) -> Outcome:
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def _fail(members: Iterable[_Member], error: Exception) -> None:
    for member in members:
        if not member.told.done():
            member.told.set_exception(error)


def _outcome_of(
    act: Callable[[Connection], Outcome], connection: Connection
) -> tuple[Outcome | None, AccountError | None]:
    try:
        return act(connection), None
    except AccountError as refusal:
        return None, refusal
    except SQLAlchemyError as error:
        # SQLite ends the whole transaction by itself where the disk is full or broken.
        raise RetryAlone from error
