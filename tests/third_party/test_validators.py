"""Two validators judge every request of the rows and its response by the document.

express-openapi-validator is a proxy between the rows and the service, and openapi-core reads the
same exchanges afterwards. Both see each response, and may find nothing in it. They may reject a
request only if the service rejects it, too. Where a validator errs, it has a line in `REASONS`.
"""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import pytest

from oneself_conformance.cases.runner import CaseRunner
from oneself_conformance.cases.table import SERVICES, load_rows
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.traffic import Traffic
from tests.support.operator_acts import open_actors
from tests.support.service import ROOT
from tests.support.services import started_as
from tests.support.tampering import tampering_proxy
from tests.third_party.faults import FAULTS
from tests.third_party.prism import operation_of
from tests.third_party.table import Results
from tests.third_party.tools import PACKAGES, node_version, outsider, versions
from tests.third_party.validating_proxy import Exchange, validating_proxy

#: No schema can say it.
_EMPTY = "a parameter without a value counts as absent (RFC 6749, section 3.2)"
#: Errors of a validator: the tool, patterns of the operation (empty if none) and finding, and why.
REASONS: Sequence[tuple[str, str, str, str]] = (
    (
        "express-openapi-validator",
        "",
        "^no schema defined for status code '404'",
        "it takes /v1/me/ for /v1/me, also with Express's strict routing",
    ),
    (
        "express-openapi-validator",
        r"oauth\.issueToken",
        "^400 request/body/scope must match pattern",
        _EMPTY,
    ),
    ("openapi-core", r"oauth\.issueToken", r"^InvalidRequestBody \$\.scope pattern$", _EMPTY),
)
_JUDGE = Path(__file__).parent / "validators" / "openapi_core_judge.py"
_SECONDS = 1800
#: A validator that rejects fewer requests reads none of their bodies, or none of their parameters.
_REJECTED_AT_LEAST = 100


@dataclass(frozen=True)
class Judged:
    """An exchange by its operation and status, and what a validator finds in it."""

    exchange: Exchange
    bad_request: str
    bad_response: str

    def __str__(self) -> str:
        request, answer = self.exchange.request, self.exchange.answer
        findings = f"{self.bad_request} | {self.bad_response}"
        return f"{operation_of(request)} {request.target} {answer.status}: {findings}"

    @property
    def finding(self) -> str:
        """The fault of the response, or of a request that the service accepts."""
        is_accepted = self.exchange.answer.status < HTTPStatus.BAD_REQUEST
        return self.bad_response or (self.bad_request if is_accepted else "")


