"""Faults of a cluster under load: nothing acknowledged is lost, doubled or undone (DB-04, DB-12).

`--rounds N` runs each case with N seeds, from `--first-seed` on.
"""

import random

import pytest

from tests.failover.deployment import deploy
from tests.failover.faults import FAULTS
from tests.failover.fronts import FRONTS
from tests.failover.installations import VERSIONS, programs_of, temporary_folder
from tests.failover.promotions import write_on_a_deposed_leader, write_with_cancelled_waits
from tests.failover.rounds import run_round

pytestmark = pytest.mark.nightly
_BY_NAME = {fault.name: fault for fault in FAULTS}
_FAULTS_IN_A_ROW = 3
#: What a proxy in front of the nodes has to notice.
_NOTICED_BY_FRONTS = ("leader killed", "switchover", "leader partitioned")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_acknowledged_act_is_lost_in_a_fault(fault, deployment, version, seeds, outcomes):
    """DB-04, DB-12, SE-03, scale-out P2."""
    outcome = outcomes[version, FRONTS[0], fault.name]
    for seed in seeds:
        run_round(deployment, [fault], seed, outcome)
    assert outcome.problems == []


def test_no_acknowledged_act_is_lost_in_a_sequence_of_faults(deployment, version, seeds, outcomes):
    """DB-04, DB-12: three faults from a seed, each before the cluster has healed."""
    outcome = outcomes[version, FRONTS[0], "three faults in a row"]
    for seed in seeds:
        faults = random.Random(seed).sample(FAULTS, _FAULTS_IN_A_ROW)  # noqa: S311 # no secret
        if run_round(deployment, faults, seed, outcome):
            outcome.problems.append(f"seed {seed}: {[fault.name for fault in faults]}")
    assert outcome.problems == []


def test_commit_lost_with_a_deposed_leader_is_not_acknowledged(deployment, seeds):
    """DB-12, reliability finding 1: its number belongs to another transaction by then."""
    for seed in seeds:
        assert write_on_a_deposed_leader(deployment, seed) == []


def test_commit_whose_wait_is_cancelled_is_not_acknowledged(deployment, seeds):
    """DB-12, scale-out P1b."""
    for seed in seeds:
        assert write_with_cancelled_waits(deployment, seed) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("front", FRONTS[1:])
def test_no_acknowledged_act_is_lost_behind_a_proxy(front, version, seeds, outcomes):
    """DB-04, DB-12, reliability finding 3."""
    with (
        temporary_folder() as folder,
        deploy(folder, programs_of(version), front=front) as deployment,
    ):
        for name in _NOTICED_BY_FRONTS:
            outcome = outcomes[version, front, name]
            for seed in seeds:
                run_round(deployment, [_BY_NAME[name]], seed, outcome)
    problems = [
        problem
        for name in _NOTICED_BY_FRONTS
        for problem in outcomes[version, front, name].problems
    ]
    assert problems == []
