"""Uses and observations of credentials are recorded in batches."""

import asyncio
import json
import threading
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError

from accounts.crypto.keyring import Keyring, Purpose
from accounts.flows.sign_in.sessions import list_sessions, open_session
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.limits import Limits
from accounts.origin import Origin
from accounts.services.authentication import StaleDigest, authenticate
from accounts.services.events import EventKind, Observation
from accounts.services.principal import Credential, CredentialKind, Presented
from oneself.database import Database
from oneself.runtime.credential_usage import UsageRecorder
from oneself_conformance.http_client import Request


def _credential(kind, credential_id):
    return Credential(kind, credential_id, frozenset())


def _last_used(env, table):
    return {row["id"]: row["last_used_at"] for row in env.rows(table)}


@pytest.fixture
def statements(database):
    """The statements that the database executes from now on."""
    executed = []
    with database.transaction(writing=False) as session:
        engine = session.core.engine

    def on_execute(_connection, _cursor, statement, *_more):
        executed.append(statement)

    event.listen(engine, "before_cursor_execute", on_execute)
    yield executed
    event.remove(engine, "before_cursor_execute", on_execute)


def test_use_is_written_to_the_table_of_its_kind(env, alice, clock):
    """With the time of the use, not of the write."""
    key, _ = env.act(
        create_api_key,
        alice.principal,
        name="Key",
        scopes=["keys:read"],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    client, secret = env.client(alice.view.tenant_id)
    pat, _ = env.act(
        create_pat,
        alice.principal,
        name="Token",
        scopes=["keys:read"],
        expires_at=clock.now + timedelta(days=1),
        client_id=client.id,
        client_secret=secret,
    )
    recorder = UsageRecorder()
    used = clock.now + timedelta(minutes=1)
    recorder.record_use(alice.principal.credential, used)
    recorder.record_use(_credential(CredentialKind.API_KEY, key.id), used)
    recorder.record_use(_credential(CredentialKind.PAT, pat.id), used)
    clock.move(hours=1)
    recorder.write(env.database)
    for table in ("login_session", "api_key", "personal_access_token"):
        assert list(_last_used(env, table).values()) == ["2026-04-05 10:01:00.000000"]
    assert env.act(list_sessions, alice.user_id)[0].last_used_at == used


def test_use_of_another_kind_with_the_same_id_is_not_written(env, alice, bob, clock):
    """Ids are compared together with their kind."""
    recorder = UsageRecorder()
    recorder.record_use(alice.principal.credential, clock.now)
    recorder.record_use(_credential(CredentialKind.PAT, bob.principal.credential.id), clock.now)
    recorder.write(env.database)
    assert _last_used(env, "login_session")[bob.principal.credential.id] is None


def test_many_uses_are_written_in_a_few_statements(env, alice, clock, statements):
    """No request waits for a write of its own (TK-16)."""
    sessions = [alice.principal.credential]
    for _ in range(9):
        env.act(open_session, alice.user_id)
    sessions = [
        _credential(CredentialKind.SESSION, session.id)
        for session in env.act(list_sessions, alice.user_id)
    ]
    recorder = UsageRecorder()
    for number in range(1000):
        recorder.record_use(sessions[number % 10], clock.move(seconds=1))
    statements.clear()
    recorder.write(env.database)
    assert len(statements) <= 3
    latest = sorted(_last_used(env, "login_session").values())
    assert len(latest) == 10
    assert latest[-1].startswith(clock.now.strftime("%Y-%m-%d %H:%M:%S"))


def test_source_of_a_session_is_written(env, alice, clock):
    """LG-06, attack finding 6: the last one, as a digest, and once."""
    recorder = UsageRecorder()
    for address in ("192.0.2.1", "2001:db8::1", "2001:db8::2"):
        recorder.record_use(alice.principal.credential, clock.now)
        recorder.record_source(alice.principal, address)
    recorder.write(env.database)
    (row,) = env.rows("login_session")
    name = f"password|pair|2001:db8::/64|{alice.user_id}"
    assert row["source_digest"] == env.keys.digest(Purpose.ATTEMPTS, name)


def test_source_of_a_request_becomes_that_of_its_session(application):
    """LG-06, attack finding 6: for the next login from there."""
    user = application.actors["base"]
    bearer = (("Authorization", f"Bearer {user['session_token']}"),)
    assert application.ask(Request("GET", "/v1/me", bearer)).status == 200
    asyncio.run(application.live(until=lambda: True))  # the jobs run at the end
    name = f"password|pair|127.0.0.1|{user['user_id']}"
    digest = repr(application.keys.digest(Purpose.ATTEMPTS, name))
    assert sum(digest in row for row in application.stored()["login_session"]) == 1


def test_source_of_a_token_is_not_written(env, alice, statements):
    """LG-06: a program can run anywhere."""
    recorder = UsageRecorder()
    for kind in set(CredentialKind) - {CredentialKind.SESSION}:
        credential = alice.principal.credential._replace(kind=kind)
        recorder.record_source(alice.principal._replace(credential=credential), "192.0.2.1")
    recorder.write(env.database)
    assert statements == []


def test_empty_batch_begins_no_transaction(env, alice, clock, statements):
    recorder = UsageRecorder()
    recorder.write(env.database)
    recorder.record_use(_credential(CredentialKind.ACCESS_TOKEN, alice.user_id), clock.now)
    recorder.write(env.database)
    assert statements == []


def test_written_batch_is_not_written_again(env, alice, clock, statements):
    recorder = UsageRecorder()
    recorder.record_use(alice.principal.credential, clock.now)
    recorder.write(env.database)
    statements.clear()
    recorder.write(env.database)
    assert statements == []


def test_failed_batch_is_kept(env, alice, clock, tmp_path):
    """DB-05."""
    recorder = UsageRecorder()
    recorder.record_use(alice.principal.credential, clock.now)
    without_tables = Database(tmp_path / "empty.sqlite3", keys=env.keys, limits=Limits())
    with pytest.raises(OperationalError):
        recorder.write(without_tables)
    without_tables.close()
    recorder.write(env.database)
    assert None not in _last_used(env, "login_session").values()


def test_use_during_a_write_is_in_the_next_batch(env, alice, clock):
    """It is not lost with the earlier use that is being written."""
    recorder = UsageRecorder()
    recorder.record_use(alice.principal.credential, clock.now)
    with env.database.transaction(writing=False) as session:
        engine = session.core.engine
    later = clock.now + timedelta(minutes=5)
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *_: recorder.record_use(alice.principal.credential, later),
        once=True,
    )
    recorder.write(env.database)
    assert list(_last_used(env, "login_session").values()) == ["2026-04-05 10:00:00.000000"]
    recorder.write(env.database)
    assert list(_last_used(env, "login_session").values()) == ["2026-04-05 10:05:00.000000"]


