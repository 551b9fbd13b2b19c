"""How many events one credential can make."""

from http import HTTPStatus

import pytest

from oneself.database import sqlite_driver
from tests.http.running import open_account, running

BURST = 20


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with a small limit of writes, behind a proxy."""
    folder = tmp_path_factory.mktemp("service")
    with running(folder, throttle_write=f"{BURST}/36000", trusted_proxies="127.0.0.1") as service:
        yield service


def _updates(service, user):
    connection = sqlite_driver().connect(service.folder / "data" / "oneself.sqlite3")
    query = (
        "SELECT count(*) FROM security_event WHERE kind = 'user_updated'"
        """ AND user_id = (SELECT id FROM "user" WHERE email = ?)"""
    )
    ((count,),) = connection.execute(query, [user.email]).fetchall()
    connection.close()
    return count


def _change(service, user, address, number):
    return service.ask(
        "PATCH",
        "/api/v1/me",
        headers={**user.bearer, "X-Forwarded-For": address},
        body={"locale": ("de-DE", "en-GB")[number % 2]},
    )


def test_events_of_one_credential_are_limited_by_its_writes(service):
    """LO-02, reliability finding 4: from ever other addresses each write is an event, until 429.

    With the default limit of writes, these are 4,200 in the first hour and 3,600 in each other one.
    """
    user = open_account(service, "alice@example.com")
    answers = [_change(service, user, f"2001:db8::{n:x}", n) for n in range(BURST + 10)]
    statuses = [answer.status for answer in answers]
    done = statuses.count(HTTPStatus.OK)
    assert done <= BURST + 1
    assert set(statuses[done:]) == {HTTPStatus.TOO_MANY_REQUESTS}
    assert answers[-1].header("retry-after")
    assert _updates(service, user) <= done


def test_repeated_changes_from_one_address_are_one_event(service):
    """LO-02, reliability finding 4: within a minute, and so far fewer than writes."""
    user = open_account(service, "bob@example.com")
    answers = [_change(service, user, "192.0.2.7", number) for number in range(BURST - 5)]
    assert {answer.status for answer in answers} == {HTTPStatus.OK}
    assert _updates(service, user) <= 2
