"""Faults of a cluster under load: nothing acknowledged is lost, doubled or undone (DB-04, DB-12).

`--rounds N` runs each test with N seeds, from `--first-seed` on.
"""

import random

import pytest

from tests.failover.faults import FAULTS
from tests.failover.fronts import FRONTS
from tests.failover.installations import VERSIONS
from tests.failover.promotions import write_on_a_deposed_leader, write_with_cancelled_waits
from tests.failover.rounds import run_round

pytestmark = pytest.mark.nightly
_FAULTS_IN_A_ROW = 3
#: Those that a proxy in front of the nodes has to notice.
_NOTICED_BY_FRONTS = ("leader killed", "switchover", "leader partitioned")


def _deployments(*fronts):
    cases = [(version, front) for version in VERSIONS for front in fronts]
    names = [f"PostgreSQL {version}, {front}" for version, front in cases]
    return pytest.mark.parametrize("deployment", cases, indirect=True, scope="module", ids=names)


def _faults(faults):
    return pytest.mark.parametrize("fault", faults, ids=[fault.name for fault in faults])


@_faults(FAULTS)
@_deployments(FRONTS[0])
def test_no_acknowledged_act_is_lost_in_a_fault(fault, deployment, seed, record):
    """DB-04, DB-12, SE-03, scale-out P2."""
    done = run_round(deployment, [fault], seed)
    record(done)
    assert done.problems == []


@_deployments(FRONTS[0])
def test_no_acknowledged_act_is_lost_in_a_sequence_of_faults(deployment, seed, record):
    """DB-04, DB-12: three faults from a seed, each before the cluster has healed."""
    faults = random.Random(seed).sample(FAULTS, _FAULTS_IN_A_ROW)  # noqa: S311 # no secret
    done = run_round(deployment, faults, seed)
    record(done)
    assert done.problems == [], done.faults


@_deployments(FRONTS[0])
def test_commit_lost_with_a_deposed_leader_is_not_acknowledged(deployment, seed):
    """DB-12, reliability finding 1: its number belongs to another transaction by then."""
    assert write_on_a_deposed_leader(deployment, seed) == []


@_deployments(FRONTS[0])
def test_commit_whose_wait_is_cancelled_is_not_acknowledged(deployment, seed):
    """DB-12, scale-out P1b."""
    assert write_with_cancelled_waits(deployment, seed) == []


@_faults([fault for fault in FAULTS if fault.name in _NOTICED_BY_FRONTS])
@_deployments(*FRONTS[1:])
def test_no_acknowledged_act_is_lost_behind_a_proxy(fault, deployment, seed, record):
    """DB-04, DB-12, reliability finding 3."""
    done = run_round(deployment, [fault], seed)
    record(done)
    assert done.problems == []