def _sensitive_read(alice, address="192.0.2.7"):
    view = alice.view
    origin = Origin(address=address, credential_kind="session", credential_id="ses_1")
    return Observation(EventKind.SENSITIVE_READ, view.tenant_id, view.user_id, origin)


def _reads(env):
    rows = [row for row in env.rows("security_event") if row["kind"] == "sensitive_read"]
    return {
        row["source"]: (json.loads(row["details"])["times"], row["occurred_at"][:16])
        for row in rows
    }


def _reads_of(env):
    """The count and the address of each event, oldest first."""
    rows = sorted(env.rows("security_event"), key=lambda row: row["id"])
    return [
        (json.loads(row["details"])["times"], row["source"])
        for row in rows
        if row["kind"] == "sensitive_read"
    ]


def test_repeated_reads_are_one_event_with_a_count(env, alice, clock):
    """LO-02: per client address, with the time of the last one."""
    recorder = UsageRecorder()
    for _ in range(3):
        recorder.record_observed([_sensitive_read(alice)], clock.move(minutes=1))
    recorder.record_observed(
        [_sensitive_read(alice, "198.51.100.7"), _sensitive_read(alice)], clock.now
    )
    clock.move(hours=1)
    recorder.write(env.database)
    assert _reads(env) == {
        "192.0.2.7": (4, "2026-04-05 10:03"),
        "198.51.100.7": (1, "2026-04-05 10:03"),
    }
    recorder.write(env.database)
    assert len(_reads(env)) == 2


def test_reads_from_many_addresses_are_a_few_events(env, alice, clock):
    """LO-02, reliability finding 4: all are counted, and the table grows by five rows."""
    recorder = UsageRecorder()
    for number in range(2):
        for address in range(100):
            recorder.record_observed([_sensitive_read(alice, f"2001:db8::{address}")], clock.now)
        recorder.write(env.database)
        times = [count for count, _ in _reads_of(env)][number * 5 :]
        assert sorted(times) == [1, 1, 1, 1, 96]


