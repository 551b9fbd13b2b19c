"""Two replicas on one database, with two workers each, share all state."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import Engine, make_url

from accounts.jobs.event_verification import verify_chain
from accounts.jobs.retention import Part, find_expired_records
from accounts.services.database import AccountSession
from oneself.database import Database, open_engine
from oneself.runtime.jobs import run_found_parts
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.http.running import Account, Running, open_account, running
from tests.http.wire import Answer
from tests.support.databases import translate_sql
from tests.support.deadlines import patient
from tests.support.journal import Client, Load, Outcome
from tests.support.ports import free_port

REPLICAS, WORKERS = 2, 2
#: Enough new connections to reach each worker of a replica, except once in a million times.
_CONNECTIONS = 20
SECONDS = 30
LOGIN = "/v1/auth/login"


class _MailServer:
    """A mail server that counts messages by their Message-ID."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 # the library's name
        [name] = [line for line in envelope.content.splitlines() if line.startswith(b"Message-ID:")]
        self.received[name.decode()] += 1
        return "250 OK"


@dataclass
class _Deployment:
    """The replicas, their database, and the mail that they sent."""

    replicas: list[Running]
    engine: Engine
    mail_server: _MailServer
    settings: Settings

    @property
    def pair(self) -> tuple[Running, Running]:
        one, other = self.replicas
        return one, other

    def sql(self, statement: str) -> Any:
        """Run a statement without the service, and return its rows."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            translated = translate_sql(self.engine.dialect.name, statement)
            rows = connection.exec_driver_sql(translated)
            return [tuple(row) for row in rows] if rows.returns_rows else []


@pytest.fixture(scope="module")
def deployment(storage, tmp_path_factory) -> Iterator[_Deployment]:
    """The replicas, started at the same time on a database without tables."""
    folder: Path = tmp_path_factory.mktemp("replicas")
    mail_server, port = _MailServer(), free_port()
    controller = Controller(mail_server, hostname="127.0.0.1", port=port)
    controller.start()
    settings: dict[str, Any] = {
        "data_dir": folder / "data",
        "secret_key": "k" * 43,
        "smtp_url": f"smtp+plain://127.0.0.1:{port}",
        "password_cost": 10,
        "throttle_account_source": "5/300",
        "throttle_mail": "100000/1",
        **storage.settings(),
    }
    url = settings.get("database_url")
    engine = open_engine(make_url(url) if url else folder / "data" / "oneself.sqlite3")
    with ExitStack() as stack, ThreadPoolExecutor(REPLICAS) as threads:
        stack.callback(controller.stop)
        stack.callback(engine.dispose)

        def start(number: int) -> Running:
            replica_folder = folder / str(number)
            replica_folder.mkdir()
            return stack.enter_context(running(replica_folder, workers=WORKERS, **settings))

        replicas = list(threads.map(start, range(REPLICAS)))
        yield _Deployment(replicas, engine, mail_server, Settings(**settings))
        for replica in replicas:
            assert '"level":"error"' not in replica.log


@pytest.fixture
def outcome(outcomes) -> Outcome:
    """The outcome that these tests count in."""
    shared: Outcome = outcomes["no fault: two replicas on one database"]
    return shared


_numbers = iter(range(1_000_000))


@pytest.fixture
def alice(deployment) -> Account:
    """A new user, who signed up at the first replica."""
    return open_account(deployment.pair[0], f"user{next(_numbers)}@example.com")


def _statuses_of_all_workers(
    replica: Running, target: str, headers: dict[str, str | None]
) -> set[int]:
    """Return the statuses that the workers of a replica answer with."""
    return {replica.ask("GET", target, headers=headers).status for _ in range(_CONNECTIONS)}


def _sessions(one: Running, alice: Account) -> tuple[str, dict[str, str | None], Answer]:
    credentials = {"email": alice.email, "password": alice.password}
    opened = one.ask("POST", LOGIN, body=credentials).json["data"]
    bearer = {"Authorization": f"Bearer {opened['session_token']}"}
    return "/v1/me", bearer, one.ask("POST", "/v1/auth/logout", headers=bearer)


def _keys(one: Running, alice: Account) -> tuple[str, dict[str, str | None], Answer]:
    body = {"name": "a", "scopes": ["me/profile:read"]}
    created = one.ask("POST", "/v1/api-keys", headers=alice.bearer, body=body).json["data"]
    key_id = created["api_key_id"]
    revoked = one.ask("DELETE", f"/v1/api-keys/{key_id}", headers=alice.bearer)
    return "/v1/me", {"X-API-Key": created["key"]}, revoked


def _access_tokens(one: Running, alice: Account) -> tuple[str, dict[str, str | None], Answer]:
    token = one.ask("GET", "/api/users/me/token/", headers=alice.bearer).json["access_token"]
    response = one.ask("POST", "/api/users/me/token/regenerate/", headers=alice.bearer)
    return "/api/users/me/", {"Authorization": f"Bearer {token}"}, response


@pytest.mark.parametrize("credential", [_sessions, _keys, _access_tokens])
def test_revoked_credential_is_refused_by_all_replicas_at_once(
    credential: Callable[[Running, Account], tuple[str, dict[str, str | None], Answer]],
    deployment,
    alice,
    outcome,
):
    """SE-03, DB-13: no worker of a replica caches authentication."""
    for number in range(6):
        one, other = deployment.pair if number % 2 else reversed(deployment.pair)
        target, headers, revoked = credential(one, alice)
        assert revoked.status < 300, revoked
        assert _statuses_of_all_workers(other, target, headers) == {HTTPStatus.UNAUTHORIZED}
        assert _statuses_of_all_workers(one, target, headers) == {HTTPStatus.UNAUTHORIZED}
        outcome.rounds += 1
        outcome.journal.acknowledged += 1


def test_new_credential_is_accepted_by_all_replicas_at_once(deployment, alice, outcome):
    """DB-13: it is returned after the commit."""
    one, other = deployment.pair
    for _ in range(10):
        body = {"name": "a", "scopes": ["me/profile:read"]}
        created = one.ask("POST", "/v1/api-keys", headers=alice.bearer, body=body).json["data"]
        assert _statuses_of_all_workers(other, "/v1/me", {"X-API-Key": created["key"]}) == {
            HTTPStatus.OK
        }
        outcome.rounds += 1
        outcome.journal.acknowledged += 1


def test_rate_limit_is_shared_by_replicas(deployment, alice):
    """LG-04: switching between replicas gives no more attempts."""
    body = {"email": alice.email, "password": "Not this one 9"}
    responses = [
        deployment.replicas[number % REPLICAS].ask("POST", LOGIN, body=body) for number in range(9)
    ]
    assert [response.status for response in responses] == [401] * 5 + [429] * 4


def test_disabled_user_is_refused_by_all_replicas(deployment, alice):
    """SE-06: disabled by an operator's command, which notifies no replica."""
    deployment.sql(f"UPDATE \"user\" SET disabled_at = created_at WHERE email = '{alice.email}'")  # noqa: S608 # a test's
    for replica in deployment.replicas:
        assert _statuses_of_all_workers(replica, "/v1/me", alice.bearer) == {
            HTTPStatus.UNAUTHORIZED
        }


