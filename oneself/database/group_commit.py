"""Group commit: acts of one event loop share a transaction, and so one wait for the disk.

A change takes a fifth of a millisecond of processor time, and as long again, or ten times that,
until it is on disk. One after the other, acts would wait for each other's disk writes. Here the
acts that arrive during a commit are done together in the next transaction. No response is sent
before the commit.

SQLite has no group commit. Drivers with a thread of their own (aiosqlite) hand each statement over
to it, which takes longer than the statement.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from accounts.errors import AccountError, Unavailable
from oneself.database.sqlite import Sqlite

Outcome = TypeVar("Outcome")

#: The event loop is blocked while a group runs: at most a few milliseconds.
_MAX_GROUP = 32
_MAX_QUEUE = 1024
#: How long an act may wait for its group, in seconds: as long as work waits for a thread
#: (oneself/runtime/thread_pools.py). The client may have disconnected by then.
_TIMEOUT = 10.0


class RetryAlone(Exception):
    """The database refused a part of a group, and the whole group was undone.

    To find out which act it refuses, each is done again in a transaction of its own.
    """


class _Member(NamedTuple):
    act: Callable[[Connection], Any]
    result: asyncio.Future[Any]
    queued_at: float


class GroupCommit:
    """The group commits of a database, for use from one event loop."""

    def __init__(self, connections: Sqlite, *, timeout: float = _TIMEOUT) -> None:
        """Start with an empty queue; `timeout` is how long an act may wait, in seconds."""
        self._connections = connections
        self._timeout = timeout
        self._waiting: deque[_Member] = deque()
        self._work: asyncio.Task[None] | None = None
        self._thread = _new_thread()

    async def run(self, act: Callable[[Connection], Outcome]) -> Outcome:
        """Do an act in a shared transaction, and return its result after the commit.

        If the act raises an `AccountError`, it has undone its own writes, except those to be kept.

        Raises:
            Unavailable: The queue is full, the act timed out in it, or another writer took too
                long.
            RetryAlone: Nothing was done.
            sqlalchemy.exc.DBAPIError: The transaction could not begin or commit.
        """
        if len(self._waiting) >= _MAX_QUEUE:
            raise Unavailable
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Member(act, result, time.monotonic()))
        if self._work is None:
            # A task of its own: the request that starts it may be cancelled, the others go on.
            self._work = loop.create_task(self._run_groups())
        return await result

    def close(self) -> None:
        """End the committing thread; no act may be queued."""
        self._thread.shutdown()
        self._thread = _new_thread()

    async def _run_groups(self) -> None:
        try:
            while self._waiting:
                self._fail_timed_out()
                size = min(len(self._waiting), _MAX_GROUP)
                if size:
                    await self._run_group([self._waiting.popleft() for _ in range(size)])
        finally:
            self._work = None

    def _fail_timed_out(self) -> None:
        """Fail queued acts that have timed out; the first has waited longest."""
        oldest_allowed = time.monotonic() - self._timeout
        while self._waiting and self._waiting[0].queued_at < oldest_allowed:
            _fail([self._waiting.popleft()], Unavailable())

    async def _run_group(self, members: list[_Member]) -> None:
        try:
            connection = await self._begin()
        except Exception as error:  # noqa: BLE001 # passed on to each act
            # Each further group would wait as long for the same, the last one for minutes.
            _fail([*members, *self._waiting], error)
            self._waiting.clear()
            return
        try:
            outcomes = await self._commit_acts(members, connection)
        except Exception as error:  # noqa: BLE001 # as above
            _fail(members, error)
            return
        for (_, result, _), (outcome, refusal) in zip(members, outcomes, strict=True):
            if result.done():  # its client has disconnected
                continue
            if refusal is None:
                result.set_result(outcome)
            else:
                result.set_exception(refusal)

    async def _begin(self) -> Connection:
        connection = self._connections.begin_group(blocking=False)
        if connection is None:
            connection = await _run_on(self._thread, self._begin_blocking)
        return connection

    async def _commit_acts(
        self, members: list[_Member], connection: Connection
    ) -> list[tuple[Any, AccountError | None]]:
        """Do the acts and commit; return the result or refusal of each."""
        try:
            outcomes = [_outcome_of(member.act, connection) for member in members]
            # Refused acts wrote nothing: without other writes there is no need to wait for the
            # disk.
            if any(refusal is None or refusal.keep_writes for _, refusal in outcomes):
                await _run_on(self._thread, connection.commit)
        finally:
            self._connections.end_group(connection)
        return outcomes

    def _begin_blocking(self) -> Connection:
        connection = self._connections.begin_group(blocking=True)
        if connection is None:
            raise AssertionError("a blocking begin returns a connection or raises")
        return connection


def _new_thread() -> ThreadPoolExecutor:
    """Return an executor with one thread, which starts when it is first needed."""
    return ThreadPoolExecutor(1, thread_name_prefix="commit")


async def _run_on(thread: ThreadPoolExecutor, work: Callable[[], Outcome]) -> Outcome:
    return await asyncio.get_running_loop().run_in_executor(thread, work)


def _fail(members: Iterable[_Member], error: Exception) -> None:
    for member in members:
        if not member.result.done():
            member.result.set_exception(error)


def _outcome_of(
    act: Callable[[Connection], Outcome], connection: Connection
) -> tuple[Outcome | None, AccountError | None]:
    try:
        return act(connection), None
    except AccountError as refusal:
        return None, refusal
    except SQLAlchemyError as error:
        # SQLite rolls back the whole transaction by itself when the disk is full or broken.
        raise RetryAlone from error
