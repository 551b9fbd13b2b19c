"""Each kind of planted defect is found by the tests of failovers."""

import pytest

from tests.failover.deployment import deploy
from tests.failover.deposed import find_false_acknowledgements
from tests.failover.faults import FAULTS
from tests.failover.installations import VERSIONS, programs_of, temporary_folder
from tests.failover.rounds import Outcome, run_round

pytestmark = pytest.mark.nightly
_BY_NAME = {fault.name: fault for fault in FAULTS}
_PLANTED = ("tests.failover.planted",)


def _run(fault, *, asynchronous=False, module=("oneself",)):
    outcome = Outcome()
    with (
        temporary_folder() as folder,
        deploy(
            folder, programs_of(VERSIONS[-1]), asynchronous=asynchronous, module=module
        ) as deployment,
    ):
        run_round(deployment, [_BY_NAME[fault]], 1, outcome)
    return outcome.tally


def test_asynchronous_standby_is_found():
    """Writes that only the killed leader had are lost."""
    assert _run("leader killed", asynchronous=True).lost != []


def test_cached_credential_is_found():
    """SE-03: a revoked credential is accepted by the replica that has seen it."""
    assert _run("switchover", module=(*_PLANTED, "cached-credential")).resurrected != []


def test_acknowledged_cancelled_wait_is_found():
    """scale-out P1b."""
    planted = (*_PLANTED, "cancelled-wait-acknowledged")
    assert _run("waits of commits cancelled", module=planted).lost != []


def test_outcome_from_another_server_is_found():
    """DB-12, reliability finding 1."""
    planted = (*_PLANTED, "any-server-trusted")
    with (
        temporary_folder() as folder,
        deploy(folder, programs_of(VERSIONS[-1]), module=planted) as deployment,
    ):
        assert find_false_acknowledgements(deployment, 1) != []
