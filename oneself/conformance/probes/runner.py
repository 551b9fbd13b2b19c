"""Sends probes to a deployment, and sees what comes of them."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus

from oneself.conformance.probes.assertions import Came, find_violations
from oneself.conformance.probes.exchange import (
    DRIBBLE_SECONDS,
    GO_ON_SECONDS,
    Exchange,
    exchange_of,
)
from oneself.conformance.probes.table import Lacking, Probe, Segment
from oneself.conformance.probes.target import ProbeTarget
from oneself.conformance.probes.wire import Connection

__all__ = ["ProbeOutcome", "run_probe", "run_probes"]

#: How many probes run side by side, beside those that only wait for a deadline.
_THREADS = 16
#: How long after the last answer another one is waited for, which nobody asked for; this, and
#: twice what the last one took.
_QUIET_SECONDS = 0.3
_MOST_QUIET_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What came of a probe: each thing that should not have, or why it was not tried.

    `others_waited` is whether nobody else was answered any more.
    """

    probe: Probe
    broken: tuple[str, ...] = ()
    skipped: str | None = None
    exchange: Exchange | None = None
    seconds: float = 0.0
    others_waited: bool = False


def run_probes(probes: Iterable[Probe], target: ProbeTarget) -> Iterator[ProbeOutcome]:
    """Send many, several at once, and give each outcome as it is known.

    Those that wait for the deployment's deadline all wait at the same time. When nobody is answered
    any more the rest is not tried: it would be waited for in vain, one after the other.
    """
    slow_first = sorted(probes, key=lambda probe: not probe.is_slow)
    slow = sum(probe.is_slow for probe in slow_first)
    over = threading.Event()

    def run(probe: Probe) -> ProbeOutcome:
        if over.is_set():
            return ProbeOutcome(probe, skipped="The deployment no longer answers anybody.")
        outcome = run_probe(probe, target)
        if outcome.others_waited:
            over.set()
        return outcome

    with ThreadPoolExecutor(_THREADS + slow) as threads:
        for each in as_completed([threads.submit(run, probe) for probe in slow_first]):
            yield each.result()


def run_probe(probe: Probe, target: ProbeTarget) -> ProbeOutcome:
    """Send one, judge what comes, and see whether somebody else is still answered."""
    if probe.only not in {None, target.address.scheme}:
        return ProbeOutcome(probe, skipped=f"The deployment does not speak {probe.only}.")
    try:
        openings = probe.openings(target)
        later = probe.afterwards(target)
    except Lacking as lacking:
        return ProbeOutcome(probe, skipped=f"The deployment was given no {lacking}.")
    began = time.monotonic()
    broken: list[str] = []
    shown = Came(openings[0])
    try:
        with ExitStack() as stack:
            run = _Run(probe, target, later, stack)
            run.open(openings)
            broken += run.act()
            for came in run.listen():
                if found := tuple(find_violations(probe, came, target)):
                    # Of many that are alike, one is enough to read.
                    shown, broken = came, [*broken, *found]
                    break
                shown = came
    except OSError as error:
        broken.append(f"No connection could be opened: {error}.")
    if (trouble := _trouble_of_others(target)) is not None:
        broken.append(f"Afterwards, somebody else {trouble}.")
    return ProbeOutcome(
        probe,
        tuple(broken),
        exchange=exchange_of(probe, shown.opening, shown.received, target),
        seconds=time.monotonic() - began,
        others_waited=trouble is not None,
    )


class _Run:
    """One probe on its way, over one connection or many."""

    def __init__(
        self, probe: Probe, target: ProbeTarget, later: tuple[Segment, ...], stack: ExitStack
    ) -> None:
        self._probe = probe
        self._target = target
        self._later = later
        self._stack = stack
        self._deadline = time.monotonic() + target.deadline_seconds + target.patience_seconds
        self._connections: list[tuple[Connection, tuple[Segment, ...]]] = []

    def open(self, openings: tuple[tuple[Segment, ...], ...]) -> None:
        """Connect as often as the probe says, and send the first bytes over each connection.

        Raises:
            OSError: Nobody listens.
        """
        for number in range(self._probe.connections):
            opening = openings[number % len(openings)]
            connection = self._stack.enter_context(
                Connection(
                    self._target.address,
                    seconds=self._target.patience_seconds,
                    plain=self._probe.plain,
                )
            )
            self._connections.append((connection, opening))
            for segment in opening:
                if not connection.send(segment.whole, seconds=self._left()):
                    break

    def act(self) -> list[str]:
        """Do what follows the first bytes; what others had to suffer meanwhile is told."""
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
                for segment in self._later:
                    connection.send(segment.whole, seconds=self._left())
        return []

    def _dribble(self) -> list[str]:
        troubles: list[str] = []
        pieces = (segment.data for segment in self._later for _ in range(segment.times))
        talking = [connection for connection, _ in self._connections]
        for piece in pieces:
            for connection in talking:
                connection.receive(seconds=0)
            # Whoever has an answer has been heard, and only waits for the end.
            talking = [each for each in talking if not each.is_closed and not each.received]
            if not talking or time.monotonic() > self._deadline:
                break
            for connection in talking:
                connection.send(piece, seconds=1)
            if len(talking) > 1 and not troubles:
                trouble = _trouble_of_others(self._target)
                troubles += [f"Meanwhile, somebody else {trouble}."] if trouble else []
            time.sleep(DRIBBLE_SECONDS)
        return troubles

    def listen(self) -> Iterator[Came]:
        """What comes over each connection; nothing, where nobody listens any more."""
        if self._probe.then in {"leave", "reset"}:
            return
        expected = self._probe.expected
        requests = len(expected.answers)
        for connection, opening in self._connections:
            began = time.monotonic()
            read = connection.read(
                requests,
                seconds=self._left(),
                quiet_seconds=0,
                bodiless=expected.bodiless,
            )
            if not connection.is_closed:
                took = time.monotonic() - began
                quiet = min(_QUIET_SECONDS + 2 * took, _MOST_QUIET_SECONDS)
                read = connection.read(
                    requests,
                    seconds=self._left(),
                    quiet_seconds=self._left() if expected.then_closed else quiet,
                    bodiless=expected.bodiless,
                )
            yield Came(
                opening,
                connection.received,
                read,
                is_closed=connection.is_closed,
                was_reset=connection.was_reset,
            )

    def _left(self) -> float:
        return max(0.01, self._deadline - time.monotonic())


def _trouble_of_others(target: ProbeTarget) -> str | None:
    """What is wrong with the answer to a plain request of somebody else's; None for nothing."""
    path, credential = (target.health, None) if target.health else (target.read, target.credential)
    lines = [f"GET {path} HTTP/1.1", f"Host: {target.host}", "Connection: close"]
    lines += [credential] if credential else []
    seconds = target.patience_seconds
    try:
        with Connection(target.address, seconds=seconds) as connection:
            connection.send("\r\n".join([*lines, "", ""]).encode(), seconds=seconds)
            read = connection.read(1, seconds=seconds, quiet_seconds=0)
    except OSError as error:
        return f"could not connect: {error}"
    if not read.final:
        return f"got no answer within {seconds:g} s"
    status = read.final[0].status
    return None if status == HTTPStatus.OK else f"was answered with {status}"
