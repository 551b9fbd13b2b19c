"""The service conforms to the document, as tested by Specmatic; and Specmatic detects faults.

Run by `tox run -e third-party`, separately from other tests, because it needs Java from a wheel.
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

from oneself.document import load_document, resolve
from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import Row, load_rows
from oneself_conformance.common_assertions import find_schema_violations
from oneself_conformance.operations import OPERATIONS
from tests.support.faults import (
    add_field,
    answer_with,
    drop_field,
    drop_header,
    faulty_proxy,
    set_field,
)
from tests.support.operator_acts import open_actors
from tests.support.service import ROOT, Service
from tests.support.services import started_as
from tests.third_party.seeds import Inexpressible, Seed, seed_of
from tests.third_party.specmatic import SpecmaticRun, Test, run_specmatic

#: The default service, and two that reject more. The rows of `scarce` send their client addresses
#: in an undocumented header.
SERVICES = (None, "closed", "frozen")
#: Rate limits that do not replenish before Specmatic sends the rows.
SLOW_BUDGETS = {"throttle_account_source": "5/36000", "throttle_mail": "5/36000"}
#: Rate limits that variations of one example cannot reach.
LARGE_BUDGETS = {"throttle_account_source": "100000/1", "throttle_mail": "100000/1"}
#: Lower bounds of the numbers of tests (1,300 and 2,100).
MIN_TESTS = {"rows": 1000, "variations": 1500}
FIGURES = ("operations", "tests", "passed", "refused", "failed", "skipped")


@cache
def limits() -> Mapping[str, Any]:
    """Return the content of contracts/specmatic.yaml."""
    read: Mapping[str, Any] = yaml.safe_load((ROOT / "contracts" / "specmatic.yaml").read_text())
    return read


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Specmatic's reports."""
    artefacts = os.environ.get("ONESELF_ARTEFACTS")
    if artefacts is None:
        return tmp_path_factory.mktemp("specmatic")
    kept = Path(artefacts) / "specmatic"
    shutil.rmtree(kept, ignore_errors=True)
    return kept


@pytest.fixture(scope="session")
def unsent_rows() -> Counter[str]:
    """The reasons why rows could not become examples, with their numbers."""
    return Counter()


@pytest.fixture(scope="session")
def row_runs(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, unsent_rows: Counter[str]
) -> Mapping[str, SpecmaticRun]:
    """The runs of Specmatic on the rows, by service."""
    runs = {}
    for name in SERVICES:
        place = tmp_path_factory.mktemp(name or "usual")
        with started_as(name, place, **SLOW_BUDGETS) as service:
            seeds = prepare(service, rows_of(name), unsent_rows)
            reports = folder / f"rows-{name or 'usual'}"
            runs[name or "usual"] = run_specmatic(service.url, seeds, reports, generative=False)
    return runs


@pytest.fixture(scope="session")
def variation_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> SpecmaticRun:
    """The run of Specmatic on variations of one 2xx per operation, within and beyond the schema."""
    with started_as(None, tmp_path_factory.mktemp("variations"), **LARGE_BUDGETS) as service:
        seeds = prepare(service, rows_of(None), Counter(), once=True)
        assert {seed.operation_id for seed in seeds} == set(OPERATIONS)
        return run_specmatic(service.url, seeds, folder / "variations", generative=True)


def rows_of(service_name: str | None) -> list[Row]:
    rows = [row for row in load_rows() if row.raw.get("service") == service_name]
    # Exhausted rate limits last, so that they do not replenish before Specmatic's requests.
    return sorted(rows, key=lambda row: row.status == HTTPStatus.TOO_MANY_REQUESTS)


def prepare(
    service: Service, rows: list[Row], unsent_rows: Counter[str], *, once: bool = False
) -> list[Seed]:
    """Return the rows as examples; with `once`, only the first 2xx of each operation."""
    seeds: list[Seed] = []
    done = set()
    with open_actors(service) as actors:
        for number, row in enumerate(rows):
            if once and (row.status >= HTTPStatus.MULTIPLE_CHOICES or row.operation_id in done):
                continue
            try:
                seed = seed_of(f"{number:04} {row}", row, CaseRunner(row, service, actors))
            except Inexpressible as reason:
                unsent_rows[str(reason)] += 1
            else:
                seeds.append(seed)
                done.add(row.operation_id)
    return seeds


def passed(row_runs: Mapping[str, SpecmaticRun]) -> Iterator[tuple[str, int]]:
    for run in row_runs.values():
        for test in run.tests:
            if test.passed:
                yield test.operation_id, int(test.expected)


def refusal_of(test: Test) -> tuple[str, frozenset[str]]:
    """Return the code of a refusal and the fields that it names, in any dialect."""
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


def is_expected_refusal(test: Test, used: set[tuple[str, str, str]]) -> bool:
    """Return whether a variation breaks a rule that no schema expresses; record it in `used`."""
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
    """Return the expected refusals of contracts/specmatic.yaml: operation, code and field."""
    return frozenset(
        (operation, each["code"], field)
        for each in limits()["refused"]
        for operation, fields in each["of"].items()
        for field in fields or [""]
    )


