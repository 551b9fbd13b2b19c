"""Trials of mutants: the conformance suite must fail on each."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from itertools import count
from typing import Any

from oneself_conformance.actors import Actors
from oneself_conformance.cases.runner import CaseRunner, run_case
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.credentials_file import read_credentials
from oneself_conformance.fuzz.identity import fuzz_values
from oneself_conformance.fuzz.live_document import live_document
from oneself_conformance.http_client import FORM, Answer, Request
from oneself_conformance.operations import OPERATIONS, links_of
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.suite import Suite
from tests.mutants.answer_rules import ANSWER_RULES
from tests.mutants.mutation import Mutant, RowFields
from tests.mutants.request_rules import Place
from tests.mutants.serving import CONTROL
from tests.support.operator_acts import open_actors
from tests.support.service import Service

__all__ = ["Fate", "MutantRunner", "Trial"]

#: Generated requests for each operation and credential.
_EXAMPLES = 3
#: The fuzzer must not reach the rate limits of an account.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "rows": {},
    "fuzz": {
        "throttle_mail": "100000/1",
        "throttle_account_source": "100000/1",
        "throttle_write": "100000/1",
    },
}
#: A mutant that no test has killed by then has survived.
_MAX_SECONDS = 300


class Fate(StrEnum):
    """The fate of a mutant; an equivalent one behaves like the service."""

    KILLED = "killed"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True)
class Trial:
    """A mutant with its fate, the suite that killed it, and the reason."""

    mutant: Mutant
    fate: Fate
    suite: str
    why: str
    seconds: float


class MutantRunner:
    """A service that is switched to one mutant after the other."""

    def __init__(self, service: Service, *, suites: tuple[str, ...]) -> None:
        self._service = service
        self._suites = suites
        self._numbers = count(1)

    def run(self, mutant: Mutant) -> Trial:
        """Run the suite on a mutant until a test fails.

        The failed test must pass without the mutant.
        """
        began = time.monotonic()
        fate, suite, why = self._run_suites(mutant, began + _MAX_SECONDS)
        return Trial(mutant, fate, suite, why, time.monotonic() - began)

    def _run_suites(self, mutant: Mutant, deadline: float) -> tuple[Fate, str, str]:
        is_distinguishable = self._is_distinguishable(mutant)
        for suite in self._suites:
            if suite == "fuzz" and not is_distinguishable:
                break
            with self._switched_to(mutant, suite) as (service, actors):
                failure = next(self._failures(suite, mutant, service, actors, deadline), None)
                changed = self._changed()
            if failure is not None:
                assert changed or not isinstance(mutant, ANSWER_RULES), f"{mutant} did nothing"
                self._check_without(mutant, failure)
                return Fate.KILLED, suite, f"{failure.promise}: {'; '.join(failure.reasons)}"
            # Changed responses are visible to the rows, which cover every status and field.
            is_distinguishable = is_distinguishable or changed > 0
        if is_distinguishable:
            return Fate.SURVIVED, "", ""
        return Fate.EQUIVALENT, "", mutant.equivalence

    @contextmanager
    def _switched_to(
        self, mutant: Mutant | None, suite: str = "rows"
    ) -> Iterator[tuple[Service, Actors]]:
        """Switch the service to a mutant, or to none, on a fresh copy of its data."""
        folder = self._service.folder / str(next(self._numbers))
        folder.mkdir()
        command = {
            "mutant": mutant and str(mutant),
            "folder": str(folder / "data"),
            "settings": _SETTINGS[suite],
        }
        answer = self._service.ask(Request("PUT", CONTROL, body=json.dumps(command).encode()))
        assert answer.status == HTTPStatus.OK, f"{answer}\n{self._service.log}"
        (folder / "people.json").write_text(json.dumps(self._service.actors))
        environment = {**self._service.environment, "ONESELF_DATA_DIR": str(folder / "data")}
        service = replace(self._service, folder=folder, environment=environment)
        with open_actors(service) as actors:
            yield service, actors

    def _changed(self) -> int:
        answer = self._service.ask(Request("GET", CONTROL))
        return int(answer.json()["changed"])

    def _failures(
        self, suite: str, mutant: Mutant, service: Service, actors: Actors, deadline: float
    ) -> Iterator[Outcome]:
        """Yield each failed test as soon as it is known."""
        suite_run = Suite(
            service,
            service.folder / "people.json",
            suites=(suite,),
            examples=_EXAMPLES,
            operator=actors.operator,
            operations=_linked_operations(mutant)
            if suite == "fuzz"
            else frozenset({mutant.operation_id}),
        )
        with closing(suite_run.steps()) as steps:
            for step in steps:
                yield from (each for each in step.outcomes if each.verdict is Verdict.FAILED)
                if time.monotonic() > deadline:
                    return

    def _check_without(self, mutant: Mutant, failure: Outcome) -> None:
        """Assert that the failed test passes without the mutant."""
        with self._switched_to(None, failure.suite) as (service, actors):
            if failure.suite == "rows":
                row = next(each for each in load_rows() if str(each) == failure.promise)
                found = [run_case(CaseRunner(row, service, actors))]
            else:
                found = [*self._failures("fuzz", mutant, service, actors, time.monotonic() + 600)]
        same = [each for each in found if each.promise == failure.promise]
        assert all(each.verdict is Verdict.PASSED for each in same), (
            f"this fails without {mutant} as well:\n{same[0].as_text()}"
        )

    def _is_distinguishable(self, mutant: Mutant) -> bool:
        """Return whether the mutant answers its distinguishing request differently."""
        row_fields = mutant.distinguishing_row()
        if row_fields is None:
            return False
        answers = []
        for each in (None, mutant):
            with self._switched_to(each) as (service, actors):
                answers.append(_comparable(_send(mutant, row_fields, service, actors)))
        return answers[0] != answers[1]


def _linked_operations(mutant: Mutant) -> frozenset[str]:
    """Return the operation and those linked with it, which create objects for the fuzzer."""
    name = mutant.operation_id
    before = {each.operation_id for each in OPERATIONS.values() if name in links_of(each)}
    return frozenset({name, *before, *links_of(mutant.operation)})


def _send(mutant: Mutant, row_fields: RowFields, service: Service, actors: Actors) -> Answer:
    """Send the distinguishing request, otherwise valid, as a user."""
    raw = {
        "promise": "A distinguishing request",
        "source": "",
        "operation": mutant.operation_id,
        "expect": {},
        **row_fields,
        "request": _request(mutant, row_fields["request"], service),
    }
    return service.ask(CaseRunner(Row("mutants", raw), service, actors).prepare())


def _request(mutant: Mutant, change: Mapping[str, Any], service: Service) -> dict[str, Any]:
    """Build the operation's example with one value replaced or removed."""
    operation = mutant.operation
    values = fuzz_values(replace(service, actors=read_credentials(service.folder / "people.json")))
    live = live_document(values)["paths"][operation.path][operation.method]
    known = {each["name"]: each for each in live.get("parameters", ()) if "name" in each}
    parts: dict[str, Any] = {"path": {}, "query": {}, "header": {}}
    for each in operation.parameters:
        if each.get("required"):
            parts[each["in"]][each["name"]] = known.get(each["name"], each)["example"]
    for content in live.get("requestBody", {}).get("content", {}).values():
        if "example" in content:
            parts["body"] = content["example"]
    if "place" in change:
        _put(parts, change["place"], change["value"])
    if "without" in change:
        part, name = change["without"]
        parts[part] = {each: value for each, value in parts[part].items() if each != name}
    request: dict[str, Any] = {"path": parts["path"], "headers": parts["header"]}
    if parts["query"]:
        request["query"] = parts["query"]
    if "body" in parts:
        request["form" if FORM in operation.bodies else "json"] = parts["body"]
    elif operation.bodies:
        request["example"] = True
    return request


def _put(parts: dict[str, Any], place: Place, value: Any) -> None:
    part, *steps = place
    for step in reversed(steps):
        value = [value] if step == "*" else {step: value}
    parts[part] = _merge(parts.get(part, {}), value)


def _merge(whole: Any, more: Any) -> Any:
    if not (isinstance(whole, dict) and isinstance(more, dict)):
        return more
    return whole | {name: _merge(whole.get(name), below) for name, below in more.items()}


def _comparable(answer: Answer) -> Any:
    """Return a response without the values that differ between all responses."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return answer.status
    content = answer.json()
    return answer.status, {
        name: each
        for name, each in content.items()
        if name not in {"request_id", "timestamp", "instance"}
    }
