"""Three nodes of PostgreSQL under Patroni, with etcd, on loopback."""

import importlib.util
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.failover.node import TTL, Node
from tests.failover.processes import Program, give_away, temporary_file_system, wait_until
from tests.support.deadlines import patient
from tests.support.ports import free_port

__all__ = ["Cluster", "missing_tools", "run_cluster"]

_NODES = 3
_MEGABYTES = 400
#: A node that was down copies the leader's database first.
_SECONDS_TO_HEAL = 120
_DATABASE = "oneself"


def missing_tools() -> str:
    """Name what is not installed and needed; empty if nothing is."""
    tools = {"etcd": "etcd-server", "haproxy": "haproxy", "setpriv": "util-linux"}
    missing = [package for tool, package in tools.items() if not shutil.which(tool)]
    if importlib.util.find_spec("patroni") is None:
        missing.append("patroni (requirements/failover.txt)")
    return ", ".join(missing)


class Cluster:
    """A cluster: its nodes, their roles, and its faults."""

    def __init__(self, folder: Path, programs: Path, *, asynchronous: bool):
        data = folder / "etcd"
        data.mkdir()
        give_away(data)
        port, peer = free_port(), free_port()
        self.etcd = Program(
            [
                *("etcd", "--data-dir", data, "--unsafe-no-fsync"),
                *("--listen-client-urls", f"http://127.0.0.1:{port}"),
                *("--advertise-client-urls", f"http://127.0.0.1:{port}"),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
            ],
            folder / "etcd.log",
        )
        self.nodes = [
            Node(f"n{number}", folder, programs=programs, etcd=port, asynchronous=asynchronous)
            for number in range(1, _NODES + 1)
        ]
        #: Whether the disks of the nodes can be filled.
        self.has_small_disks = False

    def start(self) -> None:
        """Start everything, and create an empty database."""
        self.etcd.start()
        for node in self.nodes:
            node.start()
        self.wait_until_healthy()
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE ROLE {_DATABASE} LOGIN")
            connection.execute(f"CREATE DATABASE {_DATABASE} OWNER {_DATABASE}")

    def stop(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.kill()
        self.etcd.kill()

    def url(self) -> str:
        """Return the URL of the database with all nodes."""
        hosts = "&".join(f"host=127.0.0.1:{node.ports.postgresql}" for node in self.nodes)
        options = "target_session_attrs=read-write&connect_timeout=3"
        return f"postgresql+psycopg://{_DATABASE}@/{_DATABASE}?{hosts}&{options}"

    def connect(
        self, database: str = _DATABASE, *, user: str = "postgres", node: Node | None = None
    ) -> "psycopg.Connection[Any]":
        """Connect to a database of a node; of the leader, by default."""
        port = (node or self.leader()).ports.postgresql
        return psycopg.connect(
            host="127.0.0.1",
            port=port,
            user=user,
            dbname=database,
            autocommit=True,
            connect_timeout=int(patient(5)),
        )

    def members(self) -> dict[str, dict[str, Any]]:
        """Return what Patroni knows of each node, by its name."""
        for node in self.nodes:
            answer = node.ask("GET", "/cluster") if node.is_running else None
            if answer:
                return {member["name"]: member for member in answer["members"]}
        return {}

    def leader(self, *, other_than: Node | None = None) -> Node:
        """Return the node that takes writes; wait for one."""
        deadline = time.monotonic() + patient(2 * TTL)
        while True:
            for node in self.nodes:
                if node is not other_than and node.ask("GET", "/primary") is not None:
                    return node
            assert time.monotonic() < deadline, self.describe()
            time.sleep(0.1)

    def synchronous_standby(self) -> Node:
        """Return the standby that commits wait for."""
        found: list[Node] = []

        def is_found() -> bool:
            roles = {name: member["role"] for name, member in self.members().items()}
            found[:] = [each for each in self.nodes if roles.get(each.name) == "sync_standby"]
            return bool(found)

        wait_until(is_found, _SECONDS_TO_HEAL, self.describe)
        return found[0]

    def standbys(self) -> list[Node]:
        """Return the nodes that do not lead."""
        leader = self.leader()
        return [node for node in self.nodes if node is not leader]

    def heal(self) -> None:
        """Undo every fault that may have been left."""
        if not self.etcd.is_running:
            self.etcd.start()
        for node in self.nodes:
            node.link.resume()
            node.resume()
            self.free_disk(node)
            node.start()

    def wait_until_healthy(self) -> None:
        """Wait until there are a leader, a synchronous standby and another one, all up to date."""
        wait_until(self._is_healthy, _SECONDS_TO_HEAL, self.describe)

    def _is_healthy(self) -> bool:
        members = self.members().values()
        roles = sorted(member["role"] for member in members)
        states = {member["state"] for member in members}
        return (
            roles in (["leader", "replica", "sync_standby"], ["leader", "replica", "replica"])
            and (roles[2] == "sync_standby" or self.is_asynchronous)
            and states <= {"running", "streaming"}
            and len({member.get("timeline") for member in members}) == 1
        )

    @property
    def is_asynchronous(self) -> bool:
        """True if commits wait for no standby, a planted defect."""
        answer = next((node.ask("GET", "/config") for node in self.nodes if node.is_running), None)
        return bool(answer) and not answer["synchronous_mode"]

    def configure(self, **changes: object) -> None:
        """Change the dynamic configuration."""
        assert self.leader().ask("PATCH", "/config", changes) is not None

    def fill_disk(self, node: Node) -> None:
        """Leave no space on the disk of a node."""
        with suppress(OSError), (node.folder / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(65_536))
                ballast.flush()

    def free_disk(self, node: Node) -> None:
        """Undo `fill_disk`."""
        (node.folder / "ballast").unlink(missing_ok=True)

    def describe(self) -> str:
        """Return the state of the nodes and the ends of their logs, for a failed assertion."""
        logs = [f"{node.name}:\n" + "\n".join(node.log.splitlines()[-12:]) for node in self.nodes]
        return "\n".join([str(self.members()), *logs])


@contextmanager
def run_cluster(folder: Path, programs: Path, *, asynchronous: bool = False) -> Iterator[Cluster]:
    """Run a cluster in a folder."""
    if missing := missing_tools():
        pytest.skip(f"not installed: {missing}")
    folder.chmod(0o755)
    with ExitStack() as stack:
        cluster = Cluster(folder, programs, asynchronous=asynchronous)
        mounts = [temporary_file_system(node.folder, _MEGABYTES) for node in cluster.nodes]
        cluster.has_small_disks = False not in [stack.enter_context(each) for each in mounts]
        for node in cluster.nodes:
            give_away(node.folder)
        stack.callback(cluster.stop)
        cluster.start()
        yield cluster
