"""What reading leaves to be written, in batches."""

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


def _credential(kind, credential_id):
    return Credential(kind, credential_id, frozenset())


def _last_used(env, table):
    return {row["id"]: row["last_used_at"] for row in env.rows(table)}


@pytest.fixture
def statements(database):
    """Every statement that the database is given from now on."""
    seen = []
    with database.transaction(writing=False) as session:
        engine = session.core.engine

    def note(_connection, _cursor, statement, *_more):
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_each_kind_is_written_into_its_own_table(env, alice, clock):
    """The moment is the one that was noted, not the one of the writing."""
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
    recorder.note(alice.principal.credential, used)
    recorder.note(_credential(CredentialKind.API_KEY, key.id), used)
    recorder.note(_credential(CredentialKind.PAT, pat.id), used)
    clock.move(hours=1)
    recorder.write(env.database)
    for table in ("login_session", "api_key", "personal_access_token"):
        assert list(_last_used(env, table).values()) == ["2026-04-05 10:01:00.000000"]
    assert env.act(list_sessions, alice.user_id)[0].last_used_at == used


def test_nobody_elses_credential_is_touched(env, alice, bob, clock):
    """Ids are compared with their kind."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    recorder.note(_credential(CredentialKind.PAT, bob.principal.credential.id), clock.now)
    recorder.write(env.database)
    assert _last_used(env, "login_session")[bob.principal.credential.id] is None


def test_a_thousand_uses_are_a_few_statements(env, alice, clock, statements):
    """No request waits for a write of its own (TK-16)."""
    sessions = [alice.principal.credential]
    for _ in range(9):
        env.act(open_session, alice.user_id)
    sessions = [
        _credential(CredentialKind.SESSION, each.id)
        for each in env.act(list_sessions, alice.user_id)
    ]
    recorder = UsageRecorder()
    for number in range(1000):
        recorder.note(sessions[number % 10], clock.move(seconds=1))
    statements.clear()
    recorder.write(env.database)
    assert len(statements) <= 3
    latest = sorted(_last_used(env, "login_session").values())
    assert len(latest) == 10
    assert latest[-1].startswith(clock.now.strftime("%Y-%m-%d %H:%M:%S"))


def test_where_nothing_was_used_nothing_is_written(env, alice, clock, statements):
    """There is not even a transaction."""
    recorder = UsageRecorder()
    recorder.write(env.database)
    recorder.note(_credential(CredentialKind.ACCESS_TOKEN, alice.user_id), clock.now)
    recorder.write(env.database)
    assert statements == []


def test_what_was_written_is_written_once(env, alice, clock, statements):
    """The second time there is nothing left."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    recorder.write(env.database)
    statements.clear()
    recorder.write(env.database)
    assert statements == []


def test_what_could_not_be_written_is_kept(env, alice, clock, tmp_path):
    """The next time may be better (DB-05)."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    without_tables = Database(tmp_path / "empty.sqlite3", keys=env.keys, limits=Limits())
    with pytest.raises(OperationalError):
        recorder.write(without_tables)
    without_tables.close()
    recorder.write(env.database)
    assert None not in _last_used(env, "login_session").values()


def test_a_use_during_the_writing_is_written_the_next_time(env, alice, clock):
    """A later moment is not forgotten with the earlier one that was written."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    with env.database.transaction(writing=False) as session:
        engine = session.core.engine
    later = clock.now + timedelta(minutes=5)
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *_: recorder.note(alice.principal.credential, later),
        once=True,
    )
    recorder.write(env.database)
    assert list(_last_used(env, "login_session").values()) == ["2026-04-05 10:00:00.000000"]
    recorder.write(env.database)
    assert list(_last_used(env, "login_session").values()) == ["2026-04-05 10:05:00.000000"]


def _read_by(alice, address="192.0.2.7"):
    view = alice.view
    origin = Origin(address=address, credential_kind="session", credential_id="ses_1")
    return Observation(EventKind.SENSITIVE_READ, view.tenant_id, view.user_id, origin)


def _reads(env):
    rows = [row for row in env.rows("security_event") if row["kind"] == "sensitive_read"]
    return {
        row["source"]: (json.loads(row["details"])["times"], row["occurred_at"][:16])
        for row in rows
    }


