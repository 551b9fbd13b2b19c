"""Print the microseconds of a request by stage, in one process and without a server.

The entry function of each stage is wrapped in a clock, and the time of nested stages is subtracted.
So a stage has its own time and that of the libraries it calls, and the sum is the duration of the
whole call. Only one request runs at a time, so work in a thread counts as if it ran in line. The
last column is the same request without clocks; the difference to the sum is the cost of the clocks.

Each figure is the tenth percentile of many requests, which other work on the machine disturbs
least. "database" is SQLAlchemy and SQLite, with BEGIN and COMMIT; a change waits there for the
disk. "operation" includes the way to a thread and back.
"""

import functools
import inspect
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import CursorResult
from sqlalchemy.orm import Session

import oneself.app
import oneself.http.caller
import oneself.http.guard
import oneself.http.operations
import oneself.http.response.rendering
from bench.in_process import Application, Request
from bench.stages_cases import CASES, application_with_users
from oneself.database import Database
from oneself.http.request.arguments import ArgumentReader
from oneself.http.response.rendering import ResponseRenderer
from oneself.http.routing import Routing

ROUNDS, TENTH = 300, 10
#: The stages in the order of a request, each with its entry functions.
ENTRIES: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "guard": ((oneself.http.guard.Guard, "__call__"),),
    "routing": ((Routing, "__call__"),),
    "operation": ((oneself.http.operations._Operation, "__call__"),),  # noqa: SLF001 # the entry of the stage
    "credential": (
        (oneself.http.caller.CallerReader, "read_credentials"),
        (oneself.http.caller, "authenticate"),
    ),
    "validation": ((oneself.http.operations, "read_body"), (ArgumentReader, "read")),
    "policy": ((oneself.http.caller, "authorise"),),
    "database": (
        (Database, "transaction"),
        (sqlalchemy.Connection, "execute"),
        (sqlalchemy.Connection, "exec_driver_sql"),
        (Session, "execute"),
        (Session, "flush"),
        (CursorResult, "fetchone"),
        (CursorResult, "_fetchall_impl"),
        (CursorResult, "first"),
    ),
    "handler": ((oneself.app, "find_handler"),),
    "render": (
        (ResponseRenderer, "render"),
        (oneself.http.response.rendering, "answer_of_refusal"),
        (oneself.http.guard, "send_answer"),
    ),
    "log": ((oneself.app, "log_request"),),
}


class Clocks:
    """The time of each stage of the current request, without nested stages."""

    def __init__(self) -> None:
        self.nanoseconds: dict[str, int] = dict.fromkeys(ENTRIES, 0)
        self._stack: list[str] = []
        self._since = 0

    def install(self) -> None:
        """Wrap the entries of all stages; create the application after this."""
        for stage, entries in ENTRIES.items():
            for owner, name in entries:
                setattr(owner, name, self._wrapped(stage, owner, name))

    def _wrapped(self, stage: str, owner: Any, name: str) -> Any:
        attribute = inspect.getattr_static(owner, name)
        function: Callable[..., Any] = getattr(owner, name)
        if name == "find_handler":
            return lambda operation_id: self._timed(stage, function(operation_id))
        if name == "transaction":
            return self._timed_context(stage, function)
        timed = self._timed(stage, function)
        return staticmethod(timed) if isinstance(attribute, staticmethod) else timed

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wait(*arguments: Any, **named: Any) -> Any:
                self._enter(stage)
                try:
                    return await function(*arguments, **named)
                finally:
                    self._leave()

            return wait

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            self._enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self._leave()

        return call

    def _timed_context(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Time the entry and the exit of a context, but not its body."""

        @contextmanager
        def context(*arguments: Any, **named: Any) -> Iterator[Any]:
            self._enter(stage)
            try:
                with function(*arguments, **named) as value:
                    self._leave()
                    try:
                        yield value
                    finally:
                        self._enter(stage)
            finally:
                self._leave()

        return context

    def _enter(self, stage: str) -> None:
        self._turn()
        self._stack.append(stage)

    def _leave(self) -> None:
        self._turn()
        self._stack.pop()

    def _turn(self) -> None:
        """Add the time since the last turn to the stage on top of the stack."""
        now = time.perf_counter_ns()
        if self._stack:
            self.nanoseconds[self._stack[-1]] += now - self._since
        self._since = now

    def take(self) -> dict[str, int]:
        """Return the times of one request, and reset them."""
        taken, self.nanoseconds = self.nanoseconds, dict.fromkeys(ENTRIES, 0)
        return taken


def tenth(values: list[int]) -> float:
    """Return the tenth percentile in microseconds."""
    return statistics.quantiles(values, n=TENTH)[0] / 1000


def measure_without_clocks(
    application: Application, requests: Mapping[str, Request]
) -> dict[str, float]:
    """Return the microseconds of each request without clocks."""
    taken: dict[str, list[int]] = {name: [] for name in requests}
    for number in range(-20, ROUNDS):
        for name, request in requests.items():
            [answer] = application.ask([request])
            if number >= 0:
                taken[name].append(answer.nanoseconds)
            if answer.status != CASES[name].status:
                raise SystemExit(f"{name} returns {answer.status}")
    return {name: tenth(each) for name, each in taken.items()}


def main() -> None:
    """Measure without and with clocks, and print both."""
    with application_with_users() as (application, requests):
        plain = measure_without_clocks(application, requests)
    clocks = Clocks()
    clocks.install()
    taken: dict[str, dict[str, list[int]]] = {
        name: {stage: [] for stage in ENTRIES} for name in CASES
    }
    with application_with_users() as (application, requests):
        for number in range(-20, ROUNDS):
            for name, request in requests.items():
                clocks.take()
                application.ask([request])
                if number >= 0:
                    for stage, nanoseconds in clocks.take().items():
                        taken[name][stage].append(nanoseconds)
    print("µs of a request".ljust(26), *(f"{stage:>10}" for stage in ENTRIES), end="")
    print(f"{'sum':>8}{'unclocked':>11}")
    for name, stages in taken.items():
        row = [tenth(each) for each in stages.values()]
        print(name.ljust(26), *(f"{each:10.1f}" for each in row), end="")
        print(f"{sum(row):8.0f}{plain[name]:11.0f}")


main()
