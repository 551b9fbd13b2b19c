"""Erasing deleted accounts, and verifying the event chain afterwards."""

import io
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.flows.deletion.account_deletion import delete_account, restore_user
from accounts.flows.sign_in.sessions import open_session
from accounts.jobs.erasure import find_erasures
from accounts.jobs.event_archive import (
    archive_lines,
    delete_sealed,
    find_part,
    seal_part,
    verify_archive,
)
from accounts.origin import Origin
from accounts.services.events import EventKind, record_event
from models import metadata
from tests.support.chain import add_events, chain_pending, verify

ADDRESS = "203.0.113.7"
ERASED = "id IN (SELECT event_id FROM event_erasure)"


@pytest.fixture
def deleted(env, alice):
    """A user whose account is due, with events from an address, and another user."""
    env.user("bob@example.com")
    with env.database.transaction(writing=True, origin=Origin(address=ADDRESS)) as session:
        record_event(session, EventKind.LOGIN_SUCCESS, alice.view)
    env.act(delete_account, alice.view)
    env.clock.move(days=14)
    add_events(env, 1)
    return alice


def _erase(env):
    """Run the job until nothing is left, as `run_found_parts` does; returns the parts."""
    count = 0
    while parts := _find(env):
        for part in parts:
            env.act(part)
        count += len(parts)
        assert count < 100
    return count


def _find(env):
    with env.database.transaction(writing=False) as session:
        return find_erasures(session)


def _sources(env):
    return {row["source"] for row in env.rows("security_event")}


def test_nothing_of_the_account_is_left_but_its_events(env, deleted):
    """AD-04: no row has the id, and no file the address."""
    assert _erase(env)
    for table in set(metadata.tables) - {"security_event"}:
        for row in env.rows(table):
            assert deleted.user_id not in row.values(), table
            assert "alice@example.com" not in str(row), table
    assert ADDRESS not in _sources(env)
    kinds = [r["kind"] for r in env.rows("security_event") if r["user_id"] == deleted.user_id]
    assert "user_deleted" in kinds
    assert "authn_login_success" in kinds


@pytest.mark.usefixtures("deleted")
def test_other_accounts_are_untouched(env):
    """AD-04."""
    before = [row for row in env.rows("user") if row["email"] == "bob@example.com"]
    _erase(env)
    assert env.rows("user") == before
    assert env.count("login_session") == 1


@pytest.mark.usefixtures("deleted")
def test_address_is_free_after_the_erasure(env):
    """AD-04."""
    _erase(env)
    env.user("alice@example.com")


def test_tenant_of_others_stays(env):
    """AD-04: it is deleted with its last user."""
    tenant = env.tenant("Shared")
    users = [env.user(f"{name}@example.com", tenant=tenant) for name in ("carol", "dave")]
    for user, left in zip(users, (1, 0), strict=True):
        env.act(delete_account, user.view, at_once=True)
        env.act(chain_pending)
        _erase(env)
        assert len([row for row in env.rows("tenant") if row["id"] == tenant.id]) == left


def test_tenant_with_clients_stays(env):
    """AD-04: clients are an operator's."""
    tenant = env.tenant("Shared")
    env.client(tenant.id)
    user = env.user("carol@example.com", tenant=tenant)
    env.act(delete_account, user.view, at_once=True)
    env.act(chain_pending)
    _erase(env)
    assert [row["id"] for row in env.rows("tenant")] == [tenant.id]


def test_account_is_not_erased_early(env, alice):
    """AD-04."""
    env.act(delete_account, alice.view)
    env.act(chain_pending)
    env.clock.move(days=13, hours=23)
    assert _find(env) == []


def test_restored_account_is_not_erased(env, deleted):
    """AD-04: also if it is restored after the job has found it."""
    parts = _find(env)
    env.act(restore_user, deleted.user_id)
    for part in parts:
        env.act(part)
    assert _find(env) == []
    assert ADDRESS in _sources(env)
    assert env.count("user") == 2


def test_account_waits_for_its_events_to_be_chained(env, alice):
    """AD-05: the digest of an event has to cover what happened."""
    with env.database.transaction(writing=True, origin=Origin(address=ADDRESS)) as session:
        record_event(session, EventKind.LOGIN_SUCCESS, alice.view)
    env.act(delete_account, alice.view, at_once=True)
    assert _find(env) == []
    env.act(chain_pending)
    assert _erase(env)


