"""A rotation of the root secret, killed half-way, on a database that is in use."""

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
from tests.support.databases import location_url
from tests.support.deadlines import patient

REPOSITORY = Path(__file__).parents[2]
OLD, NEW = b"o" * 32, b"n" * 32
OLD_ID, NEW_ID = (Keyring(root).key_id for root in (OLD, NEW))
ROOTS = {"the old one": OLD, "the new one": NEW}
TOKENS = 2000
KILLS = 4
SECONDS = 60
EMAIL, PASSWORD = "person@example.com", "Violet tangent 47 harbour"


@pytest.fixture
def location(storage, tmp_path):
    created = storage.make(tmp_path)
    yield created
    storage.drop(created)


@pytest.fixture
def serve(location):
    """Opens the database as a service with these roots does, the current one first."""
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
        # One user is created by the act and copied: the act would search a free username each time.
        template = first.model_dump()
        copies = [
            template
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
        session.core.execute(insert(User), copies)
        for copy in copies:
            issue_access_token(session, copy["id"])
    return dict(_reveal_tokens(database))


def _reveal_tokens(database):
    """Yield each user with their access token, decrypted."""
    with database.transaction(writing=True) as session:
        for user_id in session.exec(select(User.id)).all():
            yield user_id, reveal_access_token(session, find_user_view(session, user_id))


def _start_rewrite(location):
    """Start `keys rewrite` as a process, with the new root as the current one."""
    current, former = (base64.urlsafe_b64encode(root).decode() for root in (NEW, OLD))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ONESELF_")},
        "ONESELF_DATABASE_URL": location_url(location),
        "ONESELF_SECRET_KEY": current,
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
    """The stored tokens, read over a connection of its own."""

    def __init__(self, location):
        # With the service's driver: a second SQLite library in one process would release the locks
        # of the first (sqlite.org/howtocorrupt.html, section 2.2.1), and corrupt the file.
        self._engine = open_engine(location)
        self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    def count_under(self, key_id):
        """Return the number of tokens stored under a root."""
        statement = text("SELECT count(*) FROM access_token WHERE key_id = :key_id")
        return self._connection.execute(statement, {"key_id": key_id}).scalar()

    def is_whole(self):
        if self._engine.dialect.name != "sqlite":
            return True  # a killed client process writes to no file there
        return self._connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]

    def close(self):
        self._connection.close()
        self._engine.dispose()


@pytest.fixture
def stored(location):
    stored = _Stored(location)
    yield stored
    stored.close()


def _kill_during_rewrite(process, stored):
    """Kill a process shortly after its first write; return whether it left work to do."""
    before, deadline = stored.count_under(OLD_ID), time.monotonic() + patient(SECONDS)
    while stored.count_under(OLD_ID) == before and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.01))  # noqa: S311 # within a batch, or between two
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=patient(SECONDS))
    return stored.count_under(OLD_ID) > 0


def _finish(process):
    printed, error = process.communicate(timeout=patient(SECONDS))
    assert process.returncode == 0, error.decode()
    return json.loads(printed)


@pytest.mark.nightly
def test_killed_rotation_resumes(location, serve, issued, stored):
    """TK-07: each token stays valid, and at the end none is under the old root."""
    both = serve(NEW, OLD)
    interrupted = 0
    for _ in range(KILLS):
        interrupted += _kill_during_rewrite(_start_rewrite(location), stored)
        assert stored.is_whole()
        assert stored.count_under(OLD_ID) + stored.count_under(NEW_ID) == TOKENS
        assert dict(_reveal_tokens(both)) == issued
    assert interrupted
    remaining = stored.count_under(OLD_ID)
    assert _finish(_start_rewrite(location)) == {"rewritten": remaining, "unreadable": []}
    assert stored.count_under(NEW_ID) == TOKENS
    assert _finish(_start_rewrite(location)) == {"rewritten": 0, "unreadable": []}
    assert stored.is_whole()

    # Under the new root alone, as after the old one was retired.
    alone = Database(location, keys=Keyring(NEW), limits=Limits())
    try:
        assert dict(_reveal_tokens(alone)) == issued
        _require_valid(alone, issued)
    finally:
        alone.close()


def _require_valid(database, issued):
    with database.transaction(writing=False) as session:
        for user_id, token in issued.items():
            principal = authenticate(session, Presented(CredentialKind.ACCESS_TOKEN, token))
            assert principal.user.user_id == user_id


