"""Runner that sends probes to a deployment and checks the responses."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from itertools import cycle

from oneself_conformance.levels import Violation
from oneself_conformance.probes.assertions import ConnectionResult, find_violations
from oneself_conformance.probes.exchange import (
    DRIBBLE_SECONDS,
    GO_ON_SECONDS,
    Exchange,
    exchange_of,
)
from oneself_conformance.probes.table import MissingWord, Probe, Segment
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Connection

#: The number of parallel probes, in addition to those that wait for a deadline.
_THREADS = 16
#: The wait for a surplus response: this, plus twice the time that the last response took.
_QUIET_SECONDS = 0.3
_MAX_QUIET_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """The outcome of a probe: its violations, or why it was skipped.

    `blocked_others` is true if other clients got no response afterwards.
    """

    probe: Probe
    broken: tuple[Violation, ...] = ()
    skipped: str | None = None
    exchange: Exchange | None = None
    blocked_others: bool = False


def run_probes(probes: Iterable[Probe], target: ProbeTarget) -> Iterator[ProbeOutcome]:
    """Send probes in parallel, and yield each outcome as it is known.

    All probes that wait for the deployment's deadline run at the same time. Once other clients get
    no response, the remaining probes are skipped, because each would only time out.
    """
    slow_first = sorted(probes, key=lambda probe: not probe.is_slow)
    slow = sum(probe.is_slow for probe in slow_first)
    stopped = threading.Event()

    def run(probe: Probe) -> ProbeOutcome:
        if stopped.is_set():
            return ProbeOutcome(probe, skipped="The deployment has stopped responding.")
        outcome = run_probe(probe, target)
        if outcome.blocked_others:
            stopped.set()
        return outcome

    with ThreadPoolExecutor(_THREADS + slow) as threads:
        for each in as_completed([threads.submit(run, probe) for probe in slow_first]):
            yield each.result()


def run_probe(probe: Probe, target: ProbeTarget) -> ProbeOutcome:
    """Send a probe, check the responses, and check that other clients are still served."""
    if probe.only not in {None, target.address.scheme}:
        return ProbeOutcome(probe, skipped=f"The deployment does not speak {probe.only}.")
    try:
        openings = probe.openings(target)
    except MissingWord as missing:
        return ProbeOutcome(probe, skipped=f"The target has no {missing}.")
    broken: list[Violation] = []

    def note(text: str) -> None:
        broken.append(Violation(text, probe.level, probe.standard or probe.source))

    shown_result = ConnectionResult(openings[0])
    try:
        with ExitStack() as stack:
            run = _Run(probe, target)
            run.open(openings, stack)
            for problem in run.act():
                note(problem)
            for result in run.listen():
                if violations := tuple(find_violations(probe, result, target)):
                    # One of many similar connections is enough for the report.
                    broken += violations
                    shown_result = result
                    break
                shown_result = result
    except OSError as error:
        note(f"No connection could be opened: {error}.")
    if (others := _other_client_problem(target)) is not None:
        note(f"Afterwards, another client {others}.")
    return ProbeOutcome(
        probe,
        tuple(broken),
        exchange=exchange_of(probe, shown_result.opening, shown_result.received, target),
        blocked_others=others is not None,
    )


@dataclass
class _Run:
    """One run of a probe, over one or more connections."""

    _probe: Probe
    _target: ProbeTarget
    _connections: list[tuple[Connection, tuple[Segment, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        seconds = self._target.deadline_seconds + self._target.timeout_seconds
        self._deadline = time.monotonic() + seconds
        self._follow_up = self._probe.follow_up(self._target)

    def open(self, openings: tuple[tuple[Segment, ...], ...], stack: ExitStack) -> None:
        """Open the connections of the probe, and send the first bytes over each."""
        address, seconds = self._target.address, self._target.timeout_seconds
        for _, opening in zip(range(self._probe.connections), cycle(openings), strict=False):
            connection = stack.enter_context(
                Connection(address, seconds=seconds, plain=self._probe.plain)
            )
            self._connections.append((connection, opening))
            for segment in opening:
                if not connection.send(segment.whole, seconds=self._remaining()):
                    break

    def act(self) -> list[str]:
        """Do what follows the first bytes; return problems of other clients meanwhile."""
        then = self._probe.then
        if then == "dribble":
            return self._dribble()
        for connection, _ in self._connections:
            if then == "half_close":
                connection.half_close()
            elif then == "reset":
                connection.reset()
            elif then == "go_on":
                connection.read(1, seconds=GO_ON_SECONDS, quiet_seconds=0)
                for segment in self._follow_up:
                    connection.send(segment.whole, seconds=self._remaining())
        return []

    def _dribble(self) -> list[str]:
        problems: list[str] = []
        pieces = (segment.data for segment in self._follow_up for _ in range(segment.times))
        open_connections = [connection for connection, _ in self._connections]
        for piece in pieces:
            for connection in open_connections:
                connection.receive(seconds=0)
            # A connection with a response only waits for its end.
            open_connections = [
                each for each in open_connections if not each.is_closed and not each.received
            ]
            if not open_connections or time.monotonic() > self._deadline:
                break
            for connection in open_connections:
                connection.send(piece, seconds=1)
            if len(open_connections) > 1 and not problems:
                problem = _other_client_problem(self._target)
                problems += [f"Meanwhile, another client {problem}."] if problem else []
            time.sleep(DRIBBLE_SECONDS)
        return problems

    def listen(self) -> Iterator[ConnectionResult]:
        """Yield the result of each connection, unless the probe has disconnected."""
        if self._probe.then in {"leave", "reset"}:
            return
        expected = self._probe.expected
        for connection, opening in self._connections:
            read = partial(connection.read, len(expected.answers), bodiless=expected.bodiless)
            began = time.monotonic()
            result = read(seconds=self._remaining(), quiet_seconds=0)
            if not connection.is_closed:
                elapsed = time.monotonic() - began
                quiet = min(_QUIET_SECONDS + 2 * elapsed, _MAX_QUIET_SECONDS)
                if expected.then_closed:
                    quiet = self._remaining()
                result = read(seconds=self._remaining(), quiet_seconds=quiet)
            ends = connection.is_closed, connection.was_reset
            yield ConnectionResult(opening, connection.received, result, *ends)

    def _remaining(self) -> float:
        return max(0.01, self._deadline - time.monotonic())


def _other_client_problem(target: ProbeTarget) -> str | None:
    """Return what is wrong with the response to another client, or None."""
    path, credential = (target.health, None) if target.health else (target.read, target.credential)
    is_known = path is not None
    lines = [f"GET {path or '/'} HTTP/1.1", f"Host: {target.host}", "Connection: close"]
    lines += [credential] if credential else []
    seconds = target.timeout_seconds
    try:
        with Connection(target.address, seconds=seconds) as connection:
            connection.send("\r\n".join([*lines, "", ""]).encode(), seconds=seconds)
            read = connection.read(1, seconds=seconds, quiet_seconds=0)
    except OSError as error:
        return f"could not connect: {error}"
    if not read.final:
        return f"got no response within {seconds:g} s"
    status = read.final[0].status
    # Without a path that is known, the response need only be one.
    is_good = status == HTTPStatus.OK if is_known else status < HTTPStatus.INTERNAL_SERVER_ERROR
    return None if is_good else f"got a {status}"
