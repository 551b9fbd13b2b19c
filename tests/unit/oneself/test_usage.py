"""When credentials were last used, written down in batches."""

from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from accounts.api_keys import create_api_key
from accounts.login_sessions import list_sessions, open_session
from accounts.personal_access_tokens import create_pat
from accounts.principal import Credential, CredentialKind
from accounts.rules import Rules
from oneself.transactions import Database
from oneself.usage import UsageRecorder


def _credential(kind, credential_id):
    return Credential(kind, credential_id, frozenset())


def _last_used(house, table):
    return {row["id"]: row["last_used_at"] for row in house.rows(table)}


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


def test_each_kind_is_written_into_its_own_table(house, alice, clock):
    """The moment is the one that was noted, not the one of the writing."""
    key, _ = house.act(
        create_api_key,
        alice.principal,
        name="Key",
        scopes=["keys:read"],
        dataset_access_mode="all_available",
        expires_at=None,
    )
    client, secret = house.client(alice.person.tenant_id)
    pat, _ = house.act(
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
    recorder.write(house.database)
    for table in ("login_session", "api_key", "personal_access_token"):
        assert list(_last_used(house, table).values()) == ["2026-04-05 10:01:00.000000"]
    assert house.act(list_sessions, alice.user_id)[0].last_used_at == used


def test_nobody_elses_credential_is_touched(house, alice, bob, clock):
    """Ids are compared with their kind."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    recorder.note(_credential(CredentialKind.PAT, bob.principal.credential.id), clock.now)
    recorder.write(house.database)
    assert _last_used(house, "login_session")[bob.principal.credential.id] is None


def test_a_thousand_uses_are_a_few_statements(house, alice, clock, statements):
    """No request waits for a write of its own (TK-16)."""
    sessions = [alice.principal.credential]
    for _ in range(9):
        house.act(open_session, alice.user_id)
    sessions = [
        _credential(CredentialKind.SESSION, each.id)
        for each in house.act(list_sessions, alice.user_id)
    ]
    recorder = UsageRecorder()
    for number in range(1000):
        recorder.note(sessions[number % 10], clock.move(seconds=1))
    statements.clear()
    recorder.write(house.database)
    assert len(statements) <= 3
    latest = sorted(_last_used(house, "login_session").values())
    assert len(latest) == 10
    assert latest[-1].startswith(clock.now.strftime("%Y-%m-%d %H:%M:%S"))


def test_where_nothing_was_used_nothing_is_written(house, alice, clock, statements):
    """There is not even a transaction."""
    recorder = UsageRecorder()
    recorder.write(house.database)
    recorder.note(_credential(CredentialKind.ACCESS_TOKEN, alice.user_id), clock.now)
    recorder.write(house.database)
    assert statements == []


def test_what_was_written_is_written_once(house, alice, clock, statements):
    """The second time there is nothing left."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    recorder.write(house.database)
    statements.clear()
    recorder.write(house.database)
    assert statements == []


def test_what_could_not_be_written_is_kept(house, alice, clock, tmp_path):
    """The next time may be better (DB-05)."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    without_tables = Database(tmp_path / "empty.sqlite3", keys=house.keys, rules=Rules())
    with pytest.raises(OperationalError):
        recorder.write(without_tables)
    without_tables.close()
    recorder.write(house.database)
    assert None not in _last_used(house, "login_session").values()


def test_a_use_during_the_writing_is_written_the_next_time(house, alice, clock):
    """A later moment is not forgotten with the earlier one that was written."""
    recorder = UsageRecorder()
    recorder.note(alice.principal.credential, clock.now)
    with house.database.transaction(writing=False) as session:
        engine = session.core.engine
    later = clock.now + timedelta(minutes=5)
    event.listen(
        engine,
        "before_cursor_execute",
        lambda *_: recorder.note(alice.principal.credential, later),
        once=True,
    )
    recorder.write(house.database)
    assert list(_last_used(house, "login_session").values()) == ["2026-04-05 10:00:00.000000"]
    recorder.write(house.database)
    assert list(_last_used(house, "login_session").values()) == ["2026-04-05 10:05:00.000000"]