def test_rows_pass_in_specmatic(row_runs):
    failed = [test for run in row_runs.values() for test in run.failed]
    assert not failed, "\n\n".join(map(str, failed[:20]))
    assert all(run.exit_status == 0 for run in row_runs.values())
    count = sum(len(run.tests) for run in row_runs.values())
    assert count >= MIN_TESTS["rows"]


@pytest.mark.usefixtures("row_runs")
def test_unsent_rows_are_explained(unsent_rows):
    """contracts/specmatic.yaml lists exactly the reasons that occur."""
    assert set(unsent_rows) == set(limits()["inexpressible"])


def test_every_2xx_is_covered(row_runs, variation_run):
    """In Specmatic's own report and by a passed test; missing media types are explained."""
    documented = {
        (name, status)
        for name, operation in OPERATIONS.items()
        for status in operation.responses
        if status < HTTPStatus.MULTIPLE_CHOICES
    }
    assert {name for name, _ in documented} == set(OPERATIONS)
    assert documented <= row_runs["usual"].covered
    assert documented <= set(passed(row_runs))
    assert {test.operation_id for test in variation_run.tests} == set(OPERATIONS)
    skipped = {each for each in row_runs["usual"].skipped if each[2] < HTTPStatus.MULTIPLE_CHOICES}
    assert skipped == {
        (name, media, each["status"])
        for each in limits()["uncovered"]
        for media in each.get("media", ())
        for name in each["of"]
    }


def test_every_other_status_below_500_is_covered_or_explained(row_runs, variation_run):
    """A status that is covered must not be listed as out of reach."""
    documented = {
        (name, status)
        for name, operation in OPERATIONS.items()
        for status in operation.responses
        if status < HTTPStatus.INTERNAL_SERVER_ERROR
    }
    uncovered = {
        (name, each["status"])
        for each in limits()["uncovered"]
        if "media" not in each
        for name in each.get("of", OPERATIONS)
        if name not in each.get("except", ()) and (name, each["status"]) in documented
    }
    broken = {
        (test.operation_id, test.answer.status) for test in variation_run.tests if test.passed
    }
    assert documented - set(passed(row_runs)) - broken == uncovered


def test_variations_get_documented_responses(variation_run):
    """Invalid variations get a documented 4xx, valid ones a 2xx or an expected refusal."""
    used: set[tuple[str, str, str]] = set()
    failed = [test for test in variation_run.failed if not is_expected_refusal(test, used)]
    assert not failed, "\n\n".join(map(str, failed[:20]))
    by_chance = {
        (operation, each["code"], field)
        for each in limits()["refused"]
        if each.get("by_chance")
        for operation, fields in each["of"].items()
        for field in fields or [""]
    }
    assert known_refusals() - by_chance <= used
    assert len(variation_run.tests) >= MIN_TESTS["variations"]


def test_every_field_of_every_json_body_was_varied(variation_run):
    """The limit on combinations must not limit coverage."""
    names = dict.fromkeys(OPERATIONS, "")
    for test in variation_run.tests:
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


def test_summary_is_printed(row_runs, variation_run, unsent_rows, capsys):
    """The summary has the numbers of each dialect."""
    columns = ("dialect", "operations", "tests", "passed", "expected refusals", "failed", "skipped")
    table = Table(*columns, title="Specmatic")
    runs = [*row_runs.values(), variation_run]
    totals: Counter[str] = Counter()
    for dialect in sorted({each.dialect for each in OPERATIONS.values()}):
        ids = {name for name, each in OPERATIONS.items() if each.dialect == dialect}
        tests = [test for each in runs for test in each.tests if test.operation_id in ids]
        refused = [test for test in tests if not test.passed and is_expected_refusal(test, set())]
        # Statuses without a request, in the largest run.
        skipped = [each for each in row_runs["usual"].skipped if each[0] in ids]
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
        console.print("skipped: statuses, by media type, without a request;")
        console.print(
            f"rows that Specmatic cannot send, by reason: {dict(sorted(unsent_rows.items()))}"
        )
    assert totals["operations"] == len(OPERATIONS)


def test_specmatic_detects_faults(folder, tmp_path):
    """It reports each fault, and nothing else."""
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
    operation_ids = {*faults, "ipto.listApiKeys", "hantera.listPats", "hantera.updateProfile"}
    with started_as(None, tmp_path, **LARGE_BUDGETS) as service:
        seeds = prepare(service, rows_of(None), Counter(), once=True)
        with faulty_proxy(service, proxied) as url:
            run = run_specmatic(
                url,
                [seed for seed in seeds if seed.operation_id in operation_ids],
                folder / "faulty",
                generative=True,
                only=sorted(operation_ids),
            )
    assert run.exit_status != 0
    used: set[tuple[str, str, str]] = set()
    failed = [test for test in run.failed if not is_expected_refusal(test, used)]
    assert {test.operation_id for test in failed} == set(faults)
    assert {test.operation_id for test in run.tests} >= operation_ids
    # An operation that accepts everything responds correctly to valid requests.
    assert {test.sign for test in failed if test.operation_id == "scaikey.updateProfile"} == {"-ve"}


#: A documented response, also to invalid requests.
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
