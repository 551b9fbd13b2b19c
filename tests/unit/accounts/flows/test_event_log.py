"""Listing a user's own security events."""

import base64
import string
from datetime import timedelta

import pytest
from sqlalchemy import event

from accounts.crypto.keyring import Keyring, Purpose
from accounts.errors import InvalidRequest, Violation
from accounts.flows.event_log import list_events
from accounts.values.identifiers import new_uuid
from models import SecurityEvent
from oneself.database import Database
from tests.unit.conftest import explain_query

BASE64URL = frozenset(string.ascii_letters + string.digits + "-_")


def _add_event(env, user, time, *, event_id=None):
    """Add an event of a user at a time, and return its id."""
    row = SecurityEvent(
        id=event_id or new_uuid(),
        kind="user_updated",
        tenant_id=user.view.tenant_id,
        user_id=user.user_id,
        occurred_at=time,
        details={},
    )
    with env.database.transaction(writing=True) as session:
        session.add(row)
        return row.id


def _page(env, user, cursor=None, limit=2):
    page = env.act(list_events, user.user_id, limit=limit, cursor=cursor)
    return [listed.id for listed in page.events], page.next_cursor


def _all(env, user, limit=2):
    """Return the ids of all pages in order."""
    ids, cursor = _page(env, user, None, limit)
    while cursor is not None:
        next_page, cursor = _page(env, user, cursor, limit)
        assert next_page
        ids += next_page
    return ids


@pytest.fixture
def no_events(env, alice, bob):  # noqa: ARG001 # they must exist before the events are deleted
    """The environment with alice and bob, and without any events."""
    env.drop_trigger("security_event", "delete")
    env.execute("DELETE FROM security_event")
    return env


@pytest.fixture
def five(no_events, alice, clock):
    """The ids of five events of alice, newest first."""
    return [_add_event(no_events, alice, clock.move(minutes=1)) for _ in range(5)][::-1]


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 100])
def test_pages_contain_all_events_newest_first(no_events, alice, five, limit):
    """HT-21: each page has the requested size, and no event is missed or repeated."""
    first, _ = _page(no_events, alice, None, limit)
    assert len(first) == min(limit, 5)
    assert _all(no_events, alice, limit) == five


def test_last_page_has_no_cursor(no_events, alice, five):
    """HT-21: also if it is exactly full."""
    ids, cursor = _page(no_events, alice, None, 5)
    assert (ids, cursor) == (five, None)


def test_user_without_events_gets_an_empty_page(no_events, alice):
    """HT-21: this is no error."""
    assert _page(no_events, alice) == ([], None)


def test_events_of_the_same_time_have_a_stable_order(no_events, alice, clock):
    """HT-20: the id decides, so that a page can end between two of them."""
    ids = sorted((_add_event(no_events, alice, clock.now) for _ in range(7)), reverse=True)
    assert _all(no_events, alice, 3) == ids


def test_cursor_is_exact_to_the_microsecond(no_events, alice, clock):
    """HT-20: a rounded cursor would repeat or skip events."""
    times = [clock.now + timedelta(microseconds=step) for step in range(4)]
    ids = [_add_event(no_events, alice, time) for time in times][::-1]
    assert _all(no_events, alice, 1) == ids


def test_new_events_between_pages_hide_and_repeat_nothing(no_events, alice, five, clock):
    """HT-20: a page continues after an event, not after a count."""
    first, cursor = _page(no_events, alice)
    newest = _add_event(no_events, alice, clock.move(minutes=1))
    second, _ = _page(no_events, alice, cursor)
    assert first + second == five[:4]
    assert _page(no_events, alice)[0][0] == newest


def test_user_sees_only_their_own_events(no_events, alice, bob, five, clock):
    """LO-07: on the first page and on later ones."""
    _add_event(no_events, bob, clock.now - timedelta(minutes=2))
    assert _all(no_events, alice) == five
    assert len(_all(no_events, bob)) == 1


def test_cursor_of_another_user_is_rejected(no_events, alice, bob, five):  # noqa: ARG001 # to be listed
    """LO-07: a cursor is valid only for the user who received it (HT-20)."""
    _, cursor = _page(no_events, alice)
    with pytest.raises(InvalidRequest) as caught:
        _page(no_events, bob, cursor)
    (violation,) = caught.value.violations
    assert violation == Violation(("cursor",), "must be a cursor of an earlier page")


