"""Two services on one database, each in two workers: what one of them knows all of them know."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import Engine, make_url

from accounts.jobs.event_chain import verify_chain
from accounts.jobs.retention import delete_expired_records
from accounts.services.database import AccountSession
from oneself.database import Database, open_engine
from oneself.runtime.jobs import run_in_parts
from oneself.runtime.key_file import open_keyring
from oneself.settings import Settings
from tests.http.running import Account, Running, open_account, running
from tests.http.wire import Answer
from tests.support.databases import in_words_of
from tests.support.journal import Client, Load, Outcome
from tests.support.ports import free_port

REPLICAS, WORKERS = 2, 2
#: As many new connections as hit each worker of a replica, but for one time in a million.
_ASKED = 20
SECONDS = 30
LOGIN = "/v1/auth/login"


class _Postbox:
    """A mail server that counts what it gets by its Message-ID."""

    def __init__(self) -> None:
        self.received: Counter[str] = Counter()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 # the library's name
        [name] = [line for line in envelope.content.splitlines() if line.startswith(b"Message-ID:")]
        self.received[name.decode()] += 1
        return "250 OK"


@dataclass
class _House:
    """The replicas, their database, and what came by mail."""

    replicas: list[Running]
    engine: Engine
    postbox: _Postbox
    settings: Settings

    @property
    def pair(self) -> tuple[Running, Running]:
        one, other = self.replicas
        return one, other

    def sql(self, statement: str) -> Any:
        """What one statement finds or changes, behind the service's back."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            said = in_words_of(self.engine.dialect.name, statement)
            found = connection.exec_driver_sql(said)
            return [tuple(row) for row in found] if found.returns_rows else []


@pytest.fixture(scope="module")
def env(storage, tmp_path_factory) -> Iterator[_House]:
    """The replicas, which were started at once on a database without tables."""
    folder: Path = tmp_path_factory.mktemp("replicas")
    postbox, port = _Postbox(), free_port()
    controller = Controller(postbox, hostname="127.0.0.1", port=port)
    controller.start()
    given: dict[str, Any] = {
        "data_dir": folder / "data",
        "secret_key": "k" * 43,
        "smtp_url": f"smtp+plain://127.0.0.1:{port}",
        "password_cost": 10,
        "throttle_account_source": "5/300",
        "throttle_mail": "100000/1",
        **storage.settings(),
    }
    url = given.get("database_url")
    engine = open_engine(make_url(url) if url else folder / "data" / "oneself.sqlite3")
    with ExitStack() as stack, ThreadPoolExecutor(REPLICAS) as threads:
        stack.callback(controller.stop)
        stack.callback(engine.dispose)

        def start(number: int) -> Running:
            own = folder / str(number)
            own.mkdir()
            return stack.enter_context(running(own, workers=WORKERS, **given))

        replicas = list(threads.map(start, range(REPLICAS)))
        yield _House(replicas, engine, postbox, Settings(**given))
        for replica in replicas:
            assert '"level":"error"' not in replica.log


@pytest.fixture
def outcome(outcomes) -> Outcome:
    """Where all of this is counted."""
    found: Outcome = outcomes["nothing: two services on one database"]
    return found


_people = iter(range(1_000_000))


@pytest.fixture
def alice(env) -> Account:
    """Somebody new, who signed up at the first replica."""
    return open_account(env.pair[0], f"person{next(_people)}@example.com")


def _everywhere(replica: Running, target: str, headers: dict[str, str | None]) -> set[int]:
    """The statuses that every worker of a replica answers with."""
    return {replica.ask("GET", target, headers=headers).status for _ in range(_ASKED)}


def _sessions(one: Running, alice: Account) -> tuple[str, dict[str, str | None], Answer]:
    entered = {"email": alice.email, "password": alice.password}
    opened = one.ask("POST", LOGIN, body=entered).json["data"]
    bearer = {"Authorization": f"Bearer {opened['session_token']}"}
    return "/v1/me", bearer, one.ask("POST", "/v1/auth/logout", headers=bearer)


