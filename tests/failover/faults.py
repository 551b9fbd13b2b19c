"""The faults of a cluster. Each is injected and undone by one function."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.failover.cluster import Cluster
from tests.failover.node import TTL, Node
from tests.failover.processes import wait_until

__all__ = ["FAULTS", "Fault"]

#: Longer than the lease of a leader.
_LONG = TTL + 8
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@dataclass(frozen=True)
class Fault:
    """A fault; `inject` returns the seconds in which it makes every write impossible."""

    name: str
    inject: Callable[[Cluster, random.Random], float]


def _kill_leader(cluster: Cluster, _random: random.Random) -> float:
    """Kill the leader while commits wait for its standbys, and so are in doubt."""
    leader = cluster.leader()
    leader.link.stall()
    time.sleep(1.5)
    leader.kill()
    _wait_for_another_leader(cluster, leader)
    leader.start()
    return 0


def _stall_leader(cluster: Cluster, chance: random.Random) -> float:
    """Suspend the leader for less, or for more, than its lease."""
    leader = cluster.leader()
    seconds = chance.choice([15, _LONG])
    leader.stall()
    time.sleep(seconds)
    leader.resume()
    return 0


def _switch_over(cluster: Cluster, _random: random.Random) -> float:
    """Hand over to the synchronous standby, as an operator does."""
    _hand_over(cluster, cluster.synchronous_standby())
    return 0


def _kill_standby(cluster: Cluster, _random: random.Random) -> float:
    """Kill the standby that commits wait for."""
    standby = cluster.synchronous_standby()
    standby.kill()
    time.sleep(10)
    standby.start()
    return 0


def _stall_standbys(cluster: Cluster, _random: random.Random) -> float:
    """Stop both standbys: every commit waits."""
    standbys, seconds = cluster.standbys(), 12
    for node in standbys:
        node.stall()
    time.sleep(seconds)
    for node in standbys:
        node.resume()
    return seconds


def _stop_etcd(cluster: Cluster, chance: random.Random) -> float:
    """Stop etcd: the leader goes on in failsafe mode, and becomes read-only without it."""
    failsafe = chance.random() < 0.5
    cluster.configure(failsafe_mode=failsafe)
    time.sleep(5)  # until every node knows
    cluster.etcd.kill()
    time.sleep(_LONG)
    cluster.etcd.start()
    return 0 if failsafe else _LONG


def _partition_leader(cluster: Cluster, _random: random.Random) -> float:
    """Cut the leader off from etcd and its standbys; the service still reaches it."""
    leader = cluster.leader()
    leader.link.stall()
    time.sleep(_LONG)
    leader.link.resume()
    return 0


def _fill_disk(cluster: Cluster, _random: random.Random) -> float:
    """Fill the disk of the leader for some time."""
    if not cluster.has_small_disks:
        pytest.skip("the disk of a node is a tmpfs, which only root can mount")
    leader, seconds = cluster.leader(), 20
    cluster.fill_disk(leader)
    time.sleep(seconds)
    cluster.free_disk(leader)
    return seconds


def _put_clock_ahead(cluster: Cluster, _random: random.Random) -> float:
    """Fail over to a node whose clock is a minute ahead."""
    if not Path(_FAKETIME).exists():
        pytest.skip("not installed: libfaketime")
    leader, former = cluster.leader(), cluster.synchronous_standby()
    [ahead] = [node for node in cluster.nodes if node not in {leader, former}]
    _restart(cluster, ahead, LD_PRELOAD=_FAKETIME, FAKETIME="+60s", DONT_FAKE_MONOTONIC="1")
    former.kill()  # so that commits wait for the one that is ahead, and it can be promoted
    wait_until(lambda: cluster.synchronous_standby() is ahead, TTL, cluster.describe)
    former.start()
    leader.kill()
    _wait_for_another_leader(cluster, leader)
    leader.start()
    cluster.wait_until_healthy()
    _hand_over(cluster, cluster.synchronous_standby())
    _restart(cluster, ahead)
    return 0


def _restart(cluster: Cluster, standby: Node, **environment: str) -> None:
    standby.kill()
    time.sleep(1)
    standby.start(**environment)
    time.sleep(2)
    cluster.wait_until_healthy()


def _hand_over(cluster: Cluster, candidate: Node) -> None:
    leader = cluster.leader()
    if leader is candidate:
        return
    names = {"leader": leader.name, "candidate": candidate.name}
    # Refused while Patroni does not know yet that the candidate is up to date.
    wait_until(
        lambda: (
            cluster.leader() is candidate
            or leader.ask("POST", "/switchover", names, timeout=60) is not None
        ),
        60,
        cluster.describe,
    )
    _wait_for_another_leader(cluster, leader)


def _wait_for_another_leader(cluster: Cluster, former: Node) -> None:
    cluster.leader(other_than=former)


FAULTS = (
    Fault("leader killed", _kill_leader),
    Fault("leader suspended", _stall_leader),
    Fault("switchover", _switch_over),
    Fault("synchronous standby killed", _kill_standby),
    Fault("both standbys suspended", _stall_standbys),
    Fault("etcd stopped", _stop_etcd),
    Fault("leader partitioned", _partition_leader),
    Fault("disk of the leader full", _fill_disk),
    Fault("clock of the new leader ahead", _put_clock_ahead),
)
