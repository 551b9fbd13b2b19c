"""A node of a cluster: PostgreSQL under Patroni, with a network of its own to the other nodes."""

import json
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.failover.processes import Program, family, name_of, send
from tests.support.ports import free_port

__all__ = ["LOOP_WAIT", "RETRY_TIMEOUT", "TTL", "Node"]

#: Seconds: 20 is the shortest lease of a leader that Patroni takes (patroni/config.py), and
#: `loop_wait + 2 * retry_timeout` must not be longer.
TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 2, 4

_BOOTSTRAP = {
    "ttl": TTL,
    "loop_wait": LOOP_WAIT,
    "retry_timeout": RETRY_TIMEOUT,
    "maximum_lag_on_failover": 1_048_576,
    "primary_start_timeout": 5,
    "synchronous_mode": True,
    "synchronous_mode_strict": True,
    "postgresql": {
        "use_pg_rewind": True,
        "remove_data_directory_on_rewind_failure": True,
        "parameters": {
            "max_connections": 100,
            "shared_buffers": "32MB",
            "wal_log_hints": "on",
            "wal_keep_size": "64MB",
            "max_wal_size": "128MB",
            "checkpoint_timeout": "30s",
        },
    },
}

#: TCP relays between a node and the others. HAProxy stalled by SIGSTOP is a network that drops all
#: packets: connections stay open, and nothing arrives.
_LINK = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen etcd
    bind 127.0.0.1:{ports.etcd}
    server etcd 127.0.0.1:{etcd}
listen postgresql
    bind 127.0.0.1:{ports.replication}
    server postgresql 127.0.0.1:{ports.postgresql}
listen rest
    bind 127.0.0.1:{ports.peers}
    server rest 127.0.0.1:{ports.rest}
"""


@dataclass
class _Ports:
    """`replication`, `peers` and `etcd` are relays; the service and the tests use the others."""

    postgresql: int = field(default_factory=free_port)
    rest: int = field(default_factory=free_port)
    replication: int = field(default_factory=free_port)
    peers: int = field(default_factory=free_port)
    etcd: int = field(default_factory=free_port)


class Node:
    """One node; it is started, stalled, killed and cut off as a whole."""

    def __init__(self, name: str, folder: Path, *, programs: Path, etcd: int, asynchronous: bool):
        self.name = name
        self.ports = _Ports()
        self.folder = folder / name
        self.folder.mkdir()
        link = folder / f"{name}-link.cfg"
        link.write_text(_LINK.format(ports=self.ports, etcd=etcd))
        self.link = Program(["haproxy", "-db", "-q", "-f", link], folder / f"{name}-link.log")
        configuration = folder / f"{name}.yml"
        configuration.write_text(yaml.safe_dump(self._configuration(programs, asynchronous)))
        self._patroni = Program(
            [sys.executable, "-m", "patroni", configuration], folder / f"{name}-patroni.log"
        )

    def _configuration(self, programs: Path, asynchronous: bool) -> dict[str, Any]:  # noqa: FBT001
        ports = self.ports
        dynamic = dict(_BOOTSTRAP)
        if asynchronous:
            dynamic |= {"synchronous_mode": False, "synchronous_mode_strict": False}
        return {
            "scope": "oneself",
            "name": self.name,
            "restapi": {
                "listen": f"127.0.0.1:{ports.rest}",
                "connect_address": f"127.0.0.1:{ports.peers}",
            },
            # By default Patroni would ask etcd for its addresses, and pass the relay by.
            "etcd3": {"hosts": [f"127.0.0.1:{ports.etcd}"], "use_proxies": True},
            "bootstrap": {
                "dcs": dynamic,
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "no-sync"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{ports.postgresql}",
                "connect_address": f"127.0.0.1:{ports.replication}",
                "data_dir": str(self.data),
                "bin_dir": str(programs),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres"},
                    "replication": {"username": "replicator"},
                },
                "parameters": {"unix_socket_directories": str(self.folder)},
                "pg_hba": [
                    "local all all trust",
                    "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust",
                ],
            },
        }

    @property
    def data(self) -> Path:
        """The folder of the database."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """The output of Patroni and PostgreSQL so far."""
        return self._patroni.log

    @property
    def is_running(self) -> bool:
        """True if Patroni runs."""
        return self._patroni.is_running

    def start(self, **environment: str) -> None:
        """Start what does not run."""
        if not self.link.is_running:
            self.link.start()
        if not self._patroni.is_running:
            self._patroni.start(**environment)

    def kill(self) -> None:
        """End everything at once, as a power cut does, with all that is on the network."""
        postmaster = self._postmaster()  # no child of Patroni, once that was restarted
        self._patroni.kill()
        send(signal.SIGKILL, postmaster)
        self.link.kill()

    def stall(self) -> None:
        """Stop Patroni and PostgreSQL, as a suspended virtual machine."""
        self._patroni.stall()
        send(signal.SIGSTOP, self._postmaster())

    def resume(self) -> None:
        """Let them go on."""
        send(signal.SIGCONT, self._postmaster())
        self._patroni.resume()

    def stall_patroni(self) -> None:
        """Stop Patroni alone: PostgreSQL goes on as it is."""
        postmaster = {process.pid for process in self._postmaster()}
        others = [each for each in self._patroni.processes() if each.pid not in postmaster]
        send(signal.SIGSTOP, others)

    def ask(self, method: str, path: str, body: Any = None, *, timeout: float = 3) -> Any:
        """Ask Patroni; return None if it does not answer."""
        request = urllib.request.Request(  # loopback
            f"http://127.0.0.1:{self.ports.rest}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                content = answer.read()
        except (OSError, urllib.error.HTTPError):
            return None
        try:
            return json.loads(content)
        except ValueError:
            return content.decode()

    def _postmaster(self) -> list[Any]:
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return []
        found = family(pid)
        # The number of a postmaster that has ended can be that of another program.
        return found if found and "postgres" in name_of(found[0]) else []
