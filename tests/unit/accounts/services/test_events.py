"""Remembering what happened to an account."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from accounts.errors import NotFound, WrongPassword
from accounts.origin import Origin
from accounts.services.events import EventKind, observe_event, record_event, write_observations
from models import SecurityEvent, User

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ORIGIN = Origin("req_0123456789ab", "192.0.2.7", "session", "ses_0123456789ab")


@pytest.fixture
def nobody_else(env, alice):
    """Alice, in a house where nothing has been recorded yet: how she came to be is an event too."""
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


def test_an_event_says_who_what_when_and_where(env, nobody_else, clock):
    """LO-02: the kind, the person and tenant, the moment of the act, the request and its source."""
    view = nobody_else.view
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


def test_what_an_operator_does_is_from_nowhere(env, nobody_else):
    """LO-02: without a request there is no source to name, and an event all the same."""
    with env.database.transaction(writing=True) as session:
        record_event(session, EventKind.USER_ARCHIVED, nobody_else.view)
    (row,) = env.rows("security_event")
    names = ("request_id", "source", "credential_kind", "credential_id")
    assert [row[name] for name in names] == [None] * 4
    assert row["details"] == "{}"


def test_each_event_is_a_row_of_its_own(env, nobody_else):
    """LO-02: exactly once each, also at the same moment."""
    _record(env, nobody_else.view)
    _record(env, nobody_else.view)
    assert len({row["id"] for row in env.rows("security_event")}) == 2


@pytest.mark.parametrize("error", [NotFound, ValueError])
def test_an_event_goes_with_the_change_that_it_tells_of(env, nobody_else, error):
    """LO-03: what did not happen is not remembered."""

    def fail(session):
        record_event(session, EventKind.USER_UPDATED, nobody_else.view)
        session.flush()
        raise error

    with pytest.raises(error):
        env.act(fail)
    assert env.count("security_event") == 0


def test_a_failure_is_remembered_where_the_refusal_keeps_its_writes(env, nobody_else):
    """LO-03: a change that failed has a row of its failure."""

    def fail(session):
        record_event(session, EventKind.PASSWORD_CHANGE_FAIL, nobody_else.view)
        raise WrongPassword

    with pytest.raises(WrongPassword):
        env.act(fail)
    assert [row["kind"] for row in env.rows("security_event")] == ["authn_password_change_fail"]


def test_a_change_whose_event_cannot_be_written_does_not_happen(env, nobody_else):
    """LO-08: an account is not changed without a trace."""

    def change(session):
        session.core.execute(update(User).values(display_name="Changed"))
        record_event(session, EventKind.USER_UPDATED, nobody_else.view)

    with env.broken("security_event", "INSERT"), pytest.raises(IntegrityError, match="broken"):
        env.act(change)
    assert [row["display_name"] for row in env.rows("user")] == ["A Person"]


def test_hostile_text_is_one_json_string(env, nobody_else):
    """LO-05: no value in an event begins another line, or another field."""
    hostile = "a\r\nb\x1b[31m\x00\u2028" + "x" * 1000
    _record(env, nobody_else.view, name=hostile)
    assert _only_event(env).details == {"name": hostile}
    assert not re.search(r"[\x00-\x1f]", env.rows("security_event")[0]["details"])


def test_what_is_observed_is_written_later(env, nobody_else, clock):
    """LO-02: one row for all the readings of one kind and origin, which names no request."""
    with env.database.transaction(writing=False, origin=ORIGIN) as session:
        observe_event(session, EventKind.SENSITIVE_READ, nobody_else.view)
        observe_event(session, EventKind.SENSITIVE_READ, nobody_else.view)
        observed = session.observed
    assert env.count("security_event") == 0
    assert len(set(observed)) == 1
    moment = clock.now - timedelta(minutes=1)
    env.act(write_observations, {observed[0]: (2, moment)})
    (row,) = env.rows("security_event")
    assert (row["kind"], row["details"]) == ("sensitive_read", '{"times":2}')
    assert (row["request_id"], row["source"]) == (None, "192.0.2.7")
    assert row["occurred_at"].startswith("2026-04-05 09:59:00")
