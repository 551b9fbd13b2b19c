"""Group commit: acts of one event loop share a transaction, and so one wait for the disk.

A change takes a fifth of a millisecond of processor time, and as long again, or ten times that,
until it is on disk. One after the other, acts would wait for each other's disk writes. Here the
acts that arrive during a commit are done together in the next transaction. No response is sent
before the commit.

SQLite has no group commit. Drivers with a thread of their own (aiosqlite) hand each statement over
to it, which takes longer than the statement.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from accounts.errors import AccountError, OutcomeUnknown, Unavailable
from oneself.database.sqlite import Sqlite

Outcome = TypeVar("Outcome")

#: The event loop is blocked while a group runs: at most a few milliseconds.
_MAX_GROUP = 32
_MAX_QUEUE = 1024
#: How long an act may wait for its group, and then for the commit, in seconds: together as long as
#: work in a thread (oneself/app.py). The client may have disconnected by then.
_TIMEOUT, _COMMIT_TIMEOUT = 5.0, 4.0
#: While a commit takes longer than this, in seconds, acts are refused at once.
_SLOW_COMMIT = 1.0


_SLOW_DISK = "commits wait for the disk"


class RetryAlone(Exception):
    """The database refused a part of a group, and the whole group was undone.

    To find out which act it refuses, each is done again in a transaction of its own.
    """


class _Member(NamedTuple):
    act: Callable[[Connection], Any]
    result: asyncio.Future[Any]


class GroupCommit:
    """The group commits of a database, for use from one event loop."""

    def __init__(
        self,
        connections: Sqlite,
        *,
        timeout: float = _TIMEOUT,
        commit_timeout: float = _COMMIT_TIMEOUT,
    ) -> None:
        """Start with an empty queue; the timeouts are those of an act and of a commit, in seconds.

        A commit goes on after its timeout; only its acts are answered.
        """
        self._connections = connections
        self._timeout = timeout
        self._commit_timeout = commit_timeout
        self._waiting: deque[_Member] = deque()
        self._committing: set[asyncio.Future[Any]] = set()
        self._commit_began = math.inf
        self._work: asyncio.Task[None] | None = None
        self._thread = _new_thread()

    async def run(self, act: Callable[[Connection], Outcome]) -> Outcome:
        """Do an act in a shared transaction, and return its result after the commit.

        If the act raises an `AccountError`, it has undone its own writes, except those to be kept.

        Raises:
            Unavailable: The queue is full, the act timed out in it, or another writer or the disk
                took too long.
            OutcomeUnknown: The disk took too long for the commit of the act.
            RetryAlone: Nothing was done.
            sqlalchemy.exc.DBAPIError: The transaction could not begin or commit.
        """
        if len(self._waiting) >= _MAX_QUEUE:
            raise Unavailable
        if time.monotonic() - self._commit_began > _SLOW_COMMIT:
            raise Unavailable(reason=_SLOW_DISK)
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append(_Member(act, result))
        if self._work is None:
            # A task of its own: the request that starts it may be cancelled, the others go on.
            self._work = loop.create_task(self._run_groups())
        timer = loop.call_later(self._timeout, self._end_wait, result)
        try:
            return await result
        finally:
            timer.cancel()

    def _end_wait(self, result: asyncio.Future[Any]) -> None:
        """Refuse an act that waits for too long, unless it is being committed."""
        if not result.done() and result not in self._committing:
            result.set_exception(Unavailable())

    def close(self) -> None:
        """End the committing thread; no act may be queued."""
        self._thread.shutdown()
        self._thread = _new_thread()

    async def _run_groups(self) -> None:
        try:
            while self._waiting:
                size = min(len(self._waiting), _MAX_GROUP)
                await self._run_group([self._waiting.popleft() for _ in range(size)])
        finally:
            self._work = None

    async def _run_group(self, members: list[_Member]) -> None:
        try:
            connection = await self._begin()
        except Exception as error:  # noqa: BLE001 # passed on to each act
            # Each further group would wait as long for the same, the last one for minutes.
            _fail([*members, *self._waiting], error)
            self._waiting.clear()
            return
        # Some have timed out meanwhile. A client that has disconnected is no reason to stop.
        members = [each for each in members if each.result.cancelled() or not each.result.done()]
        try:
            outcomes = await self._commit_acts(members, connection)
        except Exception as error:  # noqa: BLE001 # as above
            _fail(members, error)
            return
        for (_, result), (outcome, refusal) in zip(members, outcomes, strict=True):
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
        timer: asyncio.TimerHandle | None = None
        self._committing = {member.result for member in members}
        try:
            outcomes = [_outcome_of(member.act, connection) for member in members]
            # Refused acts wrote nothing: without other writes there is no need to wait for the
            # disk.
            if any(refusal is None or refusal.keep_writes for _, refusal in outcomes):
                timer = asyncio.get_running_loop().call_later(
                    self._commit_timeout, _fail, members, OutcomeUnknown(_SLOW_DISK)
                )
                self._commit_began = time.monotonic()
                await _run_on(self._thread, connection.commit)
        finally:
            self._committing, self._commit_began = set(), math.inf
            if timer is not None:
                timer.cancel()
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