class _Requests(threading.Thread):
    """Load: access tokens are used, revealed and regenerated, until stopped."""

    def __init__(self, database, issued, seed):
        super().__init__()
        self.issued = issued
        self.regenerated = 0
        self.failure = None
        self._database = database
        self._random = random.Random(seed)  # noqa: S311 # chooses users, no secret
        self._stopped = threading.Event()

    def run(self):
        try:
            while not self._stopped.is_set():
                self._ask(self._random.choice(list(self.issued)))
        except BaseException as failure:  # noqa: BLE001 # checked by the test
            self.failure = failure

    def _ask(self, user_id):
        with self._database.transaction(writing=False) as session:
            token = self.issued[user_id]
            assert authenticate(session, Presented(CredentialKind.ACCESS_TOKEN, token))
            assert reveal_access_token(session, find_user_view(session, user_id)) == token
        if self._random.random() < 0.1:
            with self._database.transaction(writing=True) as session:
                new_token = regenerate_access_token(session, find_user_view(session, user_id))
            self.issued[user_id] = new_token
            self.regenerated += 1

    def stop(self):
        self._stopped.set()
        self.join(SECONDS)


def test_replicas_with_either_root_first_serve_during_a_rotation(location, serve, issued, stored):
    """TK-07: replicas are restarted one after the other, and none refuses a request."""
    half = len(issued) // 2
    all_issued = list(issued.items())
    services = [
        _Requests(serve(OLD, NEW), dict(all_issued[:half]), seed=1),
        _Requests(serve(NEW, OLD), dict(all_issued[half:]), seed=2),
    ]
    for service in services:
        service.start()
    try:
        _kill_during_rewrite(_start_rewrite(location), stored)
        _finish(_start_rewrite(location))
    finally:
        for service in services:
            service.stop()
    assert [service.failure for service in services] == [None, None]
    assert all(service.regenerated for service in services)

    # The next run rewrites what the service with the old root first has stored since.
    _finish(_start_rewrite(location))
    assert stored.count_under(OLD_ID) == 0
    current = services[0].issued | services[1].issued
    assert all(tokens.is_well_formed(token, tokens.ACCESS_TOKEN) for token in current.values())
    both = serve(NEW, OLD)
    _require_valid(both, current)
    assert dict(_reveal_tokens(both)) == current


def _documented_steps():
    """Yield the roots of a replica at each step in docs/operations.md, the current one first."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    [table] = re.findall(
        r"\| step \| `ONESELF_SECRET_KEY` \| `ONESELF_SECRET_KEY_FORMER` \|\n.*\n((?: +\|.*\n)+)",
        page,
    )
    for line in table.splitlines():
        _, *cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
        yield tuple(ROOTS[cell] for cell in cells if cell)


@pytest.fixture
def user_id(serve):
    """A user with a password stored under the old root."""
    with serve(OLD).transaction(writing=True) as session:
        tenant = open_tenant(session, "Example")
        record = hash_password(PASSWORD, session.keys, Limits(password_cost=4))
        user = open_user(
            session, tenant, email=EMAIL, display_name="A Person", record=record, provider="local"
        )
        session.flush()
        return user.id


def _log_in(database):
    with database.transaction(writing=True) as session:
        return log_in(session, email=EMAIL, password=PASSWORD, user_agent=None).token


def _user_of(database, token):
    with database.transaction(writing=False) as session:
        return authenticate(session, Presented(CredentialKind.SESSION, token)).user.user_id


def test_replicas_restarted_as_documented_accept_each_others_sessions(serve, user_id):
    """TK-07: at each step, a restarted replica beside one that is not restarted yet."""
    steps = [*_documented_steps()]
    assert steps[0] == (OLD,)
    assert steps[-1] == (NEW, OLD)
    for before, after in pairwise(steps):
        replicas = [serve(*before), serve(*after)]
        # The first login rewrites the password; the next one is at the other replica.
        sessions = [_log_in(replica) for replica in (*replicas, *reversed(replicas))]
        for replica in replicas:
            assert {_user_of(replica, token) for token in sessions} == {user_id}


@pytest.mark.usefixtures("user_id")
def test_replicas_given_both_roots_at_once_refuse_each_other(serve):
    """TK-07: why there are two steps. The old replica refuses a session, then the password."""
    old_replica, new_replica = serve(OLD), serve(NEW, OLD)
    token = _log_in(new_replica)
    with pytest.raises(InvalidToken):
        _user_of(old_replica, token)
    with pytest.raises(InvalidCredentials):
        _log_in(old_replica)