def _keys(one: Running, alice: Account) -> tuple[str, dict[str, str | None], Answer]:
    wanted = {"name": "a", "scopes": ["me/profile:read"]}
    made = one.ask("POST", "/v1/api-keys", headers=alice.bearer, body=wanted).json["data"]
    key_id = made["api_key_id"]
    revoked = one.ask("DELETE", f"/v1/api-keys/{key_id}", headers=alice.bearer)
    return "/v1/me", {"X-API-Key": made["key"]}, revoked


def _access_tokens(one: Running, alice: Account) -> tuple[str, dict[str, str | None], Answer]:
    token = one.ask("GET", "/api/users/me/token/", headers=alice.bearer).json["access_token"]
    made = one.ask("POST", "/api/users/me/token/regenerate/", headers=alice.bearer)
    return "/api/users/me/", {"Authorization": f"Bearer {token}"}, made


@pytest.mark.parametrize("credential", [_sessions, _keys, _access_tokens])
def test_what_is_revoked_at_one_is_refused_by_all_at_the_next_request(
    credential: Callable[[Running, Account], tuple[str, dict[str, str | None], Answer]],
    env,
    alice,
    outcome,
):
    """SE-03, DB-13: nothing caches authentication, in no worker of no replica."""
    for number in range(6):
        one, other = env.pair if number % 2 else reversed(env.pair)
        target, headers, revoked = credential(one, alice)
        assert revoked.status < 300, revoked
        assert _everywhere(other, target, headers) == {HTTPStatus.UNAUTHORIZED}
        assert _everywhere(one, target, headers) == {HTTPStatus.UNAUTHORIZED}
        outcome.rounds += 1
        outcome.books.acknowledged += 1


def test_a_credential_that_is_made_at_one_is_good_at_all(env, alice, outcome):
    """DB-13: at once, since its answer came after the commit."""
    one, other = env.pair
    for _ in range(10):
        wanted = {"name": "a", "scopes": ["me/profile:read"]}
        made = one.ask("POST", "/v1/api-keys", headers=alice.bearer, body=wanted).json["data"]
        assert _everywhere(other, "/v1/me", {"X-API-Key": made["key"]}) == {HTTPStatus.OK}
        outcome.rounds += 1
        outcome.books.acknowledged += 1


def test_attempts_at_one_count_at_all(env, alice):
    """LG-04: a guesser who goes from one replica to the other gets no more attempts."""
    wrong = {"email": alice.email, "password": "Not this one 9"}
    answers = [
        env.replicas[number % REPLICAS].ask("POST", LOGIN, body=wrong) for number in range(9)
    ]
    assert [answer.status for answer in answers] == [401] * 5 + [429] * 4


def test_who_is_disabled_behind_their_back_is_refused_everywhere(env, alice):
    """SE-06: by an operator's command, of which no replica is told."""
    env.sql(f"UPDATE \"user\" SET disabled_at = created_at WHERE email = '{alice.email}'")  # noqa: S608 # a test's
    for replica in env.replicas:
        assert _everywhere(replica, "/v1/me", alice.bearer) == {HTTPStatus.UNAUTHORIZED}


def _wait_for_mail(env: _House) -> None:
    """Until all of it is delivered, and nobody writes to it any more."""
    deadline = time.monotonic() + SECONDS
    while env.sql("SELECT count(*) FROM outbox_message WHERE delivered_at IS NULL") != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_each_mail_is_sent_once(env, alice, outcome):
    """EM-18, OP-03: whichever of the replicas sends it."""
    wanted = {"name": "a", "scopes": ["me/profile:read"]}
    for number in range(30):
        made = env.replicas[number % REPLICAS].ask(
            "POST", "/v1/api-keys", headers=alice.bearer, body=wanted
        )
        assert made.status == HTTPStatus.CREATED
        outcome.books.acknowledged += 1
    _wait_for_mail(env)
    [(posted,)] = env.sql("SELECT count(*) FROM outbox_message")
    assert len(env.postbox.received) == posted > 30
    assert set(env.postbox.received.values()) == {1}


