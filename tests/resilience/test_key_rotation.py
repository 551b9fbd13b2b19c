"""A rotation of the root secret that is killed half way, on a database that is being served."""

import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import insert, text
from sqlmodel import select

from accounts.crypto import tokens
from accounts.crypto.keyring import Keyring
from accounts.crypto.password_hashing import hash_password
from accounts.errors import InvalidCredentials, InvalidToken
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import Limits
from accounts.services.access_tokens import (
    issue_access_token,
    regenerate_access_token,
    reveal_access_token,
)
from accounts.services.authentication import authenticate
from accounts.services.principal import CredentialKind, Presented
from accounts.services.user_views import find_user_view
from accounts.services.users import open_tenant, open_user
from accounts.values.identifiers import new_external_id, new_id, new_uuid
from models import User
from oneself.database import Database, open_engine
from oneself.runtime.key_file import check_root_key
from tests.support.databases import url_of

REPOSITORY = Path(__file__).parents[2]
OLD, NEW = b"o" * 32, b"n" * 32
OLD_ID, NEW_ID = (Keyring(root).key_id for root in (OLD, NEW))
ROOTS = {"the old one": OLD, "the new one": NEW}
TOKENS = 2000
KILLS = 4
SECONDS = 60
EMAIL, PASSWORD, COST = "person@example.com", "Violet tangent 47 harbour", 4


@pytest.fixture
def location(storage, tmp_path):
    made = storage.make(tmp_path)
    yield made
    storage.drop(made)


@pytest.fixture
def serve(location):
    """Opens the database as a service does that knows these roots, the present one first."""
    opened = []

    def serve(*roots):
        database = Database(location, keys=Keyring(*roots), limits=Limits())
        opened.append(database)
        check_root_key(database)
        return database

    yield serve
    for database in opened:
        database.close()


@pytest.fixture
def issued(serve):
    """Users with their access tokens, all under the old root."""
    database = serve(OLD)
    with database.transaction(writing=True) as session:
        tenant = open_tenant(session, "Example")
        first = open_user(
            session,
            tenant,
            email="person@example.com",
            display_name="A Person",
            record=None,
            provider="oidc",
        )
        session.flush()
        # One by the act, and the others like it: the act looks for a free user name each time.
        alike = first.model_dump()
        people = [
            alike
            | {
                "id": new_id("usr_"),
                "uuid": new_uuid(),
                "external_id": new_external_id(),
                "email": f"person{number}@example.com",
                "email_canonical": f"person{number}@example.com",
                "username": f"person{number}",
            }
            for number in range(1, TOKENS)
        ]
        session.core.execute(insert(User), people)
        for person in people:
            issue_access_token(session, person["id"])
    return dict(_revealed(database))


def _revealed(database):
    """Each user with their access token, unsealed."""
    with database.transaction(writing=True) as session:
        for user_id in session.exec(select(User.id)).all():
            yield user_id, reveal_access_token(session, find_user_view(session, user_id))


def _rewriting(location):
    """`keys rewrite` as a process, with the new root as the present one."""
    present, former = (base64.urlsafe_b64encode(root).decode() for root in (NEW, OLD))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        "ONESELF_DATABASE_URL": url_of(location),
        "ONESELF_SECRET_KEY": present,
        "ONESELF_SECRET_KEY_FORMER": former,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "oneself", "keys", "rewrite", "--json"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class _Stored:
    """What is in the database, seen over a connection of its own."""

    def __init__(self, location):
        # With the driver of the service: a second SQLite in one process would let go of the locks
        # of the first (sqlite.org/howtocorrupt.html, section 2.2.1), and the file would be ruined.
        self._engine = open_engine(location)
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def under(self, key_id):
        """How many tokens are stored under a root."""
        statement = text("SELECT count(*) FROM access_token WHERE key_id = :key_id")
        return self._connection.execute(statement, {"key_id": key_id}).scalar()

    def is_whole(self):
        if self._engine.dialect.name != "sqlite":
            return True  # a process that is killed there writes to no file
        return self._connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]

    def close(self):
        self._connection.close()
        self._engine.dispose()


@pytest.fixture
def stored(location):
    stored = _Stored(location)
    yield stored
    stored.close()


def _kill_half_way(process, stored):
    """Kill it a moment after it has begun to write; tells whether something was left to do."""
    before, deadline = stored.under(OLD_ID), time.monotonic() + SECONDS
    while stored.under(OLD_ID) == before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.01))  # noqa: S311 # within a batch, or between two
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    return stored.under(OLD_ID) > 0


def _finish(process):
    printed, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, error.decode()
    return json.loads(printed)


def test_a_rotation_that_is_killed_goes_on_where_it_was(location, serve, issued, stored):
    """TK-07: whenever it is killed, each token is good, and at the end none is under the old."""
    both = serve(NEW, OLD)
    interrupted = 0
    for _ in range(KILLS):
        interrupted += _kill_half_way(_rewriting(location), stored)
        assert stored.is_whole()
        assert stored.under(OLD_ID) + stored.under(NEW_ID) == TOKENS
        assert dict(_revealed(both)) == issued
    assert interrupted
    left = stored.under(OLD_ID)
    assert _finish(_rewriting(location)) == {"rewritten": left, "unreadable": []}
    assert stored.under(NEW_ID) == TOKENS
    assert _finish(_rewriting(location)) == {"rewritten": 0, "unreadable": []}
    assert stored.is_whole()

    # Under the new root alone, as after the old one is retired.
    alone = Database(location, keys=Keyring(NEW), limits=Limits())
    try:
        assert dict(_revealed(alone)) == issued
        _require_good(alone, issued)
    finally:
        alone.close()


