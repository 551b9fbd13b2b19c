"""The document keeps to itself under a fuzzer; with `--whole`, every promise is asked for as well.

By default a few requests are made up for each operation, by a session. `tox run -e prove` makes up
many, by every kind of credential and from several seeds, and fails where a response or a keyword of
the document was exercised by nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.table import Table

from oneself.conformance.fuzz.runs import FuzzRun, plan
from oneself.conformance.operations import OPERATIONS
from oneself.conformance.outcomes import Outcome, Verdict
from oneself.conformance.suite import Suite
from oneself.conformance.traffic import read_traffic
from tests.support.operator_acts import OperatorActs
from tests.support.service import Service
from tests.support.services import started_as

RUNS = plan([*OPERATIONS.values()])
#: What goes without `--whole`: a person, and two who must not see each other's.
USUAL = [run for run in RUNS if run.scheme == "session"]
NAMED = (None, "closed", "frozen", "scarce")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    whole = metafunc.config.getoption("--whole")
    if "run" in metafunc.fixturenames:
        seeds = [int(each) for each in metafunc.config.getoption("--seeds").split(",")]
        runs = [(run, seed) for seed in seeds for run in (RUNS if whole else USUAL)]
        metafunc.parametrize(("run", "seed"), runs, ids=[f"{run}, {seed}" for run, seed in runs])


@pytest.fixture
def fuzzed(
    service: Service, credentials: Path, traffic: Path, pytestconfig: pytest.Config
) -> Suite:
    """The proof that the runs of the fuzzer are part of."""
    examples = pytestconfig.getoption("--examples")
    return Suite(service, credentials, examples=examples, traffic=traffic)


def broken_in(outcomes: list[Outcome]) -> str:
    return "\n\n".join(each.as_text() for each in outcomes if each.verdict is not Verdict.PASSED)


@pytest.mark.parametrize("name", NAMED, ids=str)
@pytest.mark.usefixtures("whole")
def test_every_row_is_kept(name: str | None, tmp_path: Path, traffic: Path):
    with started_as(name, tmp_path) as service:
        operator = OperatorActs(service)
        try:
            proof = Suite(
                service,
                _credentials(service),
                suites=("rows",),
                operator=operator,
                service=name,
                traffic=traffic,
            )
            outcomes = [each for step in proof.steps() for each in step.outcomes]
        finally:
            operator.close()
    about_others = [each for each in outcomes if "it is about a deployment" in str(each.reasons)]
    asked = [each for each in outcomes if each not in about_others]
    assert asked
    if broken := broken_in(asked):
        pytest.fail(broken, pytrace=False)


def test_what_is_made_up_is_answered_as_documented(run: FuzzRun, seed: int, fuzzed: Suite):
    """HT-04, HT-23, HT-24, SC-04: no request that a fuzzer finds is answered in another way."""
    outcomes = fuzzed.fuzz_once(run, seed)
    assert len(outcomes) >= len(run.operations)
    if broken := broken_in(outcomes):
        pytest.fail(broken, pytrace=False)


@pytest.mark.usefixtures("whole")
def test_every_response_and_every_keyword_was_exercised(
    traffic: Path, show: Callable[[Table], None]
):
    """Nothing that the document promises went untried; it comes last, and counts all before it."""
    from tests.fuzz.coverage import coverage_of  # noqa: PLC0415 # TraceCov is in one environment only

    found = coverage_of(read_traffic(traffic))
    table = Table("of the document", "there are", "not exercised", title="Coverage over loopback")
    table.add_row("responses below 500", str(found.responses), str(len(found.missing_responses)))
    table.add_row("keywords of schemas", str(found.keywords), str(len(found.missing_keywords)))
    table.caption = f"{found.exchanges} exchanges"
    show(table)
    assert found.missing_responses == []
    assert found.missing_keywords == []


def _credentials(service: Service) -> Path:
    path = service.folder / "credentials.json"
    path.write_text(json.dumps(service.people))
    return path