@pytest.fixture(scope="module")
def exchanges(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Exchange]:
    """All exchanges of all rows, with those of their users."""
    with ExitStack() as stack:
        services = {}
        for name in (None, *sorted(SERVICES)):
            folder = tmp_path_factory.mktemp(name or "open")
            running = stack.enter_context(started_as(name, folder))
            service = stack.enter_context(validating_proxy(running, running.port, folder))
            services[name] = service, stack.enter_context(open_actors(service))
        for row in load_rows():
            service, actors = services[row.raw.get("service")]
            answer = service.ask(CaseRunner(row, service, actors).prepare())
            assert answer.status == row.status, f"{row}: {answer}"
        return [each for service, _ in services.values() for each in service.exchanges]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[Exchange]], list[Judged]]:
    """Return the verdicts of openapi-core; it skips what is not in the document."""

    def judge(exchanges: Sequence[Exchange]) -> list[Judged]:
        path = tmp_path_factory.mktemp("exchanges") / "exchanges.jsonl"
        traffic = Traffic(path)
        for each in exchanges:
            traffic.write(each.request, each.answer)
        process = subprocess.run(
            [outsider(), str(_JUDGE), str(ROOT / "openapi" / "openapi.yaml"), str(path)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert process.returncode == 0, process.stderr[-5000:]
        verdicts = map(json.loads, process.stdout.splitlines())
        return [
            Judged(exchange, "; ".join(verdict["request"]), "; ".join(verdict["response"]))
            for exchange, verdict in zip(exchanges, verdicts, strict=True)
            if verdict is not None
        ]

    return judge


def unreasoned(tool: str, judged: Sequence[Judged]) -> list[str]:
    """Return the findings that have no reason; each reason must have a finding."""
    reasons = {reason: 0 for reason in REASONS if reason[0] == tool}
    left = []
    for each in filter(lambda each: each.finding, judged):
        operation_id = operation_of(each.exchange.request) or ""
        for reason in reasons:
            if re.fullmatch(reason[1], operation_id) and re.search(reason[2], each.finding):
                reasons[reason] += 1
                break
        else:
            left.append(str(each))
    assert all(reasons.values()), f"a reason that nothing needs: {reasons}"
    return left


def summary_of(tool: str, judged: Sequence[Judged]) -> str:
    """Return the numbers for the table."""
    seen = {(operation_of(each.exchange.request), each.exchange.answer.status) for each in judged}
    rejected = sum(bool(each.bad_request) for each in judged)
    reasons = sum(reason[0] == tool for reason in REASONS)
    return (
        f"{len(judged)} exchanges of all rows ({len(seen)} pairs of operation and status): 0 bad"
        f" responses; {rejected} requests rejected, and by the service as well;"
        f" {reasons} findings of its own have a reason"
    )


def test_openapi_core_agrees_with_the_service(
    exchanges: Sequence[Exchange],
    judge: Callable[[Sequence[Exchange]], list[Judged]],
    results: Results,
):
    """Clients C10."""
    judged = judge(exchanges)
    assert unreasoned("openapi-core", judged) == []
    assert sum(bool(each.bad_request) for each in judged) > _REJECTED_AT_LEAST
    results.add(versions("openapi-core"), summary_of("openapi-core", judged))


def test_express_openapi_validator_agrees_with_the_service(
    exchanges: Sequence[Exchange], results: Results
):
    """Clients C7."""
    judged = [
        Judged(each, each.bad_request, each.bad_response) for each in exchanges if not each.skipped
    ]
    tool = "express-openapi-validator"
    assert unreasoned(tool, judged) == []
    assert sum(bool(each.bad_request) for each in judged) > _REJECTED_AT_LEAST
    results.add(f"{tool} {node_version(PACKAGES, tool)}, a proxy", summary_of(tool, judged))


def test_few_exchanges_are_not_validated(exchanges: Sequence[Exchange]):
    skipped = Counter(each.skipped for each in exchanges if each.skipped)
    assert skipped.total() < len(exchanges) / 10, skipped


@pytest.mark.parametrize("fault", FAULTS)
def test_openapi_core_detects_a_fault(
    fault: str, exchanges: Sequence[Exchange], judge: Callable[[Sequence[Exchange]], list[Judged]]
):
    exchange = next(
        each
        for each in exchanges
        if operation_of(each.request) == "ipto.getCurrentUser" and each.answer.status == 200
    )
    [judged] = judge([replace(exchange, answer=FAULTS[fault](exchange.answer))])
    assert bool(judged.bad_response) == (fault != "nothing")


#: express-openapi-validator reads neither headers nor what is not JSON.
EXPRESS_FAULTS = [fault for fault in FAULTS if fault != "missing required header"]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Exchange]]:
    """Send a request with a fault in its response."""
    fault = "nothing"

    def spoil(request: Request, forward: Callable[[Request], Answer]) -> Answer:
        answer = forward(request)
        return FAULTS[fault](answer)

    def send(name: str) -> Exchange:
        nonlocal fault
        fault = name
        bearer = ("Authorization", f"Bearer {user['session_token']}")
        service.ask(Request("GET", "/v1/me", (bearer,)))
        fault = "nothing"
        return service.exchanges[-1]

    folder = tmp_path_factory.mktemp("faulty")
    with (
        started_as(None, folder) as running,
        tampering_proxy(running.port, spoil) as port,
        validating_proxy(running, port, folder) as service,
        open_actors(service) as actors,
    ):
        user = actors.sign_up()
        yield send


@pytest.mark.parametrize("fault", EXPRESS_FAULTS)
def test_express_openapi_validator_detects_a_fault(fault: str, faulty: Callable[[str], Exchange]):
    exchange = faulty(fault)
    assert bool(exchange.bad_response or exchange.skipped) == (fault != "nothing")
