"""Specmatic finds nothing that contradicts the document, and would if there were something.

Run by `tox run -e specmatic`, never with the other tests: it needs a Java, which comes in a wheel.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from rich.table import Table

from oneself.conformance.common_assertions import find_schema_violations
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.rows.case_runner import CaseRunner
from oneself.conformance.rows.table import Row, load_rows
from oneself.document import load_document, resolve
from tests.support.faults import add_field, answer_with, drop_field, drop_header, faulty, set_field
from tests.support.operator_acts import people_of
from tests.support.service import ROOT, Service
from tests.support.services import started_as
from tests.third_party.seeds import Inexpressible, Seed, seed_of
from tests.third_party.specmatic import Test, Verdict, judge

#: The usual service, and two that refuse what it allows. Rows of `scarce` ask from addresses that a
#: header names which the document does not list.
ARRANGEMENTS = (None, "closed", "frozen")
#: Attempts that a budget has back before Specmatic comes to them would be answered.
SLOW_BUDGETS = {"throttle_account_source": "5/36000", "throttle_mail": "5/36000"}
#: Variations of one example are attempts at one account; none is refused for their number.
LARGE_BUDGETS = {"throttle_account_source": "100000/1", "throttle_mail": "100000/1"}
#: A part of what there is (1,300 and 2,100), and far from nothing.
FEWEST_TESTS = {"promised": 1000, "varied": 1500}
FIGURES = ("operations", "tests", "passed", "refused", "failed", "skipped")


@cache
def limits() -> Mapping[str, Any]:
    """What contracts/specmatic.yaml says."""
    read: Mapping[str, Any] = yaml.safe_load((ROOT / "contracts" / "specmatic.yaml").read_text())
    return read


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Specmatic leaves its reports."""
    artefacts = os.environ.get("ONESELF_ARTEFACTS")
    if artefacts is None:
        return tmp_path_factory.mktemp("specmatic")
    kept = Path(artefacts) / "specmatic"
    shutil.rmtree(kept, ignore_errors=True)
    return kept


@pytest.fixture(scope="session")
def unsent() -> Counter[str]:
    """Why rows have become no examples, counted."""
    return Counter()


@pytest.fixture(scope="session")
def promised(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, unsent: Counter[str]
) -> Mapping[str, Verdict]:
    """What Specmatic says of the rows, by service."""
    verdicts = {}
    for name in ARRANGEMENTS:
        place = tmp_path_factory.mktemp(name or "usual")
        with started_as(name, place, **SLOW_BUDGETS) as service:
            seeds = prepare(service, rows_of(name), unsent)
            run = folder / f"promised-{name or 'usual'}"
            verdicts[name or "usual"] = judge(service.url, seeds, run, generative=False)
    return verdicts


