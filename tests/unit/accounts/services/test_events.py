"""Recording security events."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from accounts.errors import NotFound, WrongPassword
from accounts.jobs.event_verification import verify_chain
from accounts.origin import Origin
from accounts.services.events import (
    EventKind,
    observe_event,
    record_event,
    record_events,
    record_update,
    write_observations,
)
from models import SecurityEvent, User
from tests.support.chain import chain_pending

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ORIGIN = Origin("req_0123456789ab", "192.0.2.7", "session", "ses_0123456789ab")


@pytest.fixture
def alice_without_events(env, alice):
    """Alice, without any recorded events."""
    for verb in ("update", "delete"):
        env.drop_trigger("security_event", verb)
    env.execute("DELETE FROM security_event")
    return alice


def _record(env, view, kind=EventKind.PASSWORD_CHANGE, origin=ORIGIN, **details):
    with env.database.transaction(writing=True, origin=origin) as session:
        record_event(session, kind, view, **details)


def _only_event(env):
    with env.database.transaction(writing=False) as session:
        return session.exec(select(SecurityEvent)).one()


def test_event_has_user_kind_time_and_origin(env, alice_without_events, clock):
    """LO-02: kind, user and tenant, time of the act, request and source."""
    view = alice_without_events.view
    _record(env, view, EventKind.TOKEN_CREATED, token_kind="pat", token_id="pat_1")
    fields = _only_event(env).model_dump()
    assert UUID7.fullmatch(fields.pop("id"))
    assert fields == {
        "kind": "authn_token_created",
        "tenant_id": view.tenant_id,
        "user_id": view.user_id,
        "occurred_at": clock.now,
        "request_id": "req_0123456789ab",
        "source": "192.0.2.7",
        "credential_kind": "session",
        "credential_id": "ses_0123456789ab",
        "details": {"token_kind": "pat", "token_id": "pat_1"},
    }


def test_operator_event_has_no_origin(env, alice_without_events):
    """LO-02: there is no request, and still an event."""
    with env.database.transaction(writing=True) as session:
        record_event(session, EventKind.USER_ARCHIVED, alice_without_events.view)
    (row,) = env.rows("security_event")
    names = ("request_id", "source", "credential_kind", "credential_id")
    assert [row[name] for name in names] == [None] * 4
    assert row["details"] == "{}"


def test_each_event_has_its_own_row(env, alice_without_events):
    """LO-02: exactly one for each, also at the same time."""
    _record(env, alice_without_events.view)
    _record(env, alice_without_events.view)
    assert len({row["id"] for row in env.rows("security_event")}) == 2


@pytest.mark.parametrize("error", [NotFound, ValueError])
def test_event_is_rolled_back_with_its_change(env, alice_without_events, error):
    """LO-03: a rolled-back change leaves no event."""

    def fail(session):
        record_event(session, EventKind.USER_UPDATED, alice_without_events.view)
        session.flush()
        raise error

    with pytest.raises(error):
        env.act(fail)
    assert env.count("security_event") == 0


def test_failure_event_is_kept_when_the_refusal_keeps_writes(env, alice_without_events):
    """LO-03: refusals that keep their writes keep the event of the failure."""

    def fail(session):
        record_event(session, EventKind.PASSWORD_CHANGE_FAIL, alice_without_events.view)
        raise WrongPassword

    with pytest.raises(WrongPassword):
        env.act(fail)
    assert [row["kind"] for row in env.rows("security_event")] == ["authn_password_change_fail"]


def test_change_is_rolled_back_when_its_event_cannot_be_written(env, alice_without_events):
    """LO-08: an account is not changed without a trace."""

    def change(session):
        session.core.execute(update(User).values(display_name="Changed"))
        record_event(session, EventKind.USER_UPDATED, alice_without_events.view)

    with env.failing_on("security_event", "INSERT"), pytest.raises(IntegrityError, match="broken"):
        env.act(change)
    assert [row["display_name"] for row in env.rows("user")] == ["A Person"]


def _update(env, user, *fields, origin=ORIGIN):
    with env.database.transaction(writing=True, origin=origin) as session:
        record_update(session, user.view, *fields)


def test_repeated_updates_within_a_minute_are_one_event(env, alice_without_events, clock):
    """LO-02, attack finding 8: one token cannot fill the table."""
    alice = alice_without_events
    for number in range(60):
        _update(env, alice, "phone", origin=ORIGIN._replace(request_id=f"req_{number:012}"))
        clock.move(seconds=1)
    (row,) = env.rows("security_event")
    assert (row["kind"], row["request_id"]) == ("user_updated", "req_000000000000")
    assert row["details"] == '{"fields":"phone"}'
    clock.move(microseconds=1)
    _update(env, alice, "phone")
    assert env.count("security_event") == 2


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        (("locale",), {}),
        (("locale", "phone"), {}),
        (("phone",), {"credential_id": "ses_another"}),
        (("phone",), {"credential_kind": "jwt"}),
        (("phone",), {"credential_kind": None, "credential_id": None}),
        (("phone",), {"address": "192.0.2.8"}),
        (("phone",), {"address": None}),
    ],
)
def test_different_updates_are_events_of_their_own(env, alice_without_events, fields, change):
    """LO-02: other fields, another credential or another address."""
    _update(env, alice_without_events, "phone")
    _update(env, alice_without_events, *fields, origin=ORIGIN._replace(**change))
    assert env.count("security_event") == 2


def test_updates_without_a_credential_or_of_others_are_not_merged(env, alice_without_events, bob):
    """LO-02: of an operator, and of two users."""
    env.execute("DELETE FROM security_event")
    for user in (alice_without_events, alice_without_events, bob):
        _update(env, user, "phone", origin=Origin())
    _update(env, alice_without_events, "phone")
    _update(env, bob, "phone")
    assert env.count("security_event") == 5


def test_update_of_a_clock_that_was_ahead_hides_no_other(env, alice_without_events, clock):
    """LO-02, OP-10."""
    clock.move(hours=1)
    _update(env, alice_without_events, "phone")
    clock.move(hours=-1)
    _update(env, alice_without_events, "phone")
    assert env.count("security_event") == 2


def test_chain_of_merged_events_is_valid(env, alice_without_events, clock):
    """LO-04: an event that was merged into another is not written, and nothing is changed."""
    for _ in range(3):
        _update(env, alice_without_events, "phone")
        env.act(chain_pending)
        clock.move(seconds=40)
    assert env.count("security_event") == 2
    report = env.act(verify_chain)
    assert (report.checked, report.unchained, report.problems) == (2, 0, ())


def test_hostile_text_is_stored_as_one_json_string(env, alice_without_events):
    """LO-05: no value can begin another line or another field."""
    hostile = "a\r\nb\x1b[31m\x00\u2028" + "x" * 1000
    _record(env, alice_without_events.view, name=hostile)
    assert _only_event(env).details == {"name": hostile}
    assert not re.search(r"[\x00-\x1f]", env.rows("security_event")[0]["details"])


def test_observations_are_written_later(env, alice_without_events, clock):
    """LO-02: one row for all observations of one kind and origin, without a request."""
    with env.database.transaction(writing=False, origin=ORIGIN) as session:
        observe_event(session, EventKind.SENSITIVE_READ, alice_without_events.view)
        observe_event(session, EventKind.SENSITIVE_READ, alice_without_events.view)
        observations = session.observed
    assert env.count("security_event") == 0
    assert len(set(observations)) == 1
    time = clock.now - timedelta(minutes=1)
    env.act(write_observations, {observations[0]: (2, time)})
    (row,) = env.rows("security_event")
    assert (row["kind"], row["details"]) == ("sensitive_read", '{"times":2}')
    assert (row["request_id"], row["source"]) == (None, "192.0.2.7")
    assert row["occurred_at"].startswith("2026-04-05 09:59:00")


def test_last_event_of_a_transaction_is_known(env, alice_without_events):
    """DB-12: it tells later whether the transaction was committed."""
    view = alice_without_events.view
    with env.database.transaction(writing=True, origin=ORIGIN) as session:
        assert session.event_id is None
        record_events(session, EventKind.TOKEN_REVOKED, view, [])
        assert session.event_id is None
        record_events(session, EventKind.TOKEN_REVOKED, view, [{"n": 1}, {"n": 2}])
        known = session.event_id
        record_update(session, view, "locale")
        assert session.event_id == known  # that of an update may be a repetition
    recorded = {row["id"] for row in env.rows("security_event")}
    assert len(recorded) == 3
    assert known in recorded
    with env.database.transaction(writing=True, origin=ORIGIN) as session:
        record_update(session, view, "locale")  # repeated within a minute
        assert session.event_id is None
