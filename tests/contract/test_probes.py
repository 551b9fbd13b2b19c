"""Probes, sent to the started service."""

import json
from collections.abc import Mapping

import pytest

from oneself.document import load_document
from oneself_conformance.http_client import Request
from oneself_conformance.probes.runner import ProbeOutcome, run_probes
from oneself_conformance.probes.table import Probe, load_probes
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Address
from tests.support.service import Service

READ, POST = "/v1/me", "/v1/api-keys"


@pytest.fixture(scope="module")
def session(service: Service) -> str:
    """The Authorization header of a session."""
    return f"Bearer {service.actors['base']['session_token']}"


@pytest.fixture(scope="module")
def target(service: Service, session: str) -> ProbeTarget:
    """The service as a target of probes, from its document."""
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
    """The user's API keys before any probe is sent."""
    return _keys(service, session)


def _keys(service: Service, session: str) -> object:
    return service.ask(Request("GET", POST, (("Authorization", session),))).json()["data"]


@pytest.fixture(scope="module")
def logged_before(service: Service) -> int:
    """The length of the service's log before any probe is sent."""
    return len(service.log)


@pytest.fixture(scope="module")
def outcomes(
    target: ProbeTarget, keys_before: object, logged_before: int
) -> Mapping[str, ProbeOutcome]:
    """The outcomes of all probes, sent in parallel because many wait for a timeout."""
    assert keys_before
    assert logged_before
    return {outcome.probe.id: outcome for outcome in run_probes(load_probes(), target)}


@pytest.mark.parametrize("probe", load_probes(), ids=str)
def test_probe_is_rejected_or_disconnected(outcomes: Mapping[str, ProbeOutcome], probe: Probe):
    """HT-04, HT-05, HT-07, HT-08, HT-09, HT-10, HT-12, HT-13."""
    outcome = outcomes[probe.id]
    if probe.only == "https":
        assert outcome.skipped
        return
    assert outcome.skipped is None
    assert not outcome.broken, f"{probe.promise}: {outcome.broken}\n{outcome.exchange}"


def test_probes_create_nothing(
    service: Service, session: str, outcomes: Mapping[str, ProbeOutcome], keys_before: object
):
    """HT-04."""
    assert outcomes
    assert _keys(service, session) == keys_before


def test_probes_cause_no_server_error(
    service: Service, logged_before: int, outcomes: Mapping[str, ProbeOutcome]
):
    """HT-04: not even a 501 or 505, which some probes allow because a proxy may return it."""
    lines = [json.loads(line) for line in service.log[logged_before:].splitlines()]
    assert len(lines) > len(outcomes)
    assert [line for line in lines if line.get("status", 0) >= 500] == []
    assert [line for line in lines if line["level"] == "error"] == []
    received = "".join(each.exchange.received for each in outcomes.values() if each.exchange)
    assert "HTTP/1.1 5" not in received
