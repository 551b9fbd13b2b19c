"""Ways to the leader: the URL of all nodes, HAProxy, and PgBouncer in front of HAProxy."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.failover.cluster import Cluster
from tests.failover.processes import Program, wait_until
from tests.support.ports import free_port

__all__ = ["FRONTS", "open_front"]

FRONTS = ("all hosts in the URL", "HAProxy", "PgBouncer, HAProxy")
_DATABASE = "oneself"

# Patroni answers GET /primary with 200 on the leader only.
_HAPROXY = """
defaults
    mode tcp
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    timeout check 2s
listen leader
    bind 127.0.0.1:{port}
    option httpchk GET /primary
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""
_PGBOUNCER = """
[databases]
{database} = host=127.0.0.1 port={server} user={database}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 30
max_client_conn = 200
server_login_retry = 1
server_connect_timeout = 3
query_wait_timeout = 5
ignore_startup_parameters = options
"""


@contextmanager
def open_front(name: str, cluster: Cluster, folder: Path) -> Iterator[str]:
    """Start what stands between the service and the nodes; yield the URL of the database."""
    if name == FRONTS[0]:
        yield cluster.url()
        return
    with _haproxy(cluster, folder) as haproxy:
        if name == "HAProxy":
            yield _url(haproxy)
            return
        with _pgbouncer(haproxy, cluster, folder) as pgbouncer:
            yield f"{_url(pgbouncer)}&prepare_threshold=none"


def _url(port: int) -> str:
    return f"postgresql+psycopg://{_DATABASE}@127.0.0.1:{port}/{_DATABASE}?connect_timeout=3"


@contextmanager
def _haproxy(cluster: Cluster, folder: Path) -> Iterator[int]:
    port = free_port()
    servers = "\n".join(
        f"    server {node.name} 127.0.0.1:{node.ports.postgresql} check port {node.ports.rest}"
        for node in cluster.nodes
    )
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_HAPROXY.format(port=port, servers=servers))
    program = Program(["haproxy", "-db", "-q", "-f", configuration], folder / "haproxy.log")
    with _running(program, port):
        yield port


@contextmanager
def _pgbouncer(server: int, cluster: Cluster, folder: Path) -> Iterator[int]:
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("not installed: pgbouncer")
    # It drops the time limits that the service asks for at connection.
    with cluster.connect() as connection:
        connection.execute(
            f"ALTER ROLE {_DATABASE} SET lock_timeout = '5s';"
            f"ALTER ROLE {_DATABASE} SET statement_timeout = '10s';"
            f"ALTER ROLE {_DATABASE} SET idle_in_transaction_session_timeout = '10s'"
        )
    port = free_port()
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(_PGBOUNCER.format(port=port, server=server, database=_DATABASE))
    program = Program([found, configuration], folder / "pgbouncer.log")
    with _running(program, port):
        yield port


@contextmanager
def _running(program: Program, port: int) -> Iterator[None]:
    program.start()
    try:
        wait_until(lambda: _answers(port), 30, lambda: program.log)
        yield
    finally:
        program.kill()


def _answers(port: int) -> bool:
    try:
        psycopg.connect(
            host="127.0.0.1", port=port, user=_DATABASE, dbname=_DATABASE, connect_timeout=3
        ).close()
    except psycopg.OperationalError:
        return False
    return True
