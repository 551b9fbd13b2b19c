"""Incremental verification of the event chain."""

from datetime import timedelta

import pytest

from accounts.jobs.event_verification import Verified
from models import SecurityEvent
from tests.support.chain import add_events, id_at, verify


@pytest.fixture
def verified(env):
    """A chain of ten links that was verified as a whole, without the triggers."""
    add_events(env, 10)
    for table in ("security_event", "event_link"):
        for verb in ("update", "delete"):
            env.drop_trigger(table, verb)
    return verify(env).verified


def test_only_new_links_are_read(env, verified):
    """LO-04, reliability finding 10: the cost depends on what was added since."""
    add_events(env, 3)
    report = verify(env, verified, again=0)
    assert (report.checked, report.again, report.problems) == (3, 0, ())
    assert report.verified.sequence == 13
    assert verify(env, report.verified, again=0).checked == 0


def test_older_links_are_verified_again_in_turns(env, verified):
    """LO-04, reliability finding 10: four at a time, and then from the beginning."""
    turns, since = [], verified
    for _ in range(4):
        report = verify(env, since, again=4)
        since = report.verified
        turns.append((report.again, since.again))
    assert turns == [(4, 4), (4, 8), (2, 0), (4, 4)]


@pytest.mark.parametrize("number", [1, 5, 10])
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE security_event SET source = '192.0.2.9' WHERE id = '{event}'",
        "DELETE FROM security_event WHERE id = '{event}'",
        "DELETE FROM event_link WHERE sequence = {number}",
        "UPDATE event_link SET key_id = '00000000' WHERE sequence = {number}",
    ],
    ids=["event altered", "event deleted", "link deleted", "link altered"],
)
def test_change_to_a_verified_link_is_found_within_a_round(env, verified, number, attack):
    """LO-04, reliability finding 10: an attacker cannot make the check skip it for good."""
    ids = [row["event_id"] for row in sorted(env.rows("event_link"), key=lambda r: r["sequence"])]
    env.execute(attack.format(event=ids[number - 1], number=number))
    problems, since = [], verified
    for _ in range(3):
        report = verify(env, since, again=4)
        problems += report.problems
        if report.verified is None:
            break
        since = report.verified
    assert problems


def test_longer_gap_than_a_turn_is_found(env, verified):
    """LO-04, reliability finding 10: with no link left in the part that is read."""
    env.execute("DELETE FROM event_link WHERE sequence BETWEEN 3 AND 9")
    report = verify(env, verified._replace(again=2), again=4)
    assert report.problems[0] == "links 3 to 6 are missing"


def test_cut_chain_lacks_the_verified_head(env, verified):
    """LO-04, reliability finding 10: even if the service has chained other events meanwhile."""
    env.execute("DELETE FROM event_link WHERE sequence > 5")
    env.execute("UPDATE security_event SET source = '192.0.2.9'")
    env.execute("DELETE FROM security_event WHERE id NOT IN (SELECT event_id FROM event_link)")
    problem = "link 10, which was verified last time, is no longer in the chain"
    assert problem in verify(env, verified).problems
    add_events(env, 8)
    report = verify(env, verified)
    assert problem in report.problems
    assert report.verified is None


def test_inserted_event_is_found_within_a_round(env, verified, clock):
    """LO-04, reliability finding 10: backdated, and without a link."""
    now = clock.now
    clock.now = now - timedelta(days=1)
    forged_id = id_at(clock.now)
    with env.database.transaction(writing=True) as session:
        session.add(SecurityEvent(id=forged_id, kind="a", occurred_at=clock.now, details={}))
    clock.now = now
    assert verify(env, verified, again=0).problems == ()
    assert verify(env, verified, again=4).problems == (
        f"event {forged_id} is older than ten minutes and has no link",
    )


def test_made_up_progress_is_not_believed(env, verified):
    """LO-04: the digest must be that of the link."""
    report = verify(env, Verified(9, verified.digest))
    assert report.problems == ("link 9, which was verified last time, is no longer in the chain",)
