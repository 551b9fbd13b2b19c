"""Commits on a leader that was replaced and does not know it, since its Patroni hangs."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

from tests.failover.cluster import Cluster
from tests.failover.deployment import Deployment
from tests.failover.processes import wait_until
from tests.failover.sending import TIME_LIMIT
from tests.http.running import Account, Running, open_account
from tests.support.deadlines import patient

__all__ = ["find_false_acknowledgements"]

_USERS = 4
_SETTINGS = "/resources/me/settings"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
#: More transactions than the former leader begins meanwhile, so that its numbers are used again.
_TRANSACTIONS = 500


def find_false_acknowledgements(deployment: Deployment, seed: int) -> list[str]:
    """Return the writes that were acknowledged, and do not exist.

    The numbers of the lost transactions belong to others on the new leader, and clients of the same
    role have been connected to it since before they began.
    """
    cluster, replicas = deployment.cluster, deployment.replicas
    accounts = [
        open_account(replicas[at % len(replicas)], f"deposed{seed}x{at}@example.com")
        for at in range(_USERS)
    ]
    leader = cluster.leader()
    with _clients_of_standbys(cluster), ThreadPoolExecutor(_USERS) as threads:
        leader.stall_patroni()
        leader.link.stall()
        new_leader = cluster.leader(other_than=leader)
        with cluster.connect(node=new_leader) as connection:

            def is_promoted() -> bool:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)

            wait_until(is_promoted, TIME_LIMIT, cluster.describe)
            for _ in range(_TRANSACTIONS):
                connection.execute("SELECT pg_current_xact_id()")
        with cluster.connect("postgres", node=leader) as connection:

            def waiting() -> int:
                return int(connection.execute(_WAITING).fetchone()[0])  # type: ignore[index]

            before = waiting()
            answers = [
                threads.submit(_write, replicas[at % len(replicas)], account, seed)
                for at, account in enumerate(accounts)
            ]
            wait_until(lambda: waiting() > before, 5, lambda: "no commit waits for a standby")
        time.sleep(0.5)
        leader.kill()
        statuses = [answer.result() for answer in answers]
    cluster.heal()
    cluster.wait_until_healthy()
    return [
        f"{account.email}: acknowledged, and does not exist"
        for account, status in zip(accounts, statuses, strict=True)
        if status == HTTPStatus.OK and _read(replicas, account) != seed
    ]


@contextmanager
def _clients_of_standbys(cluster: Cluster) -> Iterator[None]:
    with ExitStack() as stack:
        for node in cluster.standbys():
            stack.enter_context(cluster.connect(user="oneself", node=node))
        yield


def _write(replica: Running, account: Account, number: int) -> int | None:
    try:
        answer = replica.ask(
            "PATCH",
            _SETTINGS,
            headers=account.bearer,
            body={"n": number},
            timeout=patient(3 * TIME_LIMIT),
        )
    except (OSError, AssertionError):
        return None
    return answer.status


def _read(replicas: Sequence[Running], account: Account) -> int | None:
    answer = replicas[0].ask("GET", _SETTINGS, headers=account.bearer)
    assert answer.status == HTTPStatus.OK, answer
    number: int | None = answer.json.get("n")
    return number
