"""Prints the microseconds of a request by its stages, in one process and without a server.

The function that a stage begins with is wrapped in a clock, and what runs within another's is taken
off: so a stage has what it does itself, with the libraries that it calls, and all of them together
are the time from the call of the application to its return. Only one request is on its way at a
time, so that what a thread does for it counts as if there were no other. The last column is the
same request without any clock: the difference to the sum is what the clocks cost.

Each figure is the tenth percentile of many requests, which other work on the machine disturbs
least. "database" is SQLAlchemy and SQLite, with the BEGIN and the COMMIT; a change waits there for
the disk, and "operation" has the way to a thread and back.
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
from bench.stages_cases import CASES, application_with_people
from oneself.database import Database
from oneself.http.request.credential_reader import CredentialReader
from oneself.http.request.parameters import Parameters
from oneself.http.request.request_body import RequestBodyReader
from oneself.http.response.rendering import ResponseRenderer
from oneself.http.routing import Routing

ROUNDS, TENTH = 300, 10
#: In the order in which a request comes through them, each with where it begins.
BEGINNINGS: Mapping[str, tuple[tuple[Any, str], ...]] = {
    "guard": ((oneself.http.guard.Guard, "__call__"),),
    "routing": ((Routing, "__call__"),),
    "operation": ((oneself.http.operations._Operation, "__call__"),),  # noqa: SLF001 # it begins there
    "credential": ((CredentialReader, "read"), (oneself.http.caller, "authenticate")),
    "validation": (
        (oneself.http.operations, "read_body"),
        (Parameters, "read"),
        (RequestBodyReader, "read"),
    ),
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
    """How long each stage of the present request has taken, without those within it."""

    def __init__(self) -> None:
        self.nanoseconds: dict[str, int] = dict.fromkeys(BEGINNINGS, 0)
        self._stack: list[str] = []
        self._since = 0

    def install(self) -> None:
        """Wrap the beginning of each stage; the application has to be made after this."""
        for stage, beginnings in BEGINNINGS.items():
            for owner, name in beginnings:
                setattr(owner, name, self._wrapped(stage, owner, name))

    def _wrapped(self, stage: str, owner: Any, name: str) -> Any:
        found = inspect.getattr_static(owner, name)
        function: Callable[..., Any] = getattr(owner, name)
        if name == "find_handler":
            return lambda operation_id: self._timed(stage, function(operation_id))
        if name == "transaction":
            return self._timed_context(stage, function)
        timed = self._timed(stage, function)
        return staticmethod(timed) if isinstance(found, staticmethod) else timed

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
        """Count its beginning and its end, and leave what is done in between to its own stages."""

        @contextmanager
        def context(*arguments: Any, **named: Any) -> Iterator[Any]:
            self._enter(stage)
            try:
                with function(*arguments, **named) as given:
                    self._leave()
                    try:
                        yield given
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
        """Give the stage that was on top what has passed since the last turn."""
        now = time.perf_counter_ns()
        if self._stack:
            self.nanoseconds[self._stack[-1]] += now - self._since
        self._since = now

    def take(self) -> dict[str, int]:
        """What one request has taken, and begin anew."""
        taken, self.nanoseconds = self.nanoseconds, dict.fromkeys(BEGINNINGS, 0)
        return taken


def tenth(values: list[int]) -> float:
    """The tenth percentile in microseconds."""
    return statistics.quantiles(values, n=TENTH)[0] / 1000


def whole(application: Application, requests: Mapping[str, Request]) -> dict[str, float]:
    """The microseconds of each request without any clock in it."""
    taken: dict[str, list[int]] = {name: [] for name in requests}
    for number in range(-20, ROUNDS):
        for name, request in requests.items():
            [answer] = application.ask([request])
            if number >= 0:
                taken[name].append(answer.nanoseconds)
            if answer.status != CASES[name].status:
                raise SystemExit(f"{name} answers {answer.status}")
    return {name: tenth(each) for name, each in taken.items()}


def main() -> None:
    """Measure without clocks and then with them, and print both."""
    with application_with_people() as (application, requests):
        plain = whole(application, requests)
    clocks = Clocks()
    clocks.install()
    taken: dict[str, dict[str, list[int]]] = {
        name: {stage: [] for stage in BEGINNINGS} for name in CASES
    }
    with application_with_people() as (application, requests):
        for number in range(-20, ROUNDS):
            for name, request in requests.items():
                clocks.take()
                application.ask([request])
                if number >= 0:
                    for stage, nanoseconds in clocks.take().items():
                        taken[name][stage].append(nanoseconds)
    print("µs of a request".ljust(26), *(f"{stage:>10}" for stage in BEGINNINGS), end="")
    print(f"{'sum':>8}{'unclocked':>11}")
    for name, stages in taken.items():
        row = [tenth(each) for each in stages.values()]
        print(name.ljust(26), *(f"{each:10.1f}" for each in row), end="")
        print(f"{sum(row):8.0f}{plain[name]:11.0f}")


main()
