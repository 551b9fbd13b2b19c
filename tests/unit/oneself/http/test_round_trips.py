"""Round trips of requests to PostgreSQL: each costs a wait, and a switch between threads.

Calls and statements are counted on SQLite: test_call_counts.py.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from oneself.database import open_engine
from oneself.database.prepared import driver_of
from oneself.database.sessions import _lock_id
from oneself_conformance.http_client import Request
from tests.support.deadlines import patient
from tests.support.in_process import InProcess
from tests.support.round_trips import record_round_trips

PROFILE, SETTINGS = "/api/v1/me", "/resources/me/settings"

#: By request: the kind of credential, method, path and body; and the statements of each trip.
TRIPS = {
    # The session with its user.
    ("session_token", "GET", "/v1/me", ""): [1],
    ("api_key", "GET", "/v1/me", ""): [1],
    ("jwt", "GET", "/v1/me", ""): [1],
    # The session. BEGIN, its identity, the lock, and the session again. The rate limit. The
    # change, its event, and COMMIT.
    ("session_token", "PATCH", PROFILE, '{"locale": "%s"}'): [1, 4, 1, 3],
    # The merged settings are read in a trip of their own, and have no event.
    ("session_token", "PATCH", SETTINGS, '{"theme": "%s"}'): [1, 4, 1, 1, 2],
    # The session: a malformed body is refused before its transaction begins.
    ("session_token", "PATCH", "/resources/me/profile", '{"locale": 5}'): [1],
}


@pytest.fixture(scope="module")
def service(servers, tmp_path_factory):
    """The service on PostgreSQL, regardless of the database chosen for the other tests."""
    folder = tmp_path_factory.mktemp("trips")
    location = servers.make(folder)
    in_process = InProcess(folder, location, threads=1)  # and so with one connection
    in_process.faults.armed = True  # mail is not part of a request
    yield in_process
    in_process.close()
    servers.drop(location)


def _request(service, kind, method, path, body):
    headers = [("Content-Type", "application/json")] if body else []
    credential = service.actors["base"][kind]
    headers.append(
        ("X-API-Key", credential)
        if kind == "api_key"
        else ("Authorization", f"Bearer {credential}")
    )
    return Request(method, path, tuple(headers), body.encode())


def _driver(service):
    with service._database.transaction(writing=False) as session:  # noqa: SLF001 # its only one
        return driver_of(session.core)


@pytest.mark.parametrize("case", TRIPS, ids=["-".join(filter(None, case[:3])) for case in TRIPS])
def test_round_trips_of_a_request(case, service):
    """Scale-out P6: a write took eight, one for each of its statements."""
    *head, body = case
    values = ("de-DE", "fr-FR", "en-GB")
    requests = [_request(service, *head, body % value if "%" in body else body) for value in values]
    for request in requests[:2]:
        service.ask(request)
    with record_round_trips(_driver(service)) as trips:
        service.ask(requests[2])
    assert [len(trip) for trip in trips] == TRIPS[case]


def test_write_that_waits_for_a_lock_sees_that_its_session_was_revoked(service):
    """SE-03, DB-02: it is authenticated again with the lock, in the same round trip."""
    user = service.create_demo_user()
    request = Request(
        "PATCH",
        PROFILE,
        (
            ("Content-Type", "application/json"),
            ("Authorization", f"Bearer {user['session_token']}"),
        ),
        b'{"locale": "pt-PT"}',
    )
    engine = open_engine(service.location)
    with ThreadPoolExecutor(1) as thread, engine.connect() as revoking:
        revoking.exec_driver_sql("BEGIN")
        lock = _lock_id(f"account {user['user_id']}")
        revoking.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")
        answer = thread.submit(service.ask, request)
        _wait_for_a_waiting_lock(revoking)
        revoking.exec_driver_sql("UPDATE login_session SET revoked_at = now()")
        revoking.exec_driver_sql("COMMIT")
        assert answer.result(patient(30)).status == 401
    engine.dispose()
    assert "pt-PT" not in str(service.stored()["user"])


def _wait_for_a_waiting_lock(connection):
    deadline = time.monotonic() + patient(30)
    while not connection.exec_driver_sql(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    ).scalar():
        assert time.monotonic() < deadline
        time.sleep(0.01)
