"""What no client sends, sent to the running service: every probe of contracts/probes.yaml."""

import json
from collections.abc import Mapping

import pytest

from oneself.conformance.http_client import Request
from oneself.conformance.probes.runner import ProbeOutcome, run_probes
from oneself.conformance.probes.table import Probe, load_probes
from oneself.conformance.probes.target import ProbeTarget
from oneself.conformance.probes.wire import Address
from oneself.document import load_document
from tests.support.service import Service

READ, POST = "/v1/me", "/v1/api-keys"


@pytest.fixture(scope="module")
def session(service: Service) -> str:
    """The header of somebody's session."""
    return f"Bearer {service.people['base']['session_token']}"


@pytest.fixture(scope="module")
def target(service: Service, session: str) -> ProbeTarget:
    """The service, as its document describes it."""
    paths = load_document()["paths"]
    body = paths[POST]["post"]["requestBody"]["content"]["application/json"]
    example = (
        body["example"] if "example" in body else next(iter(body["examples"].values()))["value"]
    )
    address = Address.of_url(service.url)
    return ProbeTarget(
        address,
        host=address.host_header,
        read=READ,
        post=POST,
        example=example,
        credential=f"Authorization: {session}",
        health="/healthz",
        read_methods=frozenset(method.upper() for method in paths[READ] if method != "parameters"),
        deadline_seconds=float(service.environment["ONESELF_HEAD_SECONDS"]),
    )


@pytest.fixture(scope="module")
def keys_before(service: Service, session: str) -> object:
    """The keys of whoever asks, before anything is sent."""
    return _keys(service, session)


def _keys(service: Service, session: str) -> object:
    return service.ask(Request("GET", POST, (("Authorization", session),))).json()["data"]


@pytest.fixture(scope="module")
def logged_before(service: Service) -> int:
    """How much the service had logged before anything is sent."""
    return len(service.log)


@pytest.fixture(scope="module")
def outcomes(
    target: ProbeTarget, keys_before: object, logged_before: int
) -> Mapping[str, ProbeOutcome]:
    """What came of each, all sent side by side, since many wait for a deadline."""
    assert keys_before
    assert logged_before
    return {outcome.probe.id: outcome for outcome in run_probes(load_probes(), target)}


@pytest.mark.parametrize("probe", load_probes(), ids=str)
def test_a_probe_is_refused_or_ended_and_harms_nobody(
    outcomes: Mapping[str, ProbeOutcome], probe: Probe
):
    """HT-04, HT-05, HT-07, HT-08, HT-09, HT-10, HT-12, HT-13."""
    outcome = outcomes[probe.id]
    if probe.only == "https":
        assert outcome.skipped
        return
    assert outcome.skipped is None
    assert not outcome.broken, f"{probe.promise}: {outcome.broken}\n{outcome.exchange}"


def test_nothing_was_made_of_any_probe(
    service: Service, session: str, outcomes: Mapping[str, ProbeOutcome], keys_before: object
):
    """HT-04: what is refused has left nothing behind."""
    assert outcomes
    assert _keys(service, session) == keys_before


def test_no_probe_made_the_service_fail(
    service: Service, logged_before: int, outcomes: Mapping[str, ProbeOutcome]
):
    """HT-04: also where a probe would put up with a 501 or a 505, as a proxy may say."""
    lines = [json.loads(line) for line in service.log[logged_before:].splitlines()]
    assert len(lines) > len(outcomes)
    assert [line for line in lines if line.get("status", 0) >= 500] == []
    assert [line for line in lines if line["level"] == "error"] == []
    received = "".join(each.exchange.received for each in outcomes.values() if each.exchange)
    assert "HTTP/1.1 5" not in received
