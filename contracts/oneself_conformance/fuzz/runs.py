"""Fuzzer runs with Schemathesis, one for each kind of credential.

Each run is a separate process: Schemathesis keeps its hooks and credentials for a whole process,
and its command line is its most stable interface.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from oneself_conformance.actors import Actors
from oneself_conformance.cases.request_building import credential_header
from oneself_conformance.credentials_file import read_credentials
from oneself_conformance.document import DATA, OperationSpec
from oneself_conformance.fuzz.checks import check_names
from oneself_conformance.fuzz.identity import (
    SCHEMES,
    FuzzIdentity,
    environment_variables,
    fuzz_values,
)
from oneself_conformance.fuzz.live_document import live_document
from oneself_conformance.operations import OPERATIONS, links_of, schemes_of
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.targets import Deployment, Unreachable

#: Where the package is imported from.
_ROOT = Path(__file__).parents[2]
_CONFIGURATION = DATA / "schemathesis.toml"
_VARIABLE = re.compile(r"\$\{([a-z_]+)\}")
#: For another service than ours.
_FOREIGN = "continue-on-failure = true\nwarnings = false\n"
_SOURCE = "The document; Schemathesis"


def _label(operation: OperationSpec) -> str:
    """Return the name of an operation in the reports of Schemathesis."""
    return f"{operation.method.upper()} {operation.path}"


@dataclass(frozen=True)
class FuzzRun:
    """Operations to fuzz with one kind of credential.

    With `peers`, two users take turns, and each requests objects of the other.
    """

    scheme: str
    operations: tuple[OperationSpec, ...]
    peers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.caller}, {len(self.operations)} operations"

    @property
    def caller(self) -> str:
        """The users, or the kind of credential."""
        return " and ".join(self.peers) or self.scheme


def plan(selected: Sequence[OperationSpec]) -> list[FuzzRun]:
    """Return runs that cover each operation with each kind of credential it accepts.

    Operations without a user credential run with the sessions, because links lead through them.
    """
    runs = []
    for scheme in SCHEMES:
        operations = [
            each
            for each in selected
            if scheme in schemes_of(each)
            or (scheme == "session" and not set(schemes_of(each)) - {"client"})
        ]
        if scheme != "client" and operations:
            runs.append(FuzzRun(scheme, tuple(operations)))
    owned = tuple(_owned_object_operations(selected))
    if owned:
        runs.append(FuzzRun("session", owned, peers=("base", "other_tenant")))
    return runs


def planned_names(selected: Sequence[OperationSpec], seeds: Iterable[int]) -> list[str]:
    """Return the names of the tests that runs of these operations have at least."""
    return [
        _name(run, operation, seed)
        for seed in seeds
        for run in plan(selected)
        for operation in run.operations
    ]


def _name(run: FuzzRun, operation: OperationSpec, seed: int) -> str:
    return f"{operation.operation_id} conforms to the document with {run.caller}, seed {seed}"


def _owned_object_operations(selected: Sequence[OperationSpec]) -> Iterator[OperationSpec]:
    """Yield the operations on objects with an id, except those that end all of them."""
    collections = {each.path.partition("/{")[0] for each in selected if "/{" in each.path}
    for each in selected:
        of_collection = each.path.partition("/{")[0] in collections
        ends_all = each.method == "delete" and "/{" not in each.path
        if of_collection and not ends_all:
            yield each


@dataclass(frozen=True)
class FuzzRunner:
    """Runs Schemathesis on a deployment.

    The `credentials` file is updated when the user changes. `examples` is the number of requests
    for each operation in each run, generated from `seed`. Exchanges are written to `traffic`.
    """

    deployment: Deployment
    credentials: Path
    examples: int
    seed: int
    phases: tuple[str, ...] = ("examples", "coverage", "fuzzing", "stateful")
    traffic: Path | None = None
    dialect: str | None = None

    def outcomes(self, run: FuzzRun) -> Iterator[Outcome]:
        """Run the fuzzer, and yield the outcome of each operation."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                FuzzIdentity(self.deployment, self.credentials, run.scheme, self.dialect).prepare()
                finished = self._start(run, Path(folder))
            except Unreachable as error:
                yield from self._same_for_all(run, Verdict.SKIPPED, str(error))
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.filename is not None:
                    raise  # a local file, not the deployment
                # The outcomes of the other suites must still be reported.
                reason = f"there is no response ({type(error).__name__})"
                yield from self._same_for_all(run, Verdict.FAILED, reason)
            else:
                yield from self._read(run, Path(folder), finished)

    def _start(self, run: FuzzRun, folder: Path) -> subprocess.CompletedProcess[str]:
        # The user may have a new session or email address by now.
        deployment = replace(self.deployment, actors=read_credentials(self.credentials))
        values = fuzz_values(deployment)
        document = folder / "openapi.json"
        document.write_text(json.dumps(live_document(values)))
        configuration = folder / "schemathesis.toml"
        # That of our own service has expectations of ours.
        written = _FOREIGN if deployment.is_foreign else _written_configuration(values)
        configuration.write_text(written + self._peers(run, folder))
        environment = {
            **os.environ,
            **environment_variables(deployment, self.credentials, run.scheme, self.dialect),
            "SCHEMATHESIS_HOOKS": "oneself_conformance.fuzz.hooks",
            "PYTHONPATH": str(_ROOT),
        }
        if self.traffic is not None:
            environment["ONESELF_CONFORMANCE_TRAFFIC"] = str(self.traffic)
        command = [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(configuration), "run", str(document)),
            *("--url", self.deployment.url, "--phases", ",".join(self._phases_of(run))),
            *("--max-examples", str(self.examples), "--seed", str(self.seed)),
            *("--report", "junit,json", "--report-junit-path", str(folder / "junit.xml")),
            *("--report-json-path", str(folder / "report.json")),
        ]
        if deployment.is_foreign:
            command += ["--checks", ",".join(check_names(deployment.hold))]
        for each in run.operations:
            command += ["--include-operation-id", each.operation_id]
        return subprocess.run(  # noqa: S603 # our own command
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    def _phases_of(self, run: FuzzRun) -> Iterator[str]:
        """Return the phases, without the stateful one if no links connect the operations."""
        operation_ids = {each.operation_id for each in run.operations}
        linked = any(links_of(each) & operation_ids for each in run.operations)
        return (phase for phase in self.phases if linked or phase != "stateful")

    def _peers(self, run: FuzzRun, folder: Path) -> str:
        """Return the configuration of users who must not see each other's objects."""
        if not run.peers:
            return ""
        path = folder / "identities.json"
        actors = Actors(replace(self.deployment, actors=read_credentials(self.credentials)))
        users = []
        for name in run.peers:  # in the format of Web Fuzzing Commons
            header, value = credential_header("bearer", actors.find(name)["session_token"])
            users.append({"name": name, "fixedHeaders": [{"name": header, "value": value}]})
        path.write_text(json.dumps({"auth": users}))
        return f"\n[auth.wfc]\npath = {json.dumps(str(path))}\npeers = {json.dumps(run.peers)}\n"

    def _read(
        self, run: FuzzRun, folder: Path, finished: subprocess.CompletedProcess[str]
    ) -> Iterator[Outcome]:
        report: Mapping[str, Any] = {}
        with suppress(OSError, ValueError):
            report = json.loads((folder / "report.json").read_bytes())
        if not report.get("complete") or report["operations"]["tested"] != len(run.operations):
            # Tests that did not run have not passed.
            output = (finished.stderr or finished.stdout).strip().splitlines()[-20:]
            reason = "Schemathesis did not finish: " + "\n".join(output)
            yield from self._same_for_all(run, Verdict.FAILED, reason)
            return
        found = _failures(folder, report)
        for each in run.operations:
            reasons = tuple(found.pop(_label(each), ()))
            yield self._outcome(run, each, Verdict.FAILED if reasons else Verdict.PASSED, reasons)
        for label, kinds in found.items():
            name = f"{label}, with {run.scheme}"
            yield Outcome("fuzz", "status", name, _SOURCE, Verdict.FAILED, tuple(kinds))

    def _same_for_all(self, run: FuzzRun, verdict: Verdict, reason: str) -> Iterator[Outcome]:
        """Yield the same outcome for each operation, when none was fuzzed."""
        return (self._outcome(run, each, verdict, (reason,)) for each in run.operations)

    def _outcome(
        self, run: FuzzRun, operation: OperationSpec, verdict: Verdict, reasons: tuple[str, ...]
    ) -> Outcome:
        return Outcome(
            "fuzz",
            operation.dialect,
            _name(run, operation, self.seed),
            _SOURCE,
            verdict,
            reasons,
            request=_label(operation),
            levels={self.deployment.hold.title: verdict},
        )


def _written_configuration(values: Mapping[str, Any]) -> str:
    """Fill in schemathesis.toml; Schemathesis does not replace variables everywhere."""
    return _VARIABLE.sub(
        lambda found: json.dumps(values[found[1]])[1:-1], _CONFIGURATION.read_text()
    )


def _failures(folder: Path, report: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the failures and warnings by operation, and those of stateful runs and of the run."""
    found: dict[str, list[str]] = defaultdict(list)
    # The file was just written by our own process.
    for case in ET.parse(folder / "junit.xml").iter("testcase"):  # noqa: S314
        for kind in ("failure", "error"):
            for element in case.iter(kind):
                found[case.get("name", "")].append((element.text or "").strip())
    for kind, entries in report["warnings"].items():
        for entry in entries:
            text = json.dumps(entry)
            labels = [label for label in map(_label, OPERATIONS.values()) if f'"{label}"' in text]
            for label in labels or ["The run"]:
                found[label].append(f"warning: {kind}: {text}")
    return found