@pytest.mark.usefixtures("deleted")
def test_chain_is_valid_after_an_erasure(env):
    """AD-05, LO-04: as a whole, and since the last verification."""
    verified = verify(env).verified
    _erase(env)
    add_events(env, 2)
    assert verify(env).problems == ()
    assert verify(env, verified).problems == ()


@pytest.mark.usefixtures("deleted")
def test_altered_event_stays_a_problem_after_its_erasure(env):
    """AD-05: an erasure must not make an alteration genuine."""
    env.drop_trigger("security_event", "update")
    env.execute("UPDATE security_event SET kind = 'session_logout' WHERE source = ?", ADDRESS)
    _erase(env)
    assert ADDRESS not in _sources(env)
    [problem] = verify(env).problems
    assert "was altered" in problem


@pytest.mark.parametrize(
    "attack",
    [
        f"UPDATE security_event SET source = '192.0.2.9' WHERE {ERASED}",  # noqa: S608 # a test's
        f"UPDATE security_event SET kind = 'x' WHERE {ERASED}",  # noqa: S608 # as above
        "UPDATE event_erasure SET erased_at = '2026-01-01 00:00:00.000000'",
        "DELETE FROM event_erasure",
    ],
    ids=["address", "kind", "time", "erasure deleted"],
)
@pytest.mark.usefixtures("deleted")
def test_change_after_an_erasure_is_found(env, attack):
    """AD-05, LO-04: with the triggers, it is refused; without them, verification finds it."""
    _erase(env)
    with pytest.raises(IntegrityError):
        env.execute(attack)
    for table, verb in (
        ("security_event", "update"),
        ("event_erasure", "update"),
        ("event_erasure", "delete"),
    ):
        env.drop_trigger(table, verb)
    env.execute(attack)
    assert verify(env).problems


@pytest.mark.usefixtures("deleted")
def test_event_without_an_erasure_keeps_its_client_address(env):
    """LO-04: the trigger lets the address go only with an erasure that can be verified."""
    with pytest.raises(IntegrityError):
        env.execute("UPDATE security_event SET source = NULL WHERE source = ?", ADDRESS)


@pytest.mark.usefixtures("deleted")
def test_erased_events_are_archived_and_deleted(env):
    """AD-05: the file is verified by itself."""
    _erase(env)
    add_events(env, 2)
    env.clock.move(days=1)
    with env.database.transaction(writing=False) as session:
        part = find_part(session, chained_before=session.now - timedelta(hours=1))
    with env.database.transaction(writing=False, snapshot=True) as session:
        content = b"".join(archive_lines(session, part))
    assert ADDRESS.encode() not in content
    report = verify_archive(io.BytesIO(content), env.keys)
    assert report.problems == ()
    env.act(seal_part, report.seal)
    while part is not None:
        part = env.act(delete_sealed, part)
    assert env.count("event_erasure") == 0
    assert verify(env).problems == ()


@pytest.mark.usefixtures("deleted")
def test_altered_line_of_an_erased_event_is_found(env):
    """AD-05: in the file as well."""
    _erase(env)
    add_events(env, 2)
    env.clock.move(days=1)
    with env.database.transaction(writing=False) as session:
        part = find_part(session, chained_before=session.now - timedelta(hours=1))
    with env.database.transaction(writing=False, snapshot=True) as session:
        content = b"".join(archive_lines(session, part))
    lines = content.splitlines(keepends=True)
    number = next(n for n, line in enumerate(lines) if b'"erasure"' in line)
    lines[number] = lines[number].replace(b"authn_login_success", b"authn_login_fail")
    report = verify_archive(io.BytesIO(b"".join(lines)), env.keys)
    assert f"the link or the event in line {number + 1} was altered" in report.problems


def test_live_session_does_not_keep_an_account(env, alice):
    """AD-04: whatever was added by a race with the deletion goes as well."""
    env.act(delete_account, alice.view, at_once=True)
    env.act(open_session, alice.user_id)
    env.act(chain_pending)
    _erase(env)
    assert env.count("login_session") == 0
    assert env.count("user") == 0
