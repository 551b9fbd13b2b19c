"""Fuzzing a deployment with Schemathesis, once for each kind of credential.

Each run is a process of its own: Schemathesis keeps its hooks and its credentials for the whole of
one, and its command line is the part of it that stays the same between versions.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from oneself.conformance.actors import Actors
from oneself.conformance.credentials_file import read_credentials
from oneself.conformance.deployment import Deployment, Unreachable
from oneself.conformance.fuzz.identity import SCHEMES, FuzzIdentity, known_values, variables
from oneself.conformance.fuzz.live_document import live_document
from oneself.conformance.operations import OPERATIONS, links_of, schemes_of
from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.rows.request_building import credential_header
from oneself.document import OperationSpec

__all__ = ["FuzzRun", "Fuzzing", "plan"]

_ROOT = Path(__file__).parents[3]
_CONFIGURATION = _ROOT / "contracts" / "schemathesis.toml"
_VARIABLE = re.compile(r"\$\{([a-z_]+)\}")
_SOURCE = "The document; Schemathesis"
_LABELS = {f"{each.method.upper()} {each.path}": each for each in OPERATIONS.values()}


@dataclass(frozen=True)
class FuzzRun:
    """Some operations, asked for with one kind of credential.

    With `peers`, two people ask by turns, and what one of them made is asked for by the other.
    """

    scheme: str
    operations: tuple[OperationSpec, ...]
    peers: tuple[str, ...] = ()

    def __str__(self) -> str:
        asking = " and ".join(self.peers) or self.scheme
        return f"{asking}, {len(self.operations)} operations"


def plan(wanted: Sequence[OperationSpec]) -> list[FuzzRun]:
    """The runs that ask for each of the operations with each credential that it accepts.

    What needs none, or a client alone, goes with the sessions: journeys lead through it.
    """
    runs = []
    for scheme in SCHEMES:
        operations = [
            each
            for each in wanted
            if scheme in schemes_of(each)
            or (scheme == "session" and not set(schemes_of(each)) - {"client"})
        ]
        if scheme != "client" and operations:
            runs.append(FuzzRun(scheme, tuple(operations)))
    owned = tuple(_of_owned_objects(wanted))
    if owned:
        runs.append(FuzzRun("session", owned, peers=("base", "other_tenant")))
    return runs


def _of_owned_objects(wanted: Sequence[OperationSpec]) -> Iterator[OperationSpec]:
    """What makes, lists, shows or ends the objects that have an id, but for ending all of them."""
    collections = {each.path.partition("/{")[0] for each in wanted if "/{" in each.path}
    for each in wanted:
        of_collection = each.path.partition("/{")[0] in collections
        ends_all = each.method == "delete" and "/{" not in each.path
        if of_collection and not ends_all:
            yield each


@dataclass(frozen=True)
class Fuzzing:
    """How hard a deployment is fuzzed, and where what was exchanged is written to, if anywhere.

    The file of `credentials` is kept true: it is written to when the person who asks changes.
    `examples` are made for each operation in each run, from `seed`.
    """

    deployment: Deployment
    credentials: Path
    examples: int
    seed: int
    phases: tuple[str, ...] = ("examples", "coverage", "fuzzing", "stateful")
    traffic: Path | None = None

    def outcomes(self, run: FuzzRun) -> Iterator[Outcome]:
        """Fuzz, and give what came of each operation."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                FuzzIdentity(self.deployment, self.credentials, run.scheme).prepare()
                finished = self._start(run, Path(folder))
            except Unreachable as error:
                yield from self._alike(run, Verdict.NOT_ASKED, str(error))
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.filename is not None:
                    raise  # a file of ours, and no deployment
                # Whatever the other suites have found is still to be written down.
                reason = f"there is no answer ({type(error).__name__})"
                yield from self._alike(run, Verdict.BROKEN, reason)
            else:
                yield from self._read(run, Path(folder), finished)

    def _start(self, run: FuzzRun, folder: Path) -> subprocess.CompletedProcess[str]:
        # Whoever asks may have another session by now, or another address.
        deployment = replace(self.deployment, people=read_credentials(self.credentials))
        values = known_values(deployment)
        document = folder / "openapi.json"
        document.write_text(json.dumps(live_document(values)))
        configuration = folder / "schemathesis.toml"
        configuration.write_text(_written_configuration(values) + self._peers(run, folder))
        environment = {
            **os.environ,
            **variables(deployment, self.credentials, run.scheme),
            "SCHEMATHESIS_HOOKS": "oneself.conformance.fuzz.hooks",
            "PYTHONPATH": str(_ROOT),
        }
        if self.traffic is not None:
            environment["ONESELF_PROVING_TRAFFIC"] = str(self.traffic)
        command = [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(configuration), "run", str(document)),
            *("--url", self.deployment.url, "--phases", ",".join(self._phases_of(run))),
            *("--max-examples", str(self.examples), "--seed", str(self.seed)),
            *("--report", "junit,json", "--report-junit-path", str(folder / "junit.xml")),
            *("--report-json-path", str(folder / "report.json")),
        ]
        for each in run.operations:
            command += ["--include-operation-id", each.operation_id]
        return subprocess.run(  # noqa: S603 # our own command
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    def _phases_of(self, run: FuzzRun) -> Iterator[str]:
        """The phases; without a link between its operations, a run has no journeys to take."""
        there = {each.operation_id for each in run.operations}
        linked = any(target in there for each in run.operations for target in links_of(each))
        return (phase for phase in self.phases if linked or phase != "stateful")

    def _peers(self, run: FuzzRun, folder: Path) -> str:
        """What the configuration says of people who must not see each other's objects."""
        if not run.peers:
            return ""
        path = folder / "identities.json"
        people = Actors(replace(self.deployment, people=read_credentials(self.credentials)))
        path.write_text(json.dumps({"auth": [_identity(people, name) for name in run.peers]}))
        return f"\n[auth.wfc]\npath = {json.dumps(str(path))}\npeers = {json.dumps(run.peers)}\n"

    def _read(
        self, run: FuzzRun, folder: Path, finished: subprocess.CompletedProcess[str]
    ) -> Iterator[Outcome]:
        report = _json(folder / "report.json")
        if not report.get("complete") or report["operations"]["tested"] != len(run.operations):
            # What has not run has kept nothing.
            said = (finished.stderr or finished.stdout).strip().splitlines()[-20:]
            reason = "Schemathesis did not finish: " + "\n".join(said)
            yield from self._alike(run, Verdict.BROKEN, reason)
            return
        found = _failures(folder / "junit.xml")
        for label, kinds in _warnings(report).items():
            found.setdefault(label, []).extend(kinds)
        for each in run.operations:
            reasons = tuple(found.pop(f"{each.method.upper()} {each.path}", ()))
            yield self._outcome(run, each, Verdict.BROKEN if reasons else Verdict.KEPT, reasons)
        for label, reasons_of_run in found.items():
            yield Outcome(
                "fuzz",
                "status",
                f"{label}, with {run.scheme}",
                _SOURCE,
                Verdict.BROKEN,
                tuple(reasons_of_run),
            )

    def _alike(self, run: FuzzRun, verdict: Verdict, reason: str) -> Iterator[Outcome]:
        """What comes of each operation where none was fuzzed."""
        return (self._outcome(run, each, verdict, (reason,)) for each in run.operations)

    def _outcome(
        self,
        run: FuzzRun,
        operation: OperationSpec,
        verdict: Verdict,
        reasons: tuple[str, ...] = (),
    ) -> Outcome:
        asking = " and ".join(run.peers) or run.scheme
        return Outcome(
            "fuzz",
            operation.dialect,
            f"{operation.operation_id} keeps to the document with {asking}, seed {self.seed}",
            _SOURCE,
            verdict,
            reasons,
            request=f"{operation.method.upper()} {operation.path}",
        )


def _identity(people: Actors, name: str) -> dict[str, Any]:
    """One of them, as Web Fuzzing Commons writes it down."""
    header, value = credential_header("bearer", people.find(name)["session_token"])
    return {"name": name, "fixedHeaders": [{"name": header, "value": value}]}


def _written_configuration(values: Mapping[str, Any]) -> str:
    """contracts/schemathesis.toml with its variables: Schemathesis fills them in not everywhere."""
    return _VARIABLE.sub(
        lambda found: json.dumps(values[found[1]])[1:-1], _CONFIGURATION.read_text()
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}


def _failures(path: Path) -> dict[str, list[str]]:
    """What is told of each operation that failed, or of the stateful runs."""
    found: dict[str, list[str]] = {}
    # What is read was written a moment ago, by a process of ours.
    for case in ET.parse(path).iter("testcase"):  # noqa: S314
        for kind in ("failure", "error"):
            for element in case.iter(kind):
                found.setdefault(case.get("name", ""), []).append((element.text or "").strip())
    return found


def _warnings(report: Mapping[str, Any]) -> dict[str, list[str]]:
    """Each warning, for the operations that it is about; one about none is about the run."""
    found: dict[str, list[str]] = {}
    for kind, entries in report["warnings"].items():
        for entry in entries:
            for label in _labels_in(entry) or ["The run"]:
                found.setdefault(label, []).append(f"warning: {kind}: {json.dumps(entry)}")
    return found


def _labels_in(entry: Any) -> list[str]:
    text = json.dumps(entry)
    return [label for label in _LABELS if f'"{label}"' in text]
