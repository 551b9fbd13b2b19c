"""A disk that is full, a file that cannot be written, a database that is locked: and then no more.

Root writes to any file, so SQLite is told to refuse as it does for those: by `max_page_count` and
`query_only`.
"""

import json
import secrets
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, event

from oneself.conformance.http_client import json_request
from oneself.database import open_engine
from tests.support.databases import Files
from tests.support.in_process import InProcess
from tests.support.operator_acts import people_of

pytestmark = pytest.mark.only_on("sqlite")  # what a server's disk does, its own connection says


class _Connections:
    """The connections that are open, and what they are told."""

    def __init__(self):
        self._open = []
        self._told = None

    def note(self, driver, _record):
        self._open.append(driver)
        if self._told:
            driver.execute(self._told)

    def forget(self, driver, _record):
        self._open.remove(driver)

    def tell(self, pragma):
        self._told = f"PRAGMA {pragma}"
        for driver in self._open:
            driver.execute(self._told)

    def vacuum(self):
        """Leave no page free."""
        self._open[0].execute("VACUUM")

    def ask(self, pragma):
        return self._open[0].execute(f"PRAGMA {pragma}").fetchone()[0]


@pytest.fixture
def connections():
    found = _Connections()
    event.listen(Engine, "connect", found.note)
    event.listen(Engine, "close", found.forget)
    yield found
    event.remove(Engine, "connect", found.note)
    event.remove(Engine, "close", found.forget)


@pytest.fixture
def there(tmp_path, connections):  # noqa: ARG001 # so that it knows all of them
    """The application, with little patience."""
    place = tmp_path / "made"
    place.mkdir()
    made = InProcess(tmp_path, Files(tmp_path).make(place), timeout=300)
    yield made
    made.close()


@pytest.fixture
def person(there):
    with people_of(there) as people:
        yield people.sign_up()


@contextmanager
def _full(_there, connections):
    """No page more than there are."""
    connections.vacuum()
    connections.tell(f"max_page_count = {connections.ask('page_count')}")
    yield
    connections.tell(f"max_page_count = {2**30}")


@contextmanager
def _read_only(_there, connections):
    connections.tell("query_only = ON")
    yield
    connections.tell("query_only = OFF")


@contextmanager
def _locked(there, _connections):
    """Somebody else writes, for longer than anybody waits."""
    engine = open_engine(there.location)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


def _ask(there, person, method, path, body=None):
    bearer = ("Authorization", f"Bearer {person['session_token']}")
    return there.ask(json_request(method, path, body, (bearer,)))


_NAMES = {
    _full: "the disk is full",
    _read_only: "the file cannot be written",
    _locked: "somebody else has locked the database",
}


@pytest.mark.parametrize("trouble", _NAMES)
def test_storage_that_fails_is_a_503_until_it_does_not(
    there, connections, person, trouble, outcomes
):
    """DB-05, DB-06: reading goes on, nothing is half done, and nobody has to start anything."""
    # More than any page that is there has room for.
    large = {"text": secrets.token_hex(7000)}
    assert _ask(there, person, "PUT", "/resources/me/settings", {"a": 1}).status == 200
    before = there.stored()
    outcome = outcomes[_NAMES[trouble]]
    there.faults.armed = True  # nothing is to be done with mail meanwhile
    with trouble(there, connections):
        for _ in range(12):  # each thread, and more than once
            answer = _ask(there, person, "PUT", "/resources/me/settings", large)
            assert answer.status == 503, answer
            outcome.count_answer(answer.status, faulty=True)
            assert answer.values("retry-after") == ["1"]
            assert json.loads(answer.body)["code"] == "unavailable"
            assert _ask(there, person, "GET", "/resources/me/settings").json() == {"a": 1}
            assert _ask(there, person, "GET", "/v1/me").status == 200
    there.faults.armed = False
    assert there.stored() == before
    for _ in range(12):
        answer = _ask(there, person, "PUT", "/resources/me/settings", large)
        outcome.count_answer(answer.status, faulty=False)
        assert answer.status == 200
    assert _ask(there, person, "GET", "/resources/me/settings").json() == large
    assert connections.ask("integrity_check") == "ok"