def _require_good(database, issued):
    with database.transaction(writing=False) as session:
        for user_id, token in issued.items():
            principal = authenticate(session, Presented(CredentialKind.ACCESS_TOKEN, token))
            assert principal.user.user_id == user_id


class _Requests(threading.Thread):
    """A service under load: tokens are used, shown and regenerated, until it is told to stop."""

    def __init__(self, database, issued, seed):
        super().__init__()
        self.issued = issued
        self.regenerated = 0
        self.failure = None
        self._database = database
        self._random = random.Random(seed)  # noqa: S311 # which of them, and no secret
        self._over = threading.Event()

    def run(self):
        try:
            while not self._over.is_set():
                self._ask(self._random.choice(list(self.issued)))
        except BaseException as failure:  # noqa: BLE001 # the test asks for it
            self.failure = failure

    def _ask(self, user_id):
        with self._database.transaction(writing=False) as session:
            token = self.issued[user_id]
            assert authenticate(session, Presented(CredentialKind.ACCESS_TOKEN, token))
            assert reveal_access_token(session, find_user_view(session, user_id)) == token
        if self._random.random() < 0.1:
            with self._database.transaction(writing=True) as session:
                made = regenerate_access_token(session, find_user_view(session, user_id))
            self.issued[user_id] = made
            self.regenerated += 1

    def stop(self):
        self._over.set()
        self.join(SECONDS)


def test_services_with_the_old_and_the_new_root_first_work_through_it(
    location, serve, issued, stored
):
    """TK-07: replicas are restarted one after the other, and no request of either is refused."""
    half = len(issued) // 2
    everybody = list(issued.items())
    services = [
        _Requests(serve(OLD, NEW), dict(everybody[:half]), seed=1),
        _Requests(serve(NEW, OLD), dict(everybody[half:]), seed=2),
    ]
    for service in services:
        service.start()
    try:
        _kill_half_way(_rewriting(location), stored)
        _finish(_rewriting(location))
    finally:
        for service in services:
            service.stop()
    assert [service.failure for service in services] == [None, None]
    assert all(service.regenerated for service in services)

    # What the service with the old root first has stored since is taken by the next run.
    _finish(_rewriting(location))
    assert stored.under(OLD_ID) == 0
    present = services[0].issued | services[1].issued
    assert all(tokens.well_formed(token, tokens.ACCESS_TOKEN) for token in present.values())
    both = serve(NEW, OLD)
    _require_good(both, present)
    assert dict(_revealed(both)) == present


def _documented_steps():
    """What each replica has at each step of docs/operations.md, the present root first."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    [table] = re.findall(
        r"\| step \| `ONESELF_SECRET_KEY` \| `ONESELF_SECRET_KEY_FORMER` \|\n.*\n((?: +\|.*\n)+)",
        page,
    )
    for line in table.splitlines():
        _, *cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
        yield tuple(ROOTS[cell] for cell in cells if cell)


@pytest.fixture
def person(serve):
    """Somebody with a password that is stored under the old root."""
    with serve(OLD).transaction(writing=True) as session:
        tenant = open_tenant(session, "Example")
        record = hash_password(PASSWORD, session.keys, COST)
        user = open_user(
            session, tenant, email=EMAIL, display_name="A Person", record=record, provider="local"
        )
        session.flush()
        return user.id


def _log_in(database):
    with database.transaction(writing=True) as session:
        return log_in(session, email=EMAIL, password=PASSWORD, user_agent=None).token


def _whose(database, token):
    with database.transaction(writing=False) as session:
        return authenticate(session, Presented(CredentialKind.SESSION, token)).user.user_id


def test_replicas_that_are_restarted_as_documented_know_what_the_others_store(serve, person):
    """TK-07: at each step, beside one that is restarted already and one that is not yet."""
    steps = [*_documented_steps()]
    assert steps[0] == (OLD,)
    assert steps[-1] == (NEW, OLD)
    for before, after in pairwise(steps):
        replicas = [serve(*before), serve(*after)]
        # Whichever it is that a password is stored anew by, the next login is at the other.
        made = [_log_in(replica) for replica in (*replicas, *reversed(replicas))]
        for replica in replicas:
            assert {_whose(replica, token) for token in made} == {person}


@pytest.mark.usefixtures("person")
def test_replicas_that_get_both_at_once_refuse_each_other(serve):
    """TK-07: why there are two steps; the old one refuses a session, and then the password."""
    not_yet, already = serve(OLD), serve(NEW, OLD)
    token = _log_in(already)
    with pytest.raises(InvalidToken):
        _whose(not_yet, token)
    with pytest.raises(InvalidCredentials):
        _log_in(not_yet)
