"""Reading one's own security events."""

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
from tests.unit.conftest import explained

BASE64URL = frozenset(string.ascii_letters + string.digits + "-_")


def _happen(env, user, moment, *, event_id=None):
    """One more event of a person, at a moment; its id."""
    row = SecurityEvent(
        id=event_id or new_uuid(),
        kind="user_updated",
        tenant_id=user.view.tenant_id,
        user_id=user.user_id,
        occurred_at=moment,
        details={},
    )
    with env.database.transaction(writing=True) as session:
        session.add(row)
        return row.id


def _page(env, user, cursor=None, limit=2):
    page = env.act(list_events, user.user_id, limit=limit, cursor=cursor)
    return [each.id for each in page.events], page.next_cursor


def _all(env, user, limit=2):
    """The ids of all pages in turn."""
    ids, cursor = _page(env, user, None, limit)
    while cursor is not None:
        found, cursor = _page(env, user, cursor, limit)
        assert found
        ids += found
    return ids


@pytest.fixture
def quiet(env, alice, bob):  # noqa: ARG001 # they are there before it becomes quiet
    """The house, with alice and bob, and no events of theirs yet."""
    env.drop_trigger("security_event", "delete")
    env.execute("DELETE FROM security_event")
    return env


@pytest.fixture
def five(quiet, alice, clock):
    """The ids of five events of alice, newest first."""
    return [_happen(quiet, alice, clock.move(minutes=1)) for _ in range(5)][::-1]


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 6, 100])
def test_the_pages_together_are_all_events_newest_first(quiet, alice, five, limit):
    """HT-21: each page has as many as were asked for, and none is missed or repeated."""
    first, _ = _page(quiet, alice, None, limit)
    assert len(first) == min(limit, 5)
    assert _all(quiet, alice, limit) == five


def test_the_last_page_has_no_cursor(quiet, alice, five):
    """HT-21: also where it is exactly full."""
    ids, cursor = _page(quiet, alice, None, 5)
    assert (ids, cursor) == (five, None)


def test_who_has_no_events_has_an_empty_page(quiet, alice):
    """HT-21: it is no error."""
    assert _page(quiet, alice) == ([], None)


def test_events_of_one_moment_keep_an_order(quiet, alice, clock):
    """HT-20: the id decides, so that a page can end between two of them."""
    ids = sorted((_happen(quiet, alice, clock.now) for _ in range(7)), reverse=True)
    assert _all(quiet, alice, 3) == ids


def test_a_moment_is_told_to_the_microsecond(quiet, alice, clock):
    """HT-20: a cursor that rounded would repeat or hide its neighbours."""
    moments = [clock.now + timedelta(microseconds=step) for step in range(4)]
    ids = [_happen(quiet, alice, moment) for moment in moments][::-1]
    assert _all(quiet, alice, 1) == ids


def test_what_happens_between_two_pages_hides_and_repeats_nothing(quiet, alice, five, clock):
    """HT-20: a page goes on after an event, not after a number of them."""
    first, cursor = _page(quiet, alice)
    newest = _happen(quiet, alice, clock.move(minutes=1))
    second, _ = _page(quiet, alice, cursor)
    assert first + second == five[:4]
    assert _page(quiet, alice)[0][0] == newest


def test_a_person_sees_only_their_own_events(quiet, alice, bob, five, clock):
    """LO-07: not another person's, in the first page or in a later one."""
    _happen(quiet, bob, clock.now - timedelta(minutes=2))
    assert _all(quiet, alice) == five
    assert len(_all(quiet, bob)) == 1


def test_a_cursor_of_somebody_else_is_refused(quiet, alice, bob, five):  # noqa: ARG001 # they are listed
    """LO-07: a cursor is good for the person who was given it (HT-20)."""
    _, cursor = _page(quiet, alice)
    with pytest.raises(InvalidRequest) as refused:
        _page(quiet, bob, cursor)
    (violation,) = refused.value.violations
    assert violation == Violation(("cursor",), "must be a cursor of an earlier page")


