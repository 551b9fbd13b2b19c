"""The whole proof of one deployment: the rows, the probes and the fuzzer, one after the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from pathlib import Path

from oneself.conformance.actors import Actors, Operator
from oneself.conformance.credentials_file import read_credentials
from oneself.conformance.deployment import Deployment, Unreachable
from oneself.conformance.fuzz.runs import Fuzzing, FuzzRun, plan
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.probes.discovery import target_of
from oneself.conformance.probes.exchange import Exchange
from oneself.conformance.probes.runner import ProbeOutcome, run_probes
from oneself.conformance.probes.table import load_probes
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import Row, load_rows
from oneself.conformance.rows.verdicts import run_case
from oneself.conformance.traffic import Traffic

__all__ = ["SUITES", "Step", "Suite"]

SUITES = ("rows", "probes", "fuzz")


@dataclass(frozen=True)
class Step:
    """Something that was tried, of so many in its suite; `outcomes` are what came of it."""

    suite: str
    name: str
    number: int
    count: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class Suite:
    """What is asked of a deployment: which suites, of which dialect, and how hard it is fuzzed.

    `operator` acts beside the deployment where there is one; `service` says that it is one of the
    special ones that rows may be about. `examples` are made for each operation, kind of credential
    and seed. What is exchanged is written to `traffic`, with the credentials in it.
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

    def steps(self) -> Iterator[Step]:
        """Everything, step by step; each suite is over before the next begins."""
        suites: dict[str, Callable[[], Iterator[Step]]] = {
            "rows": self._rows,
            "probes": self._probes,
            "fuzz": self._fuzz,
        }
        for suite in self.suites:
            yield from suites[suite]()

    def _rows(self) -> Iterator[Step]:
        rows = [row for row in load_rows() if self._concerns(row)]
        deployment = replace(self.deployment, traffic=Traffic(self.traffic))
        people = Actors(deployment, self.operator)
        dribbling = [row for row in rows if row.dribbles]
        others = [row for row in rows if not row.dribbles]
        # Each of these waits until the deployment loses its patience, so they wait together.
        with ThreadPoolExecutor(max(1, len(dribbling))) as pool:
            waiting = [pool.submit(self._judge, row, deployment, people) for row in dribbling]
            judged: Iterable[tuple[Row, Callable[[], list[Outcome]]]] = (
                *((row, partial(self._judge, row, deployment, people)) for row in others),
                *((row, future.result) for row, future in zip(dribbling, waiting, strict=True)),
            )
            yield from _numbered("rows", ((str(row), judge) for row, judge in judged), len(rows))

    def _judge(self, row: Row, deployment: Deployment, people: Actors) -> list[Outcome]:
        named = row.raw.get("service")
        if named != self.service:
            reason = f"it is about a deployment that is {named}"
            source = str(row.raw["source"])
            return [Outcome("rows", row.dialect, str(row), source, Verdict.NOT_ASKED, (reason,))]
        outcome = run_case(CaseRunner(row, deployment, people))
        return [self._of_this_dialect(outcome, row)]

    def _of_this_dialect(self, outcome: Outcome, row: Row) -> Outcome:
        """Whoever reimplements one dialect breaks nothing by lacking another on the way to it."""
        if self.dialect is None or outcome.failed_step is None:
            return outcome
        if OPERATIONS[outcome.failed_step].dialect == row.dialect:
            return outcome
        return replace(outcome, verdict=Verdict.NOT_ASKED)

    def _probes(self) -> Iterator[Step]:
        probes = load_probes()
        come: Iterable[ProbeOutcome]
        try:
            come = run_probes(probes, target_of(self.deployment, self.dialect))
        except Unreachable as error:
            come = [ProbeOutcome(probe, skipped=str(error)) for probe in probes]
        except (OSError, HTTPException) as error:
            broken = (f"there is no answer ({type(error).__name__})",)
            come = [ProbeOutcome(probe, broken) for probe in probes]
        for number, found in enumerate(come, 1):
            outcome = _of_probe(found, self.dialect)
            yield Step("probes", found.probe.id, number, len(probes), (outcome,))

    def _fuzz(self) -> Iterator[Step]:
        wanted = [
            each
            for each in OPERATIONS.values()
            if self.dialect in {None, each.dialect}
            and (self.operations is None or each.operation_id in self.operations)
        ]
        runs = [(seed, run) for seed in self.seeds for run in plan(wanted)]
        yield from _numbered(
            "fuzz",
            (
                (
                    f"{run}, seed {seed}",
                    partial(self.fuzz_once, run, seed),
                )
                for seed, run in runs
            ),
            len(runs),
        )

    def fuzz_once(self, run: FuzzRun, seed: int) -> list[Outcome]:
        """What comes of one run of the fuzzer."""
        # An earlier run may have changed who asks.
        deployment = replace(self.deployment, people=read_credentials(self.credentials))
        fuzzing = Fuzzing(deployment, self.credentials, self.examples, seed, traffic=self.traffic)
        return [*fuzzing.outcomes(run)]

    def _concerns(self, row: Row) -> bool:
        if self.operations is not None and row.operation_id not in self.operations:
            return False
        if self.service not in {None, row.raw.get("service")}:
            return False
        if self.dialect is None:
            return True
        return row.operation is not None and row.dialect == self.dialect


def _numbered(
    suite: str, steps: Iterable[tuple[str, Callable[[], list[Outcome]]]], count: int
) -> Iterator[Step]:
    for number, (name, judge) in enumerate(steps, 1):
        yield Step(suite, name, number, count, tuple(judge()))


def _of_probe(found: ProbeOutcome, dialect: str | None) -> Outcome:
    verdict = Verdict.BROKEN if found.broken else Verdict.KEPT
    if found.skipped is not None:
        verdict = Verdict.NOT_ASKED
    shown = found.exchange or Exchange("", "", None)
    return Outcome(
        "probes",
        dialect or "status",
        f"{found.probe.id}: {found.probe.promise}",
        found.probe.source,
        verdict,
        found.broken or ((found.skipped,) if found.skipped else ()),
        request=shown.sent,
        repeat=shown.shell or "",
        answer=shown.received,
    )
