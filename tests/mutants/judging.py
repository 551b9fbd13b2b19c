"""Whether the suite that anyone proves a deployment with fails on a mutant."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from itertools import count
from typing import Any

from oneself.conformance.actors import Actors
from oneself.conformance.credentials_file import read_credentials
from oneself.conformance.fuzz.identity import fuzz_values
from oneself.conformance.fuzz.live_document import live_document
from oneself.conformance.http_client import FORM, Answer, Request
from oneself.conformance.operations import OPERATIONS, links_of
from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import Row, load_rows
from oneself.conformance.rows.verdicts import run_case
from oneself.conformance.suite import Suite
from tests.mutants.answer_rules import ANSWER_RULES
from tests.mutants.mutation import Mutant, Telling
from tests.mutants.request_rules import Place
from tests.mutants.serving import CONTROL
from tests.support.operator_acts import people_of
from tests.support.service import Service

__all__ = ["End", "Judged", "Laboratory"]

#: Made up by the fuzzer for each operation and credential.
_EXAMPLES = 3
#: A fuzzer has to get further than to the budgets of one account.
_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "rows": {},
    "fuzz": {"throttle_mail": "100000/1", "throttle_account_source": "100000/1"},
}
#: After so many seconds nothing new is begun about a mutant, and it has survived.
_MOST_SECONDS = 300


class End(StrEnum):
    """What becomes of a mutant; one that behaves as the service does is none."""

    KILLED = "killed"
    SURVIVED = "survived"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True)
class Judged:
    """One mutant with its end, by which suite, and why."""

    mutant: Mutant
    end: End
    suite: str
    why: str
    seconds: float


class Laboratory:
    """One service, which is one mutant after the other, and itself between them."""

    def __init__(self, service: Service, *, suites: tuple[str, ...]) -> None:
        self._service = service
        self._suites = suites
        self._numbers = count(1)

    def judge(self, mutant: Mutant) -> Judged:
        """Have the suite ask the mutant, until it breaks a promise.

        What breaks it has to be kept by the service itself, or it would not be the mutant's.
        """
        began = time.monotonic()
        end, suite, why = self._end_of(mutant, began + _MOST_SECONDS)
        return Judged(mutant, end, suite, why, time.monotonic() - began)

    def _end_of(self, mutant: Mutant, deadline: float) -> tuple[End, str, str]:
        told = self._is_told(mutant)
        for suite in self._suites:
            if suite == "fuzz" and not told:
                break
            with self._switched_to(mutant, suite) as (service, people):
                broken = next(self._broken(suite, mutant, service, people, deadline), None)
                changed = self._changed()
            if broken is not None:
                assert changed or not isinstance(mutant, ANSWER_RULES), f"{mutant} did nothing"
                self._check_without(mutant, broken)
                return End.KILLED, suite, f"{broken.promise}: {'; '.join(broken.reasons)}"
            # Of answers, it is the rows that tell: they bring about every status and every field.
            told = told or changed > 0
        if told:
            return End.SURVIVED, "", ""
        return End.EQUIVALENT, "", mutant.alike

    @contextmanager
    def _switched_to(
        self, mutant: Mutant | None, suite: str = "rows"
    ) -> Iterator[tuple[Service, Actors]]:
        """The service as this mutant, or as itself, on a fresh copy of its data."""
        folder = self._service.folder / str(next(self._numbers))
        folder.mkdir()
        wanted = {
            "mutant": mutant and str(mutant),
            "folder": str(folder / "data"),
            "settings": _SETTINGS[suite],
        }
        answer = self._service.ask(Request("PUT", CONTROL, body=json.dumps(wanted).encode()))
        assert answer.status == HTTPStatus.OK, self._service.log
        (folder / "people.json").write_text(json.dumps(self._service.people))
        environment = {**self._service.environment, "ONESELF_DATA_DIR": str(folder / "data")}
        service = replace(self._service, folder=folder, environment=environment)
        with people_of(service) as people:
            yield service, people

    def _changed(self) -> int:
        answer = self._service.ask(Request("GET", CONTROL))
        return int(answer.json()["changed"])

    def _broken(
        self, suite: str, mutant: Mutant, service: Service, people: Actors, deadline: float
    ) -> Iterator[Outcome]:
        """Each promise that is broken, as soon as it is."""
        proof = Suite(
            service,
            service.folder / "people.json",
            suites=(suite,),
            examples=_EXAMPLES,
            operator=people.operator,
            operations=_around(mutant) if suite == "fuzz" else frozenset({mutant.operation_id}),
        )
        with closing(proof.steps()) as steps:
            for step in steps:
                yield from (each for each in step.outcomes if each.verdict is Verdict.FAILED)
                if time.monotonic() > deadline:
                    return

    def _check_without(self, mutant: Mutant, broken: Outcome) -> None:
        """See that the service itself keeps what the mutant has broken."""
        with self._switched_to(None, broken.suite) as (service, people):
            if broken.suite == "rows":
                row = next(each for each in load_rows() if str(each) == broken.promise)
                found = [run_case(CaseRunner(row, service, people))]
            else:
                found = [*self._broken("fuzz", mutant, service, people, time.monotonic() + 600)]
        same = [each for each in found if each.promise == broken.promise]
        assert all(each.verdict is Verdict.PASSED for each in same), (
            f"this is broken without {mutant} as well:\n{same[0].as_text()}"
        )

    def _is_told(self, mutant: Mutant) -> bool:
        """Whether a request that is made for a mutant is answered in another way by it."""
        telling = mutant.tell()
        if telling is None:
            return False
        answers = []
        for each in (None, mutant):
            with self._switched_to(each) as (service, people):
                answers.append(_told(_ask(mutant, telling, service, people)))
        return answers[0] != answers[1]


def _around(mutant: Mutant) -> frozenset[str]:
    """An operation, and those that links connect with it: a fuzzer has to find what to ask for."""
    name = mutant.operation_id
    before = {each.operation_id for each in OPERATIONS.values() if name in links_of(each)}
    return frozenset({name, *before, *links_of(mutant.operation)})


def _ask(mutant: Mutant, telling: Telling, service: Service, people: Actors) -> Answer:
    """Ask as somebody who has all that the operation needs, but for what the request is to tell."""
    raw = {
        "promise": "It tells a mutant apart",
        "source": "",
        "operation": mutant.operation_id,
        "expect": {},
        **telling,
        "request": _request(mutant, telling["request"], service),
    }
    return service.ask(CaseRunner(Row("mutants", raw), service, people).prepare())


def _request(mutant: Mutant, wanted: Mapping[str, Any], service: Service) -> dict[str, Any]:
    """The example of the operation, with one value in a place of it, or without what is there."""
    operation = mutant.operation
    values = fuzz_values(replace(service, people=read_credentials(service.folder / "people.json")))
    live = live_document(values)["paths"][operation.path][operation.method]
    known = {each["name"]: each for each in live.get("parameters", ()) if "name" in each}
    parts: dict[str, Any] = {"path": {}, "query": {}, "header": {}}
    for each in operation.parameters:
        if each.get("required"):
            parts[each["in"]][each["name"]] = known.get(each["name"], each)["example"]
    for content in live.get("requestBody", {}).get("content", {}).values():
        if "example" in content:
            parts["body"] = content["example"]
    if "place" in wanted:
        _put(parts, wanted["place"], wanted["value"])
    if "without" in wanted:
        part, name = wanted["without"]
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
    parts[part] = _merged(parts.get(part, {}), value)


def _merged(whole: Any, more: Any) -> Any:
    if not (isinstance(whole, dict) and isinstance(more, dict)):
        return more
    return whole | {name: _merged(whole.get(name), below) for name, below in more.items()}


def _told(answer: Answer) -> Any:
    """What an answer says, whenever and however often it is asked for."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return answer.status
    said = answer.json()
    return answer.status, {
        name: each
        for name, each in said.items()
        if name not in {"request_id", "timestamp", "instance"}
    }
