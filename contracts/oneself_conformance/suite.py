"""The conformance suite of a deployment: rows, probes and fuzzer, in order."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from oneself_conformance.actors import Actors, Operator
from oneself_conformance.cases.published import pages
from oneself_conformance.cases.runner import CaseRunner, is_self_contained, run_case
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.credentials_file import read_credentials
from oneself_conformance.document import OperationSpec
from oneself_conformance.fuzz.identity import FuzzIdentity
from oneself_conformance.fuzz.runs import FuzzRun, FuzzRunner, plan
from oneself_conformance.levels import Level, Violation
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.options import SUITES
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.probes.discovery import target_of
from oneself_conformance.probes.exchange import Exchange
from oneself_conformance.probes.runner import ProbeOutcome, run_probes
from oneself_conformance.probes.table import Probe, load_probes
from oneself_conformance.spares import Spares, put_back, read_profile
from oneself_conformance.targets import Deployment, Unreachable
from oneself_conformance.traffic import Recorder, Traffic

_SOURCE = "The document; Schemathesis"


@dataclass(frozen=True)
class Step:
    """A finished step, `number` of `count` in its suite, with its outcomes."""

    suite: str
    name: str
    number: int
    count: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Suite:
    """The tests to run on a deployment.

    `dialect`, `operations` and a part of the `promise` limit the tests. `actors` are the users, if
    they are known already, and `operator` acts outside HTTP, if there is one. `service` names the
    special settings of the deployment that rows can require. The fuzzer generates `examples`
    requests for each operation, kind of credential and seed. Exchanges are written to `traffic`,
    including credentials, and those of rows to the `recorder`.
    """

    deployment: Deployment
    credentials: Path
    dialect: str | None = None
    suites: Sequence[str] = SUITES
    examples: int = 25
    seeds: Sequence[int] = (1,)
    operator: Operator | None = None
    service: str | None = None
    traffic: Path | None = None
    operations: frozenset[str] | None = None
    promise: str | None = None
    actors: Actors | None = None
    recorder: Recorder | None = None

    def steps(self) -> Iterator[Step]:
        """Run all tests, one suite after the other, and yield each step."""
        suites: dict[str, Callable[[], Iterator[Step]]] = {
            "rows": self._rows,
            "probes": self._probes,
            "fuzz": self._fuzz,
        }
        for suite in self.suites:
            yield from suites[suite]()

    def selected_rows(self) -> list[Row]:
        """Return the rows to run."""
        return [row for row in load_rows() if self._concerns(row)]

    def selected_probes(self) -> list[Probe]:
        """Return the probes to send."""
        return [probe for probe in load_probes() if self._concerns_probe(probe)]

    def selected_operations(self) -> list[OperationSpec]:
        """Return the operations to fuzz."""
        return [
            each
            for each in OPERATIONS.values()
            if self.dialect in {None, each.dialect}
            and (self.operations is None or each.operation_id in self.operations)
            and not (self.deployment.is_foreign and each.operation_id not in pages())
        ]

    def _rows(self) -> Iterator[Step]:
        rows = self.selected_rows()
        recorded = replace(self.deployment, traffic=Traffic(self.traffic))
        actors = self.actors or Actors(recorded, self.operator)
        spares = Spares(actors)
        slow = [row for row in rows if row.dribbles]
        fast = [row for row in rows if not row.dribbles]
        # Each of these waits for the deployment's timeout, so they run in parallel.
        pool = ThreadPoolExecutor(max(1, len(slow)))
        try:
            run = partial(self._run_row, actors, spares)
            pending = [(str(row), pool.submit(run, row).result) for row in slow]
            yield from _numbered(
                "rows", [*((str(row), partial(run, row)) for row in fast), *pending]
            )
        finally:
            # An interrupted run is reported without them.
            pool.shutdown(wait=False, cancel_futures=True)

    def _run_row(self, actors: Actors, spares: Spares, row: Row) -> list[Outcome]:
        traffic = Traffic(self.traffic, self.recorder, str(row))
        deployment = replace(self.deployment, traffic=traffic)
        runner = CaseRunner(row, deployment, actors, spares)
        outcome = run_case(runner)
        if runner.users.was_throttled and spares.count:
            # An earlier run may have used up the limit of that spare user.
            outcome = run_case(CaseRunner(row, deployment, actors, spares))
        step = outcome.failed_step
        # A step may call a dialect that is not under test.
        if self.dialect and step and OPERATIONS[step].dialect != row.dialect:
            outcome = replace(outcome, verdict=Verdict.SKIPPED)
        return [outcome]

    def _probes(self) -> Iterator[Step]:
        probes = self.selected_probes()
        results: Iterable[ProbeOutcome]
        try:
            results = run_probes(probes, target_of(self.deployment, self.dialect, self.actors))
        except Unreachable as error:
            results = [ProbeOutcome(probe, skipped=str(error)) for probe in probes]
        except (OSError, HTTPException) as error:
            broken = (Violation(f"there is no response ({type(error).__name__})"),)
            results = [ProbeOutcome(probe, broken) for probe in probes]
        for number, result in enumerate(results, 1):
            outcome = _probe_outcome(result, self.dialect, self.deployment.hold)
            yield Step("probes", result.probe.id, number, len(probes), (outcome,))

    def _concerns_probe(self, probe: Probe) -> bool:
        if self.promise is not None and self.promise.lower() not in probe.promise.lower():
            return False
        return probe.level <= self.deployment.hold

    def _fuzz(self) -> Iterator[Step]:
        if find_spec("schemathesis") is None:
            reason = "Schemathesis is not installed: pip install 'oneself-conformance[fuzz]'"
            skipped = Outcome("fuzz", self.dialect or "status", "fuzz", _SOURCE, Verdict.SKIPPED)
            yield Step("fuzz", "fuzz", 1, 1, (replace(skipped, reasons=(reason,)),))
            return
        steps = [
            (f"{run}, seed {seed}", partial(self.fuzz_once, run, seed))
            for seed in self.seeds
            for run in plan(self.selected_operations())
        ]
        with self._changed_back():
            yield from _numbered("fuzz", steps)

    @contextmanager
    def _changed_back(self) -> Iterator[None]:
        """Change back what the fuzzer changes of the first user, as far as that can be done."""
        original = self.deployment.actors["base"]
        profile: Mapping[str, Any] | None = None
        if not self.deployment.is_foreign:
            with suppress(Unreachable, OSError, HTTPException, LookupError):
                profile = read_profile(Actors(self.deployment).find("base"))
        try:
            yield
        finally:
            with suppress(Unreachable, OSError, HTTPException):
                changed = replace(self.deployment, actors=read_credentials(self.credentials))
                if "password" in original:
                    identity = FuzzIdentity(changed, self.credentials, "session", self.dialect)
                    identity.restore_password(original["password"])
                if profile is not None:
                    restored = replace(changed, actors=read_credentials(self.credentials))
                    put_back(Actors(restored).find("base"), profile)

    @property
    def can_sign_up(self) -> bool:
        """True if another service has a way to add users."""
        has_operator = self.operator is not None and self.operator.is_available
        return self.deployment.recipe.sign_up is not None or has_operator

    def _is_for_others(self, row: Row) -> bool:
        """Return whether a level above ours demands a row that others can be asked."""
        return row.level <= self.deployment.hold and is_self_contained(
            row, can_sign_up=self.can_sign_up
        )

    def fuzz_once(self, run: FuzzRun, seed: int) -> list[Outcome]:
        """Run the fuzzer once, and return the outcomes."""
        # An earlier run may have changed the user's credentials.
        deployment = replace(self.deployment, actors=read_credentials(self.credentials))
        runner = FuzzRunner(
            deployment,
            self.credentials,
            self.examples,
            seed,
            traffic=self.traffic,
            dialect=self.dialect,
        )
        outcomes = [*runner.outcomes(run)]
        for name, values in read_credentials(self.credentials).items():
            self.deployment.mask.add(name, values)
        return outcomes

    def _concerns(self, row: Row) -> bool:
        if self.promise is not None and self.promise.lower() not in str(row).lower():
            return False
        if self.deployment.is_foreign and not self._is_for_others(row):
            return False
        if self.operations is not None and row.operation_id not in self.operations:
            return False
        # Rows about other settings are for another deployment, and no part of this run.
        if row.raw.get("service") != self.service:
            return False
        return self.dialect is None or (row.operation is not None and row.dialect == self.dialect)


def _numbered(
    suite: str, steps: Sequence[tuple[str, Callable[[], list[Outcome]]]]
) -> Iterator[Step]:
    for number, (name, evaluate) in enumerate(steps, 1):
        yield Step(suite, name, number, len(steps), tuple(evaluate()))


def _probe_outcome(result: ProbeOutcome, dialect: str | None, hold: Level) -> Outcome:
    broken = [each for each in result.broken if each.level <= hold]
    verdict = Verdict.FAILED if broken else Verdict.PASSED
    if result.skipped is not None:
        verdict = Verdict.SKIPPED
    levels = {each.level.title: Verdict.FAILED for each in broken}
    shown_exchange = result.exchange or Exchange("", "", None)
    return Outcome(
        "probes",
        dialect or "status",
        f"{result.probe.id}: {result.probe.promise}",
        result.probe.standard or result.probe.source,
        verdict,
        tuple(each.cited for each in broken) or ((result.skipped,) if result.skipped else ()),
        request=shown_exchange.sent,
        repeat=shown_exchange.shell or "",
        answer=shown_exchange.received,
        levels=levels or {result.probe.level.title: verdict},
    )
