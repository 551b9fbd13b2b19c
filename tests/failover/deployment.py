"""Two replicas of the service on a cluster."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.failover.cluster import Cluster, run_cluster
from tests.failover.fronts import FRONTS, open_front
from tests.failover.installations import programs_of
from tests.failover.processes import wait_until
from tests.http.running import Running, running
from tests.support.deadlines import patient

__all__ = ["Deployment", "deploy"]

_ROOT = Path(__file__).parents[2]
_REPLICAS = 2
_KEY = "k" * 43
_UNCHAINED = (
    "SELECT count(*) FROM security_event e LEFT JOIN event_link l ON l.event_id = e.id"
    " WHERE l.event_id IS NULL"
)
#: API keys of the last round.
_WITHOUT_ONE_EVENT = """
    SELECT name FROM api_key LEFT JOIN security_event
        ON kind = 'authn_token_created' AND details ->> 'credential_id' = api_key.id
     WHERE created_at > now() - interval '10 minutes'
     GROUP BY api_key.id, name HAVING count(security_event.id) <> 1
"""


@dataclass
class Deployment:
    """A cluster, and the replicas that use it."""

    cluster: Cluster
    replicas: Sequence[Running]
    folder: Path
    database_url: str
    version: str
    front: str

    def find_event_problems(self) -> list[str]:
        """Return what is wrong with the events, once all of them are linked."""

        def are_linked() -> bool:
            with self.cluster.connect() as connection:
                return connection.execute(_UNCHAINED).fetchone() == (0,)

        wait_until(are_linked, 120, lambda: "events are not linked")
        with self.cluster.connect() as connection:
            names = connection.execute(_WITHOUT_ONE_EVENT).fetchall()
        problems = [f"no event, or two: {names}"] if names else []
        chain = self._doctor()["event_chain"]
        return problems if chain["ok"] else [*problems, f"event chain: {chain['found']}"]

    def _doctor(self) -> dict[str, dict[str, object]]:
        environment = {
            **{name: value for name, value in os.environ.items() if "ONESELF_" not in name},
            "ONESELF_DATA_DIR": str(self.folder / "doctor"),
            "ONESELF_DATABASE_URL": self.database_url,
            "ONESELF_SECRET_KEY": _KEY,
        }
        result = subprocess.run(
            [sys.executable, "-m", "oneself", "doctor", "--json"],
            cwd=_ROOT,
            env=environment,
            capture_output=True,
            check=False,
            timeout=patient(120),
        )
        checks: dict[str, dict[str, object]] = json.loads(result.stdout)["checks"]
        return checks


@contextmanager
def deploy(
    folder: Path,
    version: str,
    *,
    front: str = FRONTS[0],
    asynchronous: bool = False,
    module: tuple[str, ...] = ("oneself",),
) -> Iterator[Deployment]:
    """Start a cluster, what stands in front of it, and the replicas."""
    with ExitStack() as stack:
        cluster = stack.enter_context(
            run_cluster(folder, programs_of(version), asynchronous=asynchronous)
        )
        url = stack.enter_context(open_front(front, cluster, folder))
        threads = stack.enter_context(ThreadPoolExecutor(_REPLICAS))

        def start(number: int) -> Running:
            own = folder / f"replica{number}"
            own.mkdir()
            return stack.enter_context(
                running(
                    own,
                    module=module,
                    database_url=url,
                    secret_key=_KEY,
                    password_cost=10,
                    throttle_account="100000/1",
                    throttle_mail="100000/1",
                    drain_seconds="1",
                )
            )

        replicas = list(threads.map(start, range(_REPLICAS)))
        yield Deployment(cluster, replicas, folder, url, version, front)
        time.sleep(0.5)  # until no job is in the middle of a transaction
