"""A primary that was replaced, and still accepts reads, is not used any more (ADR 39)."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import URL
from sqlalchemy.exc import OperationalError

from oneself.database.postgresql import Postgresql
from tests.support.cutting_proxy import CuttingProxy
from tests.support.deadlines import patient
from tests.support.postgresql import databases, direct_connection, standby_of


@pytest.fixture
def servers() -> Iterator[tuple[URL, URL]]:
    """The URL of a database on a primary, and on its standby."""
    with databases(durable=True) as made:
        location = made.make()
        assert made.server is not None
        with standby_of(made.server) as standby:
            yield location, location.set(port=standby.port)


def _promote(standby: URL) -> None:
    deadline = time.monotonic() + patient(30)
    while True:
        try:
            with direct_connection(standby) as connection:
                connection.execute("SELECT pg_promote()")
        except psycopg.OperationalError:  # it has not copied the database yet
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def _use(connections: Postgresql, number: int) -> set[int]:
    """Use connections at the same time; return the ports of their servers."""
    taken = [connections.take(blocking=True) for _ in range(number)]
    ports = {each.exec_driver_sql("SELECT inet_server_port()").scalar_one() for each in taken}
    for each in taken:
        connections.give_back(each)
    return ports


@pytest.mark.nightly
def test_replaced_primary_is_not_used_once_its_successor_is_known(servers):
    """SE-03, DB-12: its rows are out of date, a revoked credential among them."""
    primary, standby = servers
    proxy = CuttingProxy(primary.port)
    connections = Postgresql(primary.set(port=proxy.port), timeout=2000, connections=4)
    assert _use(connections, 2) == {primary.port}
    _promote(standby)
    proxy.target = standby.port
    assert _use(connections, 3) == {primary.port, standby.port}  # the third one is new
    assert _use(connections, 3) == {standby.port}
    connections.close()
    proxy.target = primary.port
    with pytest.raises(OperationalError):
        connections.take(blocking=True)
    proxy.target = standby.port
    assert _use(connections, 3) == {standby.port}
    connections.close()
    proxy.close()
