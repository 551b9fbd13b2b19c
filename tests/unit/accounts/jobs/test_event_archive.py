"""Archiving the oldest part of the event chain."""

import io
import json
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.crypto.keyring import Keyring, Purpose
from accounts.jobs.event_archive import (
    BrokenChain,
    archive_lines,
    delete_sealed,
    find_part,
    find_rest,
    seal_part,
    verify_archive,
)
from accounts.jobs.event_seals import Seal, find_seals
from accounts.jobs.event_verification import contains_head, verify_chain
from accounts.jobs.key_rotation import count_links, retire_root
from models import SecurityEvent
from tests.support.chain import add_events, chain_pending, id_at, verify

OTHER = b"y" * 32


def _find(env, **age):
    with env.database.transaction(writing=False) as session:
        return find_part(session, chained_before=session.now - timedelta(**age))


def _find_rest(env):
    with env.database.transaction(writing=False, snapshot=True) as session:
        return find_rest(session)


def _write(env, part):
    with env.database.transaction(writing=False, snapshot=True) as session:
        return b"".join(archive_lines(session, part))


def _check(content, keys, **options):
    return verify_archive(io.BytesIO(content), keys, **options)


def _archive(env, part):
    """Archive a part as the command does, and return its file."""
    content = _write(env, part)
    env.act(seal_part, _check(content, env.keys).seal)
    while part is not None:
        part = env.act(delete_sealed, part, at_most=2)
    return content


def _events(content):
    return [json.loads(line)["event"]["id"] for line in content.splitlines()[:-1]]


@pytest.fixture
def ids(env):
    """The ids of eight chained events of which six are older than a day."""
    old = add_events(env, 6)
    env.clock.move(days=1)
    return old + add_events(env, 2)


@pytest.fixture
def without_triggers(env, ids):  # noqa: ARG001 # they are the rows
    """An attacker with the whole database."""
    for table in ("security_event", "event_link", "event_seal"):
        for verb in ("update", "delete"):
            env.drop_trigger(table, verb)


def test_old_part_is_archived_and_the_rest_verified(env, ids):
    """LO-04, reliability finding 4: by age, and verification goes on from the seal."""
    part = _find(env, hours=12)
    assert part == (1, 6, b"")
    content = _archive(env, part)
    assert _events(content) == ids[:6]
    assert {row["id"] for row in env.rows("security_event")} == {*ids[6:]}
    report = verify(env)
    assert (report.checked, report.archived, report.problems) == (2, 6, ())
    assert _check(content, env.keys).problems == ()


def test_second_archive_continues_the_first(env, ids):
    """LO-04, reliability finding 4: no event is in both, and none in neither."""
    first = _archive(env, _find(env, hours=12))
    env.clock.move(days=1)
    more = add_events(env, 1)
    second = _archive(env, _find(env, hours=12))
    assert _events(first) + _events(second) == ids
    seals = [_check(content, env.keys).seal for content in (first, second)]
    assert (seals[1].first, seals[1].before) == (seals[0].last + 1, seals[0].head)
    assert [row["id"] for row in env.rows("security_event")] == more
    assert verify(env).problems == ()
    assert add_events(env, 1)
    assert verify(env).checked == 2


def test_newest_link_stays(env, ids):
    """LO-04: the job continues from it."""
    env.clock.move(days=400)
    part = _find(env, days=1)
    assert part.last == len(ids) - 1
    _archive(env, part)
    add_events(env, 1)
    report = verify(env)
    assert (report.checked, report.problems) == (2, ())


def test_nothing_old_is_nothing_to_archive(env, ids):
    """LO-04."""
    assert ids
    assert _find(env, days=2) is None


def test_empty_chain_has_nothing_to_archive(env):
    """LO-04."""
    assert _find(env, days=2) is None
    assert _find_rest(env) is None


def test_part_ends_where_links_become_younger(env):
    """LO-04: found by halving, for every length."""
    for day in range(9):
        env.clock.move(days=1)
        assert len(add_events(env, 1)) == 1
        assert [
            _find(env, days=age, hours=1) and _find(env, days=age, hours=1).last
            for age in range(day + 1)
        ] == [*range(day, 0, -1), None]


