"""Fuzzing: the service conforms to the document for generated requests.

By default a session sends a few generated requests to each operation. `tox run -e conformance` adds
`--whole`: many requests, with every kind of credential and from several seeds, and all rows. It
fails if a response or a keyword of the document was not exercised.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from oneself_conformance.fuzz.runs import FuzzRun, plan
from oneself_conformance.operations import OPERATIONS
from oneself_conformance.outcomes import Outcome, Verdict
from oneself_conformance.suite import Suite
from oneself_conformance.traffic import read_traffic
from tests.support.operator_acts import OperatorActs
from tests.support.service import Service
from tests.support.services import started_as

RUNS = plan([*OPERATIONS.values()])
#: The runs without `--whole`: one user, and two users who must not see each other's objects.
DEFAULT_RUNS = [run for run in RUNS if run.scheme == "session"]
SERVICES = (None, "closed", "frozen", "scarce")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    whole = metafunc.config.getoption("--whole")
    if "run" in metafunc.fixturenames:
        seeds = [int(each) for each in metafunc.config.getoption("--seeds").split(",")]
        runs = [(run, seed) for seed in seeds for run in (RUNS if whole else DEFAULT_RUNS)]
        metafunc.parametrize(("run", "seed"), runs, ids=[f"{run}, {seed}" for run, seed in runs])


@pytest.fixture
def fuzzed(
    service: Service, credentials: Path, traffic: Path, pytestconfig: pytest.Config
) -> Suite:
    """The conformance suite that the fuzzer runs belong to."""
    examples = pytestconfig.getoption("--examples")
    return Suite(service, credentials, examples=examples, traffic=traffic)


def failures_in(outcomes: list[Outcome]) -> str:
    return "\n\n".join(each.as_text() for each in outcomes if each.verdict is not Verdict.PASSED)


@pytest.mark.parametrize("name", SERVICES, ids=str)
@pytest.mark.usefixtures("whole")
def test_rows_pass_in_the_suite(name: str | None, tmp_path: Path, traffic: Path):
    with started_as(name, tmp_path) as service:
        operator = OperatorActs(service)
        try:
            suite = Suite(
                service,
                _credentials(service),
                suites=("rows",),
                operator=operator,
                service=name,
                traffic=traffic,
            )
            outcomes = [each for step in suite.steps() for each in step.outcomes]
        finally:
            operator.close()
    others = [each for each in outcomes if "it needs a deployment with" in str(each.reasons)]
    run = [each for each in outcomes if each not in others]
    assert run
    if failures := failures_in(run):
        pytest.fail(failures, pytrace=False)


def test_generated_requests_get_documented_responses(run: FuzzRun, seed: int, fuzzed: Suite):
    """HT-04, HT-23, HT-24, SC-04."""
    outcomes = fuzzed.fuzz_once(run, seed)
    assert len(outcomes) >= len(run.operations)
    if failures := failures_in(outcomes):
        pytest.fail(failures, pytrace=False)


@pytest.mark.usefixtures("whole")
def test_every_response_and_keyword_was_exercised(traffic: Path, show: Callable[[Table], None]):
    """This test comes last, and measures the traffic of all tests before it."""
    from tests.fuzz.coverage import coverage_of  # noqa: PLC0415 # TraceCov is not always installed

    coverage = coverage_of(read_traffic(traffic))
    table = Table("of the document", "total", "not exercised", title="Coverage over loopback")
    table.add_row(
        "responses below 500", str(coverage.responses), str(len(coverage.missing_responses))
    )
    table.add_row(
        "keywords of schemas", str(coverage.keywords), str(len(coverage.missing_keywords))
    )
    table.caption = f"{coverage.exchanges} exchanges"
    show(table)
    assert coverage.missing_responses == []
    assert coverage.missing_keywords == []


def _credentials(service: Service) -> Path:
    path = service.folder / "credentials.json"
    path.write_text(json.dumps(service.actors))
    return path
