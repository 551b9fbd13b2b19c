"""A full disk, a read-only file, a locked database: and recovery afterwards.

The tests may run as root, which can write to any file, so SQLite is made to refuse in the same way:
by `max_page_count` and `query_only`.
"""

import json
import secrets
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from oneself.database import open_engine
from oneself_conformance.http_client import json_request
from tests.support.databases import SqliteStorage
from tests.support.in_process import InProcess
from tests.support.operator_acts import open_actors

pytestmark = pytest.mark.only_on("sqlite")  # a server reports its own disk


class _Connections:
    """The open connections, and the pragma that is set on each."""

    def __init__(self):
        self._open = []
        self._told = None

    def on_connect(self, driver, _record):
        self._open.append(driver)
        if self._told:
            driver.execute(self._told)

    def on_close(self, driver, _record):
        self._open.remove(driver)

    def set_pragma(self, pragma):
        self._told = f"PRAGMA {pragma}"
        for driver in self._open:
            driver.execute(self._told)

    def vacuum(self):
        """Leave no page free."""
        self._open[0].execute("VACUUM")

    def read_pragma(self, pragma):
        return self._open[0].execute(f"PRAGMA {pragma}").fetchone()[0]


@pytest.fixture
def connections():
    listener = _Connections()
    event.listen(Engine, "connect", listener.on_connect)
    event.listen(Engine, "close", listener.on_close)
    yield listener
    event.remove(Engine, "connect", listener.on_connect)
    event.remove(Engine, "close", listener.on_close)


@pytest.fixture
def app(tmp_path, connections):  # noqa: ARG001 # listens before the first connection
    """The application, with a short timeout."""
    folder = tmp_path / "made"
    folder.mkdir()
    in_process = InProcess(tmp_path, SqliteStorage(tmp_path).make(folder), timeout=300)
    yield in_process
    in_process.close()


@pytest.fixture
def user(app):
    with open_actors(app) as actors:
        yield actors.sign_up()


@contextmanager
def _full(_app, connections):
    """Allow no more pages than there are."""
    connections.vacuum()
    connections.set_pragma(f"max_page_count = {connections.read_pragma('page_count')}")
    yield
    connections.set_pragma(f"max_page_count = {2**30}")


@contextmanager
def _read_only(_app, connections):
    connections.set_pragma("query_only = ON")
    yield
    connections.set_pragma("query_only = OFF")


@contextmanager
def _locked(app, _connections):
    """Hold the write lock for longer than the timeout."""
    engine = open_engine(app.location)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


def _send(app, user, method, path, body=None):
    bearer = ("Authorization", f"Bearer {user['session_token']}")
    return app.ask(json_request(method, path, body, (bearer,)))


_FAULT_NAMES = {
    _full: "full disk",
    _read_only: "read-only file",
    _locked: "database locked by another process",
}


@pytest.mark.parametrize("fault", _FAULT_NAMES)
def test_failing_storage_returns_503_until_it_recovers(app, connections, user, fault, outcomes):
    """DB-05, DB-06: reads go on, nothing is half done, and no restart is needed."""
    # Larger than the free space of any page.
    large = {"text": secrets.token_hex(7000)}
    assert _send(app, user, "PUT", "/resources/me/settings", {"a": 1}).status == 200
    before = app.stored()
    outcome = outcomes[_FAULT_NAMES[fault]]
    app.faults.armed = True  # no mail is delivered meanwhile
    with fault(app, connections):
        for _ in range(12):  # each thread, more than once
            response = _send(app, user, "PUT", "/resources/me/settings", large)
            assert response.status == 503, response
            outcome.count_answer(response.status, faulty=True)
            assert response.values("retry-after") == ["1"]
            assert json.loads(response.body)["code"] == "unavailable"
            assert b"busy" not in response.body  # reliability finding 16
            assert _send(app, user, "GET", "/resources/me/settings").json() == {"a": 1}
            assert _send(app, user, "GET", "/v1/me").status == 200
        readiness = _send(app, user, "GET", "/readyz").status
    app.faults.armed = False
    # Only a full disk is not ready: another writer is soon done, and an operator's choice remains.
    assert readiness == (503 if fault is _full else 200)
    assert app.stored() == before
    for _ in range(12):
        response = _send(app, user, "PUT", "/resources/me/settings", large)
        outcome.count_answer(response.status, faulty=False)
        assert response.status == 200
    assert _send(app, user, "GET", "/resources/me/settings").json() == large
    assert connections.read_pragma("integrity_check") == "ok"


def test_lost_folder_returns_503_until_it_is_back(app, user):
    """DB-06, reliability finding 5: nothing is acknowledged that the next start would not find."""
    assert _send(app, user, "PUT", "/resources/me/settings", {"a": 1}).status == 200
    folder = app.location.parent
    away = folder.with_name("away")
    app.faults.armed = True  # no mail is delivered meanwhile
    folder.rename(away)
    for method, path, body in (
        ("PUT", "/resources/me/settings", {"a": 2}),
        ("PATCH", "/api/v1/me", {"display_name": "Alice"}),
        ("POST", "/v1/api-keys", {"name": "a", "scopes": ["me/profile:read"]}),
        ("GET", "/readyz", None),
    ):
        response = _send(app, user, method, path, body)
        assert response.status == 503, (path, response)
        assert response.values("retry-after") == ["5"]
    assert _send(app, user, "GET", "/resources/me/settings").json() == {"a": 1}
    away.rename(folder)
    app.faults.armed = False
    assert _send(app, user, "GET", "/readyz").status == 200
    assert _send(app, user, "PUT", "/resources/me/settings", {"a": 2}).status == 200