@pytest.fixture(scope="session")
def varied(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """What Specmatic says of variations, within and beyond the schema, of one 2xx an operation."""
    with started_as(None, tmp_path_factory.mktemp("varied"), **LARGE_BUDGETS) as service:
        seeds = prepare(service, rows_of(None), Counter(), once=True)
        assert {seed.operation_id for seed in seeds} == set(OPERATIONS)
        return judge(service.url, seeds, folder / "varied", generative=True)


def rows_of(arrangement: str | None) -> list[Row]:
    rows = [row for row in load_rows() if row.raw.get("service") == arrangement]
    # Used-up budgets last, so that they are not back when they are asked for.
    return sorted(rows, key=lambda row: row.status == HTTPStatus.TOO_MANY_REQUESTS)


def prepare(
    service: Service, rows: list[Row], unsent: Counter[str], *, once: bool = False
) -> list[Seed]:
    """The rows as examples; `once`, the first of each operation that is a 2xx."""
    seeds: list[Seed] = []
    done = set()
    with people_of(service) as people:
        for number, row in enumerate(rows):
            if once and (row.status >= HTTPStatus.MULTIPLE_CHOICES or row.operation_id in done):
                continue
            try:
                seed = seed_of(f"{number:04} {row}", row, CaseRunner(row, service, people))
            except Inexpressible as reason:
                unsent[str(reason)] += 1
            else:
                seeds.append(seed)
                done.add(row.operation_id)
    return seeds


def passed(promised: Mapping[str, Verdict]) -> Iterator[tuple[str, int]]:
    for verdict in promised.values():
        for test in verdict.tests:
            if test.passed:
                yield test.operation_id, int(test.expected)


def refusal_of(test: Test) -> tuple[str, frozenset[str]]:
    """The code of a refusal, and the fields that it names, in whatever dialect it is put."""
    body = test.answer.json()
    error = body["error"] if isinstance(body.get("error"), dict) else body
    listed = error.get("details", {}).get("violations", [])
    if listed:
        return error["code"], frozenset(each["field"].strip("/") for each in listed)
    detail = error.get("detail")
    if isinstance(detail, list):
        return detail[0]["type"], frozenset("/".join(each["loc"][1:]) for each in detail)
    text = detail or error.get("error_description") or ""
    fields = re.findall(r"(?:^|; )(?:body|query|header) ([\w-]*):", text)
    return error.get("code") or error["error"], frozenset(fields)


def is_refused_as_it_should(test: Test, used: set[tuple[str, str, str]]) -> bool:
    """Whether what is wrong with a variation is what no schema says; `used` remembers which."""
    if test.sign != "+ve" or test.answer.status < HTTPStatus.BAD_REQUEST:
        return False
    operation = OPERATIONS[test.operation_id]
    if list(find_schema_violations(operation, operation.method.upper(), test.answer)):
        return False
    with suppress(ValueError, KeyError, IndexError):
        code, fields = refusal_of(test)
        needed = {(test.operation_id, code, field) for field in fields or {""}}
        used |= needed & known_refusals()
        return needed <= known_refusals()
    return False


@cache
def known_refusals() -> frozenset[tuple[str, str, str]]:
    """Operation, code and field, or no field, of contracts/specmatic.yaml."""
    return frozenset(
        (operation, each["code"], field)
        for each in limits()["refused"]
        for operation, fields in each["of"].items()
        for field in fields or [""]
    )


def test_specmatic_finds_every_row_kept(promised):
    """Each row that it can send is answered with its status, by an answer of that schema."""
    failed = [test for verdict in promised.values() for test in verdict.failed]
    assert not failed, "\n\n".join(map(str, failed[:20]))
    assert all(verdict.exit_status == 0 for verdict in promised.values())
    count = sum(len(verdict.tests) for verdict in promised.values())
    assert count >= FEWEST_TESTS["promised"]


@pytest.mark.usefixtures("promised")
def test_what_it_cannot_send_is_explained(unsent):
    """Each reason stands in contracts/specmatic.yaml, and each there is one."""
    assert set(unsent) == set(limits()["inexpressible"])


def test_each_operation_and_each_2xx_is_covered(promised, varied):
    """By Specmatic's own report, and by a test that passed; in each media type, or explained."""
    documented = {
        (name, status)
        for name, operation in OPERATIONS.items()
        for status in operation.responses
        if status < HTTPStatus.MULTIPLE_CHOICES
    }
    assert {name for name, _ in documented} == set(OPERATIONS)
    assert documented <= promised["usual"].covered
    assert documented <= set(passed(promised))
    assert {test.operation_id for test in varied.tests} == set(OPERATIONS)
    skipped = {each for each in promised["usual"].skipped if each[2] < HTTPStatus.MULTIPLE_CHOICES}
    assert skipped == {
        (name, media, each["status"])
        for each in limits()["unasked"]
        for media in each.get("media", ())
        for name in each["of"]
    }


def test_each_other_status_below_500_is_asked_for_or_explained(promised, varied):
    """A status that Specmatic brings about and that is said to be out of its reach fails too."""
    documented = {
        (name, status)
        for name, operation in OPERATIONS.items()
        for status in operation.responses
        if status < HTTPStatus.INTERNAL_SERVER_ERROR
    }
    unasked = {
        (name, each["status"])
        for each in limits()["unasked"]
        if "media" not in each
        for name in each.get("of", OPERATIONS)
        if name not in each.get("except", ()) and (name, each["status"]) in documented
    }
    broken = {(test.operation_id, test.answer.status) for test in varied.tests if test.passed}
    assert documented - set(passed(promised)) - broken == unasked


def test_specmatic_finds_every_variation_answered_as_documented(varied):
    """What breaks its schema is a documented 4xx; what does not is a 2xx, or refused for cause."""
    used: set[tuple[str, str, str]] = set()
    failed = [test for test in varied.failed if not is_refused_as_it_should(test, used)]
    assert not failed, "\n\n".join(map(str, failed[:20]))
    by_chance = {
        (operation, each["code"], field)
        for each in limits()["refused"]
        if each.get("by_chance")
        for operation, fields in each["of"].items()
        for field in fields or [""]
    }
    assert known_refusals() - by_chance <= used
    assert len(varied.tests) >= FEWEST_TESTS["varied"]


def test_each_field_of_each_json_body_was_broken(varied):
    """Or the limit on combinations would be one on what is tried."""
    names = dict.fromkeys(OPERATIONS, "")
    for test in varied.tests:
        if test.sign == "-ve":
            assert HTTPStatus.BAD_REQUEST <= test.answer.status < HTTPStatus.INTERNAL_SERVER_ERROR
            names[test.operation_id] += test.name
    for name, operation in OPERATIONS.items():
        schema = operation.bodies.get("application/json")
        if schema is None:
            continue
        assert "REQUEST.BODY has been omitted" in names[name]
        for field in resolve(load_document(), schema).get("properties", {}):
            assert re.search(rf"\b{field}\b(\[\])? is (mutated|set)", names[name]), (name, field)


def test_the_figures_are_printed(promised, varied, unsent, capsys):
    """Of each dialect, how much was judged, and how much was not."""
    columns = ("dialect", "operations", "tests", "passed", "refused for cause", "failed", "skipped")
    table = Table(*columns, title="Specmatic")
    verdicts = [*promised.values(), varied]
    totals: Counter[str] = Counter()
    for dialect in sorted({each.dialect for each in OPERATIONS.values()}):
        ids = {name for name, each in OPERATIONS.items() if each.dialect == dialect}
        tests = [test for each in verdicts for test in each.tests if test.operation_id in ids]
        refused = [
            test for test in tests if not test.passed and is_refused_as_it_should(test, set())
        ]
        # A status that Specmatic made no request for, in the run that has the most.
        skipped = [each for each in promised["usual"].skipped if each[0] in ids]
        figures = Counter(
            operations=len(ids),
            tests=len(tests),
            passed=sum(test.passed for test in tests),
            refused=len(refused),
            failed=sum(not test.passed for test in tests) - len(refused),
            skipped=len(skipped),
        )
        totals += figures
        table.add_row(dialect, *(str(figures[name]) for name in FIGURES))
    table.add_section()
    table.add_row("all", *(str(totals[name]) for name in FIGURES))
    with capsys.disabled():
        console = Console(width=120)
        console.print("\n", table)
        console.print("skipped: a status, by media type, that no request was made for; by reason,")
        console.print(f"rows that Specmatic cannot send: {dict(sorted(unsent.items()))}")
    assert totals["operations"] == len(OPERATIONS)


def test_it_fails_where_an_answer_is_not_what_the_document_says(folder, tmp_path):
    """Each fault is found, and nothing where there is none."""
    faults = {
        "ipto.listSessions": ("required", drop_field("timestamp")),
        "hyperclast.getAccessToken": ("pattern", set_field("access_token", "tok_short")),
        "scaikey.getProfile": ("closed", add_field("shoe_size", 43)),
        "hantera.getProfile": ("header", drop_header("x-request-id")),
        "hantera.getSettings": ("status", answer_with(201)),
        "status.getHealth": ("enum", set_field("status", "fine")),
        "scaikey.updateProfile": ("accepts everything", answer_with(200, PROFILE, etag='"0"')),
    }
    proxied = {
        (OPERATIONS[name].method.upper(), OPERATIONS[name].path): fault
        for name, (_, fault) in faults.items()
    }
    asked = {*faults, "ipto.listApiKeys", "hantera.listPats", "hantera.updateProfile"}
    with started_as(None, tmp_path, **LARGE_BUDGETS) as service:
        seeds = prepare(service, rows_of(None), Counter(), once=True)
        with faulty(service, proxied) as url:
            verdict = judge(
                url,
                [seed for seed in seeds if seed.operation_id in asked],
                folder / "faulty",
                generative=True,
                only=sorted(asked),
            )
    assert verdict.exit_status != 0
    used: set[tuple[str, str, str]] = set()
    failed = [test for test in verdict.failed if not is_refused_as_it_should(test, used)]
    assert {test.operation_id for test in failed} == set(faults)
    assert {test.operation_id for test in verdict.tests} >= asked
    # What accepts everything answers what is good as it should.
    assert {test.sign for test in failed if test.operation_id == "scaikey.updateProfile"} == {"-ve"}


#: An answer that is as the document has it, to a request that may not be.
PROFILE = {
    "id": "usr_a1b2c3d4e5f6",
    "email": "alice@example.com",
    "email_verified": True,
    "first_name": None,
    "last_name": None,
    "display_name": "Alice Chen",
    "phone": None,
    "locale": None,
    "timezone": None,
    "tenant_id": "tnt_f6e5d4c3b2a1",
}