def test_a_cursor_changed_anywhere_is_refused(quiet, alice, five):  # noqa: ARG001 # as above
    """HT-20: each character counts, also those that a lenient reader takes for the same."""
    _, cursor = _page(quiet, alice)
    for place, character in enumerate(cursor):
        for other in {chr(ord(character) ^ 1), "A", "B", "+", "/", "="} - {character}:
            with pytest.raises(InvalidRequest):
                _page(quiet, alice, cursor[:place] + other + cursor[place + 1 :])


def test_another_spelling_of_a_cursor_is_refused(quiet, alice, five):  # noqa: ARG001 # as above
    """HT-20: + for -, / for _, padding and blanks would be read as the same bytes."""
    cursor = next(
        found for found in (_page(quiet, alice)[1] for _ in range(100)) if {"-", "_"} <= {*found}
    )
    for spelling in (
        cursor.replace("-", "+"),
        cursor.replace("_", "/"),
        cursor + "====",
        cursor + "\n",
        " " + cursor,
    ):
        with pytest.raises(InvalidRequest):
            _page(quiet, alice, spelling)


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
def test_a_forged_cursor_is_refused(quiet, alice, forged):
    """HT-20: CVE-2026-33503 began with a cursor that anybody could make."""
    with pytest.raises(InvalidRequest):
        _page(quiet, alice, forged)


def test_a_cut_cursor_is_refused(quiet, alice, five):  # noqa: ARG001 # as above
    """HT-20: at every length."""
    _, cursor = _page(quiet, alice)
    for length in range(len(cursor)):
        with pytest.raises(InvalidRequest):
            _page(quiet, alice, cursor[:length])


def test_a_seal_for_another_purpose_or_list_is_no_cursor(quiet, alice, five, keys, clock):
    """HT-20: what is sealed for the same person elsewhere does not open here."""
    place = f"{clock.now.isoformat()}|{five[0]}"
    for purpose, row in (
        (Purpose.ACCESS_TOKEN, f"events|{alice.user_id}"),
        (Purpose.CURSOR, f"sessions|{alice.user_id}"),
        (Purpose.CURSOR, alice.user_id),
    ):
        sealed = keys.seal(purpose, place, row)
        with pytest.raises(InvalidRequest):
            _page(quiet, alice, base64.urlsafe_b64encode(sealed).decode().rstrip("="))


def test_a_cursor_is_short_and_tells_nothing(quiet, alice, five):
    """HT-20: it fits into a query, and neither the moment nor the id can be read from it."""
    _, cursor = _page(quiet, alice)
    assert len(cursor) <= 200
    assert set(cursor) <= BASE64URL
    opened = base64.urlsafe_b64decode(cursor + "==")
    assert five[1].encode() not in opened
    assert b"2026" not in opened
    assert _page(quiet, alice)[1] != cursor


def test_a_cursor_outlives_a_change_of_the_root_secret(quiet, alice, five, clock):
    """HT-20: who is reading is not sent back to the first page."""
    _, cursor = _page(quiet, alice)
    after = Database(
        quiet.location, keys=Keyring(b"y" * 32, b"x" * 32), limits=quiet.limits, clock=clock
    )
    with after.transaction(writing=False) as session:
        page = list_events(session, alice.user_id, limit=2, cursor=cursor)
    after.close()
    assert [each.id for each in page.events] == five[2:4]


@pytest.mark.parametrize("later", [False, True])
def test_a_page_is_one_statement_over_the_index(quiet, alice, five, later):  # noqa: ARG001 # as above
    """HT-21: a page costs what it shows, however many events there are."""
    cursor = _page(quiet, alice)[1] if later else None
    asked = []
    with quiet.database.transaction(writing=False) as session:

        def remember(_connection, _cursor, statement, parameters, *_rest):
            asked.append((statement, parameters))

        event.listen(session.core, "before_cursor_execute", remember)
        list_events(session, alice.user_id, limit=2, cursor=cursor)
        event.remove(session.core, "before_cursor_execute", remember)
        ((statement, parameters),) = asked
        steps = explained(session, statement, parameters)
    if quiet.on_sqlite:
        (step,) = steps
        assert "USING INDEX ix_security_event_of_user (user_id=?" in step
    else:
        _limit, scan, step = steps
        assert "Index Scan Backward using ix_security_event_of_user" in scan
        assert "Index Cond: (" in step
        assert "(user_id)::text = " in step
    assert ("occurred_at" in step) is later