def test_cursor_changed_anywhere_is_rejected(no_events, alice, five):  # noqa: ARG001 # as above
    """HT-20: every character counts, including those that a lenient decoder treats as equal."""
    _, cursor = _page(no_events, alice)
    for position, character in enumerate(cursor):
        for replacement in {chr(ord(character) ^ 1), "A", "B", "+", "/", "="} - {character}:
            with pytest.raises(InvalidRequest):
                _page(no_events, alice, cursor[:position] + replacement + cursor[position + 1 :])


def test_respelled_cursor_is_rejected(no_events, alice, five):  # noqa: ARG001 # as above
    """HT-20: + for -, / for _, padding and blanks would decode to the same bytes."""
    cursor = next(
        candidate
        for candidate in (_page(no_events, alice)[1] for _ in range(100))
        if {"-", "_"} <= {*candidate}
    )
    for spelling in (
        cursor.replace("-", "+"),
        cursor.replace("_", "/"),
        cursor + "====",
        cursor + "\n",
        " " + cursor,
    ):
        with pytest.raises(InvalidRequest):
            _page(no_events, alice, spelling)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "A",
        "AAAA",
        "A" * 136,
        "é",
        "\ud800",
        "' OR 1=1 --",
        "2026-04-05T10:00:00+00:00|0",
        base64.urlsafe_b64encode(b"2026-04-05T10:00:00+00:00|0").decode(),
    ],
    ids=range(9),
)
def test_forged_cursor_is_rejected(no_events, alice, forged):
    """HT-20: CVE-2026-33503 began with a cursor that anyone could make."""
    with pytest.raises(InvalidRequest):
        _page(no_events, alice, forged)


def test_truncated_cursor_is_rejected(no_events, alice, five):  # noqa: ARG001 # as above
    """HT-20: at every length."""
    _, cursor = _page(no_events, alice)
    for length in range(len(cursor)):
        with pytest.raises(InvalidRequest):
            _page(no_events, alice, cursor[:length])


def test_value_sealed_for_another_purpose_or_list_is_no_cursor(no_events, alice, five, keys, clock):
    """HT-20: other sealed values of the same user do not open here."""
    place = f"{clock.now.isoformat()}|{five[0]}"
    for purpose, row in (
        (Purpose.ACCESS_TOKEN, f"events|{alice.user_id}"),
        (Purpose.CURSOR, f"sessions|{alice.user_id}"),
        (Purpose.CURSOR, alice.user_id),
    ):
        sealed = keys.seal(purpose, place, row)
        with pytest.raises(InvalidRequest):
            _page(no_events, alice, base64.urlsafe_b64encode(sealed).decode().rstrip("="))


def test_cursor_is_short_and_opaque(no_events, alice, five):
    """HT-20: it fits into a query, and reveals neither the time nor the id."""
    _, cursor = _page(no_events, alice)
    assert len(cursor) <= 200
    assert set(cursor) <= BASE64URL
    decoded = base64.urlsafe_b64decode(cursor + "==")
    assert five[1].encode() not in decoded
    assert b"2026" not in decoded
    assert _page(no_events, alice)[1] != cursor


def test_cursor_survives_key_rotation(no_events, alice, five, clock):
    """HT-20: a reader is not sent back to the first page."""
    _, cursor = _page(no_events, alice)
    rotated = Database(
        no_events.location, keys=Keyring(b"y" * 32, b"x" * 32), limits=no_events.limits, clock=clock
    )
    with rotated.transaction(writing=False) as session:
        page = list_events(session, alice.user_id, limit=2, cursor=cursor)
    rotated.close()
    assert [listed.id for listed in page.events] == five[2:4]


@pytest.mark.parametrize("later", [False, True])
def test_page_is_one_statement_over_the_index(no_events, alice, five, later):  # noqa: ARG001 # as above
    """HT-21: the cost of a page does not depend on the number of events."""
    cursor = _page(no_events, alice)[1] if later else None
    statements = []
    with no_events.database.transaction(writing=False) as session:

        def record(_connection, _cursor, statement, parameters, *_rest):
            statements.append((statement, parameters))

        event.listen(session.core, "before_cursor_execute", record)
        list_events(session, alice.user_id, limit=2, cursor=cursor)
        event.remove(session.core, "before_cursor_execute", record)
        ((statement, parameters),) = statements
        steps = explain_query(session, statement, parameters)
    if no_events.on_sqlite:
        (step,) = steps
        assert "USING INDEX ix_security_event_of_user (user_id=?" in step
    else:
        _limit, scan, step = steps
        assert "Index Scan Backward using ix_security_event_of_user" in scan
        assert "Index Cond: (" in step
        assert "(user_id)::text = " in step
    assert ("occurred_at" in step) is later