def test_archived_heads_are_found(env, ids):
    """LO-04: the last one by its seal, the others in the file."""
    assert ids
    links = sorted(env.rows("event_link"), key=lambda row: row["sequence"])
    content = _archive(env, _find(env, hours=12))
    heads = [link["chain_digest"] for link in links]
    assert [env.act(contains_head, head) for head in heads] == [False] * 5 + [True] * 3
    found = [_check(content, env.keys, head=head).has_head for head in heads]
    assert found == [True] * 6 + [False] * 2


def test_progress_from_before_the_archive_is_continued(env, ids):
    """LO-04, reliability finding 10: verification begins after the seal."""
    verified = verify(env).verified
    early = verified._replace(sequence=3, digest=b"")
    _archive(env, _find(env, hours=12))
    for since in (verified, early):
        report = verify(env, since)
        assert (report.problems, report.verified.sequence) == ((), len(ids))


# Rows that are not sealed


@pytest.mark.parametrize("table", ["security_event", "event_link", "event_seal"])
@pytest.mark.parametrize("verb", ["DELETE FROM {}", "UPDATE {} SET {} = {}"])
def test_triggers_reject_changes_of_all_but_sealed_rows(env, ids, table, verb):
    """LO-04: also after an archive; a seal is never changed."""
    assert ids
    _archive(env, _find(env, hours=12))
    column = "id" if table == "security_event" else "sequence"
    with pytest.raises(IntegrityError, match="only ever added"):
        env.execute(verb.format(table, column, column))


def test_sealed_rows_cannot_be_updated(env, ids):
    """LO-04: they can only be deleted."""
    assert ids
    env.act(seal_part, _check(_write(env, _find(env, hours=12)), env.keys).seal)
    for table in ("security_event", "event_link"):
        with pytest.raises(IntegrityError, match="only ever added"):
            env.execute(f"UPDATE {table} SET {'kind' if 'sec' in table else 'key_id'} = 'a'")  # noqa: S608 # ours


# A crash between the steps


def test_sealed_rows_that_were_not_deleted_are_reported_and_found(env, ids):
    """LO-04, reliability finding 4: a killed deletion is continued, from the newest."""
    part = _find(env, hours=12)
    env.act(seal_part, _check(_write(env, part), env.keys).seal)
    assert verify(env).problems == ("links 1 to 6 were archived and are still here",)
    rest = env.act(delete_sealed, part, at_most=4)
    assert rest.last == 2
    assert _find_rest(env) == rest
    while rest is not None:
        rest = env.act(delete_sealed, rest)
    assert verify(env).problems == ()
    assert {row["id"] for row in env.rows("security_event")} == {*ids[6:]}


def test_two_archives_at_once_seal_once(env, ids):
    """LO-04: the second is refused, and its file is not an archive."""
    assert ids
    seal = _check(_write(env, _find(env, hours=12)), env.keys).seal
    env.act(seal_part, seal)
    with pytest.raises(BrokenChain, match="meanwhile"):
        env.act(seal_part, seal)


@pytest.mark.usefixtures("without_triggers")
def test_chain_that_changed_meanwhile_is_not_sealed(env):
    """LO-04."""
    seal = _check(_write(env, _find(env, hours=12)), env.keys).seal
    env.execute("DELETE FROM event_link WHERE sequence = 6")
    with pytest.raises(BrokenChain, match="link 6 has changed"):
        env.act(seal_part, seal)


# Attacks with the database


@pytest.mark.usefixtures("without_triggers")
@pytest.mark.parametrize(
    ("attack", "problem"),
    [
        ("UPDATE security_event SET kind = 'b'", "link 1 or its event"),
        ("DELETE FROM event_link WHERE sequence = 3", "link 3 is missing"),
        ("DELETE FROM event_link WHERE sequence = 6", "link 6 is missing"),
        ("DELETE FROM event_link WHERE sequence < 3", "link 1 is missing"),
        ("DELETE FROM security_event", "is missing"),
    ],
)
def test_altered_chain_is_not_archived(env, attack, problem):
    """LO-04: an archive does not hide what happened before it."""
    part = _find(env, hours=12)
    env.execute(attack)
    with pytest.raises(BrokenChain, match=problem):
        _write(env, part._replace(last=6))