def test_concurrent_observations_are_all_counted(env, alice, clock):
    """LO-02: a second thread records the same one while the first one counts it."""
    recorder, noted, hashed = UsageRecorder(), threading.Event(), []

    def record_same():
        recorder.record_observed([_sensitive_read(alice)], clock.now)
        noted.set()

    second = threading.Thread(target=record_same)

    class Counted(Observation):
        def __hash__(self):
            hashed.append(self)
            if len(hashed) == 2:  # the count has been read, and is about to be written
                second.start()
                noted.wait(0.2)
            return super().__hash__()

    recorder.record_observed([Counted(*_sensitive_read(alice))], clock.now)
    second.join(10)
    recorder.write(env.database)
    assert _reads(env)["192.0.2.7"][0] == 2


def test_observations_of_a_failed_batch_are_added_to_later_ones(env, alice, clock):
    """DB-05: the later time counts."""
    recorder = UsageRecorder()
    recorder.record_observed([_sensitive_read(alice), _sensitive_read(alice)], clock.now)
    env.execute("ALTER TABLE security_event RENAME TO elsewhere")
    with env.database.transaction(writing=False) as session:
        engine = session.core.engine
    # One more is recorded during the failing write, and one after it.
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *_: recorder.record_observed(
            [_sensitive_read(alice), _sensitive_read(alice, "198.51.100.7")], clock.now
        ),
        once=True,
    )
    with pytest.raises(DBAPIError):
        recorder.write(env.database)
    env.execute("ALTER TABLE elsewhere RENAME TO security_event")
    recorder.record_observed([_sensitive_read(alice)], clock.move(minutes=1))
    recorder.write(env.database)
    assert _reads(env) == {
        "192.0.2.7": (4, "2026-04-05 10:01"),
        "198.51.100.7": (1, "2026-04-05 10:00"),
    }


@pytest.fixture
def rotated(env):
    """The same database, opened by a service with a new root secret in front."""
    keys = Keyring(b"y" * 32, b"x" * 32)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    yield database, keys
    database.close()


def _authenticate_under_new_root(database, token):
    """Authenticate under the new root, and return the observations to be written."""
    with database.transaction(writing=False) as session:
        authenticate(session, Presented(CredentialKind.SESSION, token))
        return list(session.observed)


def test_credential_under_a_former_root_is_rewritten_on_use(env, alice, rotated):
    """TK-07: it is then stored under the current root only."""
    database, keys = rotated
    recorder = UsageRecorder()
    recorder.record_observed(_authenticate_under_new_root(database, alice.token), env.clock.now)
    recorder.write(database)
    [row] = env.rows("login_session")
    assert (row["token_digest"], row["key_id"]) == (
        keys.digest(Purpose.SESSION, alice.token),
        keys.key_id,
    )
    assert _authenticate_under_new_root(database, alice.token) == []


def test_credential_that_changed_meanwhile_is_not_rewritten(env, alice, rotated):
    """TK-07: the writing statement compares the digest that was read."""
    database, _ = rotated
    recorder = UsageRecorder()
    recorder.record_observed(_authenticate_under_new_root(database, alice.token), env.clock.now)
    env.execute("UPDATE login_session SET token_digest = ?", b"z" * 32)
    before = env.rows("login_session")
    recorder.write(database)
    assert env.rows("login_session") == before


def test_rewrite_of_a_failed_batch_is_kept(env, alice, rotated):
    """TK-07, DB-05."""
    database, keys = rotated
    other_token = env.act(open_session, alice.user_id).token
    recorder, meanwhile = UsageRecorder(), _authenticate_under_new_root(database, other_token)
    recorder.record_observed(_authenticate_under_new_root(database, alice.token), env.clock.now)
    env.execute("ALTER TABLE login_session RENAME TO elsewhere")
    with database.transaction(writing=False) as session:
        engine = session.core.engine
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *_: recorder.record_observed(meanwhile, env.clock.now),
        once=True,
    )
    with pytest.raises(DBAPIError):
        recorder.write(database)
    env.execute("ALTER TABLE elsewhere RENAME TO login_session")
    recorder.write(database)
    assert {row["key_id"] for row in env.rows("login_session")} == {keys.key_id}


def test_access_token_is_not_rewritten_on_use(env, alice, statements):
    """TK-07: it can be decrypted, so `keys rewrite` does it."""
    recorder = UsageRecorder()
    rewrite = StaleDigest(CredentialKind.ACCESS_TOKEN, alice.user_id, b"b" * 32, b"a" * 32)
    recorder.record_observed([rewrite], env.clock.now)
    recorder.write(env.database)
    assert statements == []
