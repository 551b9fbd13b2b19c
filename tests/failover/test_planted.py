"""Each kind of planted defect is found by the tests of failovers."""

import pytest

from tests.failover.deployment import deploy
from tests.failover.faults import FAULTS
from tests.failover.installations import VERSIONS, temporary_folder
from tests.failover.promotions import write_on_a_deposed_leader, write_with_cancelled_waits
from tests.failover.rounds import run_round

pytestmark = pytest.mark.nightly
_BY_NAME = {fault.name: fault for fault in FAULTS}
_PLANTED = ("tests.failover.planted",)


def _run(fault, *, asynchronous=False, module=("oneself",)):
    with (
        temporary_folder() as folder,
        deploy(folder, VERSIONS[-1], asynchronous=asynchronous, module=module) as deployment,
    ):
        return run_round(deployment, [_BY_NAME[fault]], 1)


def test_asynchronous_standby_is_found():
    """Writes that only the killed leader had are lost."""
    assert _run("leader killed", asynchronous=True).lost != []


def test_cached_credential_is_found():
    """SE-03: a revoked credential is accepted by the replica that has seen it."""
    assert _run("switchover", module=(*_PLANTED, "cached-credential")).resurrected != []


@pytest.mark.parametrize(
    ("defect", "write"),
    [
        ("cancelled-wait-acknowledged", write_with_cancelled_waits),
        ("any-server-trusted", write_on_a_deposed_leader),
    ],
)
def test_false_acknowledgement_is_found(defect, write):
    """DB-12, scale-out P1b, reliability finding 1."""
    with (
        temporary_folder() as folder,
        deploy(folder, VERSIONS[-1], module=(*_PLANTED, defect)) as deployment,
    ):
        assert write(deployment, 1) != []