@pytest.mark.usefixtures("without_triggers")
@pytest.mark.parametrize(
    "change",
    [
        "first_sequence = 2",
        "sequence = 5",
        "previous_digest = chain_digest",
        "chain_digest = previous_digest",
        "file_digest = chain_digest",
        "sealed_at = '2026-04-05 10:00:00.000001'",
        "key_id = '00000000'",
        "seal_digest = chain_digest",
    ],
)
def test_altered_seal_is_detected(env, change):
    """LO-04: in any column; then the archived links are missing."""
    _archive(env, _find(env, hours=12))
    env.execute(f"UPDATE event_seal SET {change}")  # noqa: S608 # ours
    problems = verify(env).problems
    assert "was not made by the service" in problems[0]
    assert problems[1] == "links 1 to 6 are missing"
    with pytest.raises(BrokenChain):
        _find(env, hours=12)
    with pytest.raises(BrokenChain):
        _find_rest(env)


@pytest.mark.usefixtures("without_triggers")
def test_seal_under_another_root_hides_no_deletion(env):
    """LO-04: made up by an attacker who deletes the beginning of the chain."""
    links = sorted(env.rows("event_link"), key=lambda row: row["sequence"])
    seal = Seal(1, 6, b"", links[5]["chain_digest"], b"", "2026-04-06 10:00:00.000000", "0" * 8)
    env.execute(
        "INSERT INTO event_seal VALUES (6, 1, ?, ?, ?, '2026-04-06 10:00:00.000000', ?, ?)",
        *(
            seal.before,
            seal.head,
            seal.file_digest,
            seal.key_id,
            seal.digest(Keyring(OTHER), Purpose.EVENT_SEAL),
        ),
    )
    env.execute("DELETE FROM event_link WHERE sequence < 7")
    assert verify(env).problems[:2] == (
        "the seal of links up to 6 was not made by the service",
        "links 1 to 6 are missing",
    )


@pytest.mark.usefixtures("without_triggers")
@pytest.mark.parametrize("purpose", [Purpose.EVENT_FILE, Purpose.EVENT_CHAIN, Purpose.EVENT_HEAD])
def test_digest_of_another_purpose_is_no_seal(env, purpose):
    """LO-04: a file's seal, for one, which an attacker can read."""
    _archive(env, _find(env, hours=12))
    with env.database.transaction(writing=False) as session:
        [seal], _ = find_seals(session)
    env.execute("UPDATE event_seal SET seal_digest = ?", seal.digest(env.keys, purpose))
    assert "was not made by the service" in verify(env).problems[0]


@pytest.mark.usefixtures("without_triggers")
def test_leaked_root_seals_nothing_once_it_is_retired(env, open_with):
    """TK-07, LO-04: an attacker has the database and the former root secret."""
    _archive(env, _find(env, hours=12))
    retired = open_with(OTHER, events=[b"x" * 32])
    with retired.transaction(writing=False, snapshot=True) as session:
        assert "was not made by the service" in verify_chain(session).problems[0]


def test_root_of_the_last_seal_is_not_retired(env, ids, open_with):
    """TK-07, LO-04: the next archive frees it, and it still verifies the file."""
    assert ids
    _archive(env, _find(env, hours=12))
    rotated = open_with(OTHER, b"x" * 32)
    with rotated.transaction(writing=True) as session:
        for revoke in (False, True):
            outcome = retire_root(session, env.keys.key_id, revoke=revoke)
            assert (outcome.done, outcome.rows) == (False, {"event_seal": 1})
    env.clock.move(days=1)
    add_events(env, 1)
    with rotated.transaction(writing=True) as session:
        part = find_part(session, chained_before=session.now - timedelta(hours=12))
        content = b"".join(archive_lines(session, part))
        seal_part(session, _check(content, session.keys).seal)
        outcome = retire_root(session, env.keys.key_id, revoke=False)
        assert (outcome.done, outcome.links > 0) == (True, True)