def test_both_write_and_nothing_is_lost(env, outcome):
    """DB-02, DB-08: people at either replica, and one person at both."""
    one, other = env.pair
    people = [open_account(one, f"person{next(_people)}@example.com") for _ in range(4)]
    clients = [
        Client(env.replicas[number % REPLICAS], person, number)
        for number, person in enumerate(people)
    ]
    load = Load(clients)
    shared = open_account(other, f"person{next(_people)}@example.com")
    written = threading.Barrier(REPLICAS)

    def write(number: int) -> int:
        """Each its own keys of one document, many times; a lost update would take one away."""
        written.wait(SECONDS)
        good = 0
        for each in range(40):
            answer = env.replicas[number].ask(
                "PATCH",
                "/resources/me/settings",
                headers=shared.bearer,
                body={f"k{number}_{each}": each},
            )
            good += answer.status == HTTPStatus.OK
        return good

    try:
        load.go()
        with ThreadPoolExecutor(REPLICAS) as threads:
            good = sum(threads.map(write, range(REPLICAS)))
        load.pause()
        found = load.check(Client.check)
    finally:
        load.close()
    outcome.books.add(found)
    outcome.books.acknowledged += good
    assert (found.lost, found.doubled, found.failures) == ([], [], 0)
    settings = one.ask("GET", "/resources/me/settings", headers=shared.bearer).json
    assert len(settings) == good == 2 * 40


def test_what_ended_is_deleted_by_whichever_comes_first(env, alice):
    """DB-17: in parts, while the other does the same, and neither fails for it."""
    wanted = {"name": "a", "scopes": ["me/profile:read"]}
    for _ in range(20):
        env.pair[0].ask("POST", "/v1/api-keys", headers=alice.bearer, body=wanted)
    _wait_for_mail(env)
    env.sql("UPDATE outbox_message SET delivered_at = '2020-01-01 00:00:00.000000'")
    [(old,)] = env.sql("SELECT count(*) FROM outbox_message")
    opened = {"keys": open_keyring(env.settings), "limits": env.settings.limits}
    databases = [Database(env.settings.location, **opened) for _ in range(REPLICAS)]
    deleted: list[int] = []

    def forget_some(session: AccountSession) -> int:
        some = delete_expired_records(session, at_most=3)
        deleted.append(some)
        return some

    deadline = time.monotonic() + SECONDS
    with ThreadPoolExecutor(REPLICAS) as threads:
        while env.sql("SELECT count(*) FROM outbox_message") != [(0,)]:
            assert time.monotonic() < deadline
            list(
                threads.map(lambda database: run_in_parts(database, "some", forget_some), databases)
            )
    for database in databases:
        database.close()
    assert sum(deleted) == old >= 20


def test_jobs_are_done_once(env, alice):
    """LO-04: the chain has one link for each event, whichever of them has made it."""
    for replica in env.replicas:
        for _ in range(5):
            replica.ask("PATCH", "/api/v1/me", headers=alice.bearer, body={"first_name": "A"})
    deadline = time.monotonic() + SECONDS
    unchained = (
        "SELECT count(*) FROM security_event e LEFT JOIN event_link l ON l.event_id = e.id"
        " WHERE l.event_id IS NULL"
    )
    while env.sql(unchained) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    database = Database(
        env.settings.location, keys=open_keyring(env.settings), limits=env.settings.limits
    )
    with database.transaction(writing=False, snapshot=True) as session:
        report = verify_chain(session)
    database.close()
    assert report.problems == ()
    assert env.sql("SELECT count(*) FROM security_event") == [(report.checked,)]
    assert env.sql("SELECT count(*) FROM signing_key") == [(1,)]