def _wait_for_mail(deployment: _Deployment) -> None:
    """Wait until all mail is delivered, and no delivery writes to the outbox."""
    deadline = time.monotonic() + patient(SECONDS)
    while deployment.sql("SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL") != [
        (0,)
    ]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_each_mail_is_sent_once(deployment, alice, outcome):
    """EM-18, OP-03: by either replica."""
    body = {"name": "a", "scopes": ["me/profile:read"]}
    for number in range(30):
        created = deployment.replicas[number % REPLICAS].ask(
            "POST", "/v1/api-keys", headers=alice.bearer, body=body
        )
        assert created.status == HTTPStatus.CREATED
        outcome.journal.acknowledged += 1
    _wait_for_mail(deployment)
    [(posted,)] = deployment.sql("SELECT count(*) FROM outbox_message")
    assert len(deployment.mail_server.received) == posted > 30
    assert set(deployment.mail_server.received.values()) == {1}


def test_concurrent_writes_at_two_replicas_are_not_lost(deployment, outcome):
    """DB-02, DB-08: by users at either replica, and by one user at both."""
    one, other = deployment.pair
    accounts = [open_account(one, f"user{next(_numbers)}@example.com") for _ in range(4)]
    clients = [
        Client(deployment.replicas[number % REPLICAS], account, number)
        for number, account in enumerate(accounts)
    ]
    load = Load(clients)
    shared = open_account(other, f"user{next(_numbers)}@example.com")
    ready = threading.Barrier(REPLICAS)

    def write(number: int) -> int:
        """Add keys to a document; a lost update would lose one."""
        ready.wait(patient(SECONDS))
        succeeded = 0
        for key in range(40):
            response = deployment.replicas[number].ask(
                "PATCH",
                "/resources/me/settings",
                headers=shared.bearer,
                body={f"k{number}_{key}": key},
            )
            succeeded += response.status == HTTPStatus.OK
        return succeeded

    try:
        load.resume()
        with ThreadPoolExecutor(REPLICAS) as threads:
            succeeded = sum(threads.map(write, range(REPLICAS)))
        load.pause()
        result = load.check(Client.check)
    finally:
        load.close()
    outcome.journal.add(result)
    outcome.journal.acknowledged += succeeded
    assert (result.lost, result.duplicated, result.failures) == ([], [], 0)
    settings = one.ask("GET", "/resources/me/settings", headers=shared.bearer).json
    assert len(settings) == succeeded == 2 * 40