@pytest.mark.usefixtures("without_triggers")
def test_missing_seal_is_detected(env):
    """LO-04: the last one, and one before it."""
    _archive(env, _find(env, hours=12))
    env.clock.move(days=1)
    add_events(env, 1)
    _archive(env, _find(env, hours=12))
    env.execute("DELETE FROM event_seal WHERE sequence = 6")
    assert "the seal before the one of links up to 8 is missing" in verify(env).problems
    env.execute("DELETE FROM event_seal")
    assert "links 1 to 8 are missing" in verify(env).problems


def test_link_forged_into_a_sealed_part_deletes_nothing(env, ids):
    """LO-04: the role of the service may insert links, and the next archive would delete its event.

    It is also out of place for the verification.
    """
    _archive(env, _find(env, hours=12))
    with env.database.transaction(writing=True) as session:
        event = SecurityEvent(
            id=id_at(env.clock.now), kind="a", occurred_at=session.now, details={}
        )
        session.add(event)
        forged_id = event.id
    env.execute(
        "INSERT INTO event_link VALUES (3, ?, ?, ?, '2026-04-05 10:00:00.000000')",
        *(forged_id, bytes(32), env.keys.key_id),
    )
    assert verify(env).problems == ("links 3 to 3 were archived and are still here",)
    with pytest.raises(BrokenChain):
        _find_rest(env)
    assert forged_id in {row["id"] for row in env.rows("security_event")}
    assert len(ids) == 8


# The file


@pytest.fixture
def content(env, ids):
    """The file of an archive of six events."""
    assert ids
    return _archive(env, _find(env, hours=12))


def _problems(content, env):
    return _check(content, env.keys).problems


def test_each_changed_byte_of_a_file_is_found(env, content):
    """LO-04: offline, without a database."""
    assert _problems(content, env) == ()
    for position in range(0, len(content), 97):
        changed = bytes([content[position] ^ 1])
        assert _problems(content[:position] + changed + content[position + 1 :], env)


def test_incomplete_file_is_found(env, content):
    """LO-04: cut off, without a line, with one more, or with no line at all."""
    lines = content.splitlines(keepends=True)
    for part in (lines[:-1], lines[1:], lines[:2] + lines[3:], [*lines, lines[0]], [], [b"1\n"]):
        assert _problems(b"".join(part), env)
    assert _problems(b"".join(lines[:2] + lines[3:]), env)[0] == "links before line 3 are missing"


def test_file_under_another_root_is_rejected(env, content):
    """LO-04: nothing in it can be verified."""
    report = _check(content, Keyring(OTHER))
    assert report.seal is None
    assert env.keys is not None


def test_file_is_verified_under_a_retired_root(env, content):
    """TK-07, LO-04: the root is kept, as for links."""
    assert _check(content, Keyring(OTHER, events=[b"x" * 32])).problems == ()
    assert env.act(count_links) == {env.keys.key_id: 2 + 1}


def test_links_under_an_unknown_root_are_covered_by_the_seal(env, clock, open_with):
    """TK-07, LO-04: the file stays verifiable when the root of its links is retired."""
    add_events(env, 2)
    rotated = open_with(OTHER, b"x" * 32)
    clock.move(days=1)
    with rotated.transaction(writing=True) as session:
        session.add(SecurityEvent(id=id_at(clock.now), kind="a", occurred_at=clock.now, details={}))
        chain_pending(session)
        part = find_part(session, chained_before=clock.now - timedelta(hours=12))
        content = b"".join(archive_lines(session, part))
    assert _check(content, Keyring(OTHER)).problems == ()
    lines = content.splitlines(keepends=True)
    altered = [lines[0].replace(b'"kind":"a"', b'"kind":"b"'), *lines[1:]]
    assert _check(b"".join(altered), Keyring(OTHER)).problems == (
        "its lines are not those that were sealed",
    )
