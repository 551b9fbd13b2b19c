"""A round: load, faults, recovery, and a comparison of every account with what was acknowledged."""

import logging
import random
import time
from collections.abc import Sequence

from tests.failover.deployment import Deployment
from tests.failover.faults import Fault
from tests.failover.node import TTL
from tests.failover.oracle import open_oracles
from tests.failover.record import Round
from tests.failover.tally import Tally
from tests.support.deadlines import patient
from tests.support.journal import Load

__all__ = ["run_round"]

_log = logging.getLogger(__name__)

#: Until a new leader takes writes: its lease, and these seconds for the election and promotion.
_GRACE = 5
_SECONDS_BEFORE, _SECONDS_AFTER = 2, 3


def run_round(deployment: Deployment, faults: Sequence[Fault], seed: int) -> Round:
    """Inject faults one after the other under load, and return what became of it."""
    chance = random.Random(seed)  # noqa: S311 # chooses faults, no secret
    cluster = deployment.cluster
    cluster.wait_until_healthy()
    oracles = open_oracles(deployment.replicas, seed)
    load = Load(oracles)
    held = 0.0
    try:
        load.resume()
        time.sleep(_SECONDS_BEFORE + chance.random())
        began = time.monotonic()
        try:
            for fault in faults:
                held = max(held, fault.inject(cluster, chance))
        finally:
            cluster.heal()
        cluster.wait_until_healthy()
        time.sleep(_SECONDS_AFTER)
        ended = time.monotonic()
        load.pause()
    finally:
        load.close()
    tally = Tally()
    for oracle in oracles:
        oracle.check()
        tally.add(oracle.take_tally())
    unavailable = tally.unavailable(began, ended)
    problems = tally.problems + deployment.find_event_problems()
    if unavailable > held + patient(TTL + _GRACE):
        problems.append(f"unavailable for {unavailable:.1f} seconds")
    names = [fault.name for fault in faults]
    _log.info(
        "%s, seed %s: unavailable for %.1f s, statuses %s, problems: %s",
        names,
        seed,
        unavailable,
        dict(tally.statuses),
        problems,
    )
    return Round(
        version=deployment.version,
        front=deployment.front,
        fault=names[0] if len(names) == 1 else f"{len(names)} faults in a row",
        seed=seed,
        faults=names,
        unavailable=unavailable,
        acknowledged=tally.acknowledged,
        lost=tally.lost,
        doubled=tally.duplicated,
        resurrected=tally.resurrected,
        unanswered=tally.unanswered,
        failures=tally.failures,
        unknown=tally.unknown,
        problems=problems,
    )