def test_expired_records_are_deleted_by_concurrent_jobs(deployment, alice):
    """DB-17: in parts, without errors on either replica."""
    body = {"name": "a", "scopes": ["me/profile:read"]}
    for _ in range(20):
        deployment.pair[0].ask("POST", "/v1/api-keys", headers=alice.bearer, body=body)
    _wait_for_mail(deployment)
    deployment.sql("UPDATE outbox_message SET delivered_at = '2020-01-01 00:00:00.000000'")
    [(old,)] = deployment.sql("SELECT count(*) FROM outbox_message")
    options = {"keys": open_keyring(deployment.settings), "limits": deployment.settings.limits}
    databases = [Database(deployment.settings.location, **options) for _ in range(REPLICAS)]
    deleted: list[int] = []

    def count(part: Part, session: AccountSession) -> None:
        deleted.append(part(session))

    def find(session: AccountSession) -> Sequence[Callable[[AccountSession], None]]:
        return [partial(count, part) for part in find_expired_records(session, batch=3)]

    deadline = time.monotonic() + patient(SECONDS)
    with ThreadPoolExecutor(REPLICAS) as threads:
        while deployment.sql("SELECT count(*) FROM outbox_message") != [(0,)]:
            assert time.monotonic() < deadline
            list(threads.map(lambda database: run_found_parts(database, "some", find), databases))
    for database in databases:
        database.close()
    assert sum(deleted) == old >= 20


def test_events_are_chained_once(deployment, alice):
    """LO-04: the chain has one link per event, from either replica."""
    for replica in deployment.replicas:
        for _ in range(5):
            replica.ask("PATCH", "/api/v1/me", headers=alice.bearer, body={"first_name": "A"})
    deadline = time.monotonic() + patient(SECONDS)
    unchained = (
        "SELECT count(*) FROM security_event e LEFT JOIN event_link l ON l.event_id = e.id"
        " WHERE l.event_id IS NULL"
    )
    while deployment.sql(unchained) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    database = Database(
        deployment.settings.location,
        keys=open_keyring(deployment.settings),
        limits=deployment.settings.limits,
    )
    with database.transaction(writing=False, snapshot=True) as session:
        report = verify_chain(session)
        # Uses of credentials are recorded meanwhile, and are events too.
        links = session.core.exec_driver_sql("SELECT count(*) FROM event_link").scalar_one()
    database.close()
    assert report.problems == ()
    assert report.checked == links
    assert deployment.sql("SELECT count(*) FROM signing_key") == [(1,)]