def test_what_was_read_often_is_one_event_with_its_number(env, alice, clock):
    """LO-02: one for each source, with how often, and when for the last time."""
    recorder = UsageRecorder()
    for _ in range(3):
        recorder.record_observed([_read_by(alice)], clock.move(minutes=1))
    recorder.record_observed([_read_by(alice, "198.51.100.7"), _read_by(alice)], clock.now)
    clock.move(hours=1)
    recorder.write(env.database)
    assert _reads(env) == {
        "192.0.2.7": (4, "2026-04-05 10:03"),
        "198.51.100.7": (1, "2026-04-05 10:03"),
    }
    recorder.write(env.database)
    assert len(_reads(env)) == 2


def test_no_observation_is_lost_between_threads(env, alice, clock):
    """LO-02: a second thread sees the same just while the first one counts it."""
    recorder, noted, hashed = UsageRecorder(), threading.Event(), []

    def note_the_same():
        recorder.record_observed([_read_by(alice)], clock.now)
        noted.set()

    second = threading.Thread(target=note_the_same)

    class Counted(Observation):
        def __hash__(self):
            hashed.append(self)
            if len(hashed) == 2:  # the number has been read, and is about to be written
                second.start()
                noted.wait(0.2)
            return super().__hash__()

    recorder.record_observed([Counted(*_read_by(alice))], clock.now)
    second.join(10)
    recorder.write(env.database)
    assert _reads(env)["192.0.2.7"][0] == 2


def test_observations_that_could_not_be_written_are_added_to_later_ones(env, alice, clock):
    """DB-05: none is lost, and the later moment stands."""
    recorder = UsageRecorder()
    recorder.record_observed([_read_by(alice), _read_by(alice)], clock.now)
    env.execute("ALTER TABLE security_event RENAME TO elsewhere")
    with env.database.transaction(writing=False) as session:
        engine = session.core.engine
    # One more comes in while the writing is going wrong, and one after it.
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *_: recorder.record_observed(
            [_read_by(alice), _read_by(alice, "198.51.100.7")], clock.now
        ),
        once=True,
    )
    with pytest.raises(DBAPIError):
        recorder.write(env.database)
    env.execute("ALTER TABLE elsewhere RENAME TO security_event")
    recorder.record_observed([_read_by(alice)], clock.move(minutes=1))
    recorder.write(env.database)
    assert _reads(env) == {
        "192.0.2.7": (4, "2026-04-05 10:01"),
        "198.51.100.7": (1, "2026-04-05 10:00"),
    }


@pytest.fixture
def rotated(env):
    """The same database as a service opens it that has a new root secret first."""
    keys = Keyring(b"y" * 32, b"x" * 32)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    yield database, keys
    database.close()


def _seen_anew(database, token):
    """What authenticating under the new root leaves to be written."""
    with database.transaction(writing=False) as session:
        authenticate(session, Presented(CredentialKind.SESSION, token))
        return list(session.observed)


def test_a_credential_that_was_found_under_a_former_root_is_stored_anew(env, alice, rotated):
    """TK-07: by its use it comes under the present root, and is good there alone."""
    database, keys = rotated
    recorder = UsageRecorder()
    recorder.record_observed(_seen_anew(database, alice.token), env.clock.now)
    recorder.write(database)
    [row] = env.rows("login_session")
    assert (row["token_digest"], row["key_id"]) == (
        keys.digest(Purpose.SESSION, alice.token),
        keys.key_id,
    )
    assert _seen_anew(database, alice.token) == []


def test_what_is_another_token_by_now_is_not_stored_anew(env, alice, rotated):
    """TK-07: the digest that was read is compared in the statement that writes."""
    database, _ = rotated
    recorder = UsageRecorder()
    recorder.record_observed(_seen_anew(database, alice.token), env.clock.now)
    env.execute("UPDATE login_session SET token_digest = ?", b"z" * 32)
    before = env.rows("login_session")
    recorder.write(database)
    assert env.rows("login_session") == before


def test_what_was_found_under_a_former_root_is_kept_until_it_is_written(env, alice, rotated):
    """TK-07: a failure of the database forgets nothing (DB-05)."""
    database, keys = rotated
    other = env.act(open_session, alice.user_id).token
    recorder, meanwhile = UsageRecorder(), _seen_anew(database, other)
    recorder.record_observed(_seen_anew(database, alice.token), env.clock.now)
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


def test_an_access_token_is_left_to_who_rewrites_what_is_sealed(env, alice, statements):
    """TK-07: it can be read, so that it need not wait for its use."""
    recorder = UsageRecorder()
    anew = StaleDigest(CredentialKind.ACCESS_TOKEN, alice.user_id, b"b" * 32, b"a" * 32)
    recorder.record_observed([anew], env.clock.now)
    recorder.write(env.database)
    assert statements == []
