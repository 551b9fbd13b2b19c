"""Single writes whose commit waits for a standby while the leader is replaced."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from itertools import count
from typing import Any, Self

import psycopg

from tests.failover.cluster import Cluster
from tests.failover.deployment import Deployment
from tests.failover.processes import wait_until
from tests.failover.sending import TIME_LIMIT
from tests.http.running import Account, Running, open_account
from tests.support.deadlines import patient

__all__ = ["write_on_a_deposed_leader", "write_with_cancelled_waits"]

_USERS = 4
_SETTINGS = "/resources/me/settings"
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
#: More transactions than the former leader begins meanwhile, so that its numbers are used again.
_TRANSACTIONS = 500
_numbers = count()


def write_on_a_deposed_leader(deployment: Deployment, seed: int) -> list[str]:
    """Write on a leader whose Patroni hangs, after another took over; return what was lost.

    The numbers of the lost transactions belong to others on the new leader, and clients of the same
    role have been connected to it since before they began.
    """
    cluster, accounts = deployment.cluster, _open_accounts(deployment)
    leader = cluster.leader()
    with _clients_of_standbys(cluster), _Writes(deployment, accounts, seed) as writes:
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
            writes.begin(connection)
        time.sleep(0.5)
        leader.kill()
    return writes.find_lost()


def write_with_cancelled_waits(deployment: Deployment, seed: int) -> list[str]:
    """Cancel commits that wait for a standby, and lose the leader; return what was lost.

    PostgreSQL shows such changes to every reader of the leader, so that nothing but the response to
    the write itself is judged.
    """
    cluster, accounts = deployment.cluster, _open_accounts(deployment)
    leader = cluster.leader()
    with _Writes(deployment, accounts, seed) as writes:
        leader.link.stall()
        with (
            suppress(psycopg.OperationalError),  # it is demoted soon
            cluster.connect("postgres", node=leader) as connection,
        ):
            writes.begin(connection)
            for _ in range(5):
                connection.execute(_CANCEL)
                time.sleep(0.2)
        leader.kill()
        cluster.leader(other_than=leader)
    return writes.find_lost()


def _open_accounts(deployment: Deployment) -> list[Account]:
    replicas = deployment.replicas
    return [
        open_account(replicas[at % len(replicas)], f"promotion{next(_numbers)}@example.com")
        for at in range(_USERS)
    ]


class _Writes:
    """A write of each account, at the same time."""

    def __init__(self, deployment: Deployment, accounts: Sequence[Account], number: int) -> None:
        self._deployment, self._accounts, self._number = deployment, accounts, number
        self._threads = ThreadPoolExecutor(len(accounts))
        self._statuses: list[Future[int | None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
        self._deployment.cluster.heal()
        self._deployment.cluster.wait_until_healthy()

    def begin(self, connection: "psycopg.Connection[Any]") -> None:
        """Begin them, and wait until a commit waits for a standby of this server."""

        def waiting() -> int:
            row = connection.execute(_WAITING).fetchone()
            assert row is not None
            return int(row[0])

        before, replicas = waiting(), self._deployment.replicas
        self._statuses = [
            self._threads.submit(_write, replicas[at % len(replicas)], account, self._number)
            for at, account in enumerate(self._accounts)
        ]
        wait_until(lambda: waiting() > before, 5, lambda: "no commit waits for a standby")

    def find_lost(self) -> list[str]:
        """Return the writes that were acknowledged, and do not exist."""
        return [
            f"{account.email}: acknowledged, and does not exist"
            for account, status in zip(self._accounts, self._statuses, strict=True)
            if status.result() == HTTPStatus.OK
            and _read(self._deployment.replicas, account) != self._number
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
