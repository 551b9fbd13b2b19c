"""The picture of a person: uploaded, read, removed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from accounts.errors import NotFound, UnreadablePicture
from accounts.flows.profile.pictures import (
    UPLOADED,
    find_picture,
    remove_picture,
    upload_picture,
)
from accounts.flows.profile.profile import change_profile
from accounts.values.picture_encoding import encode_picture
from oneself.conformance.pictures import encoded, gradient

ONE, OTHER = encoded(gradient((48, 32))), encoded(gradient((32, 48)), "JPEG")
ADDRESS = "https://example.com/photo.jpg"


def _found(env, user):
    with env.database.transaction(writing=False) as session:
        return find_picture(session, user.view)


def _current(env, user):
    """The person as a request would find them, and not as they were when the test began."""
    return env.view(user.user_id)


def _noted(env, user):
    """The fields of each change of a profile that was recorded."""
    return [
        row["details"]
        for row in env.rows("security_event")
        if row["user_id"] == user.user_id and row["kind"] == "user_updated"
    ]


@pytest.fixture
def during_the_decoding(monkeypatch, elsewhere):
    """Lets something happen in another thread while the next picture is being decoded.

    What it returned is put into the list that the test gets.
    """

    def arrange(happen):
        opens, outcomes = Image.open, []

        def opened(*arguments, **named):
            monkeypatch.setattr(Image, "open", opens)
            outcomes.append(elsewhere(happen))
            return opens(*arguments, **named)

        monkeypatch.setattr(Image, "open", opened)
        return outcomes

    return arrange


def test_an_uploaded_picture_is_kept_as_it_was_written_anew(env, alice):
    """IM-03: nothing of the upload itself is stored, and the person is known to have one."""
    view = env.act(upload_picture, alice.view, ONE)
    assert view.picture == UPLOADED
    found, expected = _found(env, alice), encode_picture(ONE)
    assert (found.content, found.tag) == (expected.content, expected.tag)
    assert found.media_type == "image/webp"
    [row] = env.rows("picture")
    assert ONE not in row.values()


def test_another_picture_is_put_into_the_same_row(env, alice, clock):
    """IM-08, IM-09: so there is no old one left that somebody could find."""
    env.act(upload_picture, alice.view, ONE)
    [before] = env.rows("picture")
    clock.move(seconds=1)
    env.act(upload_picture, _current(env, alice), OTHER)
    [after] = env.rows("picture")
    assert after["user_id"] == before["user_id"] == alice.user_id
    assert after["tag"] == encode_picture(OTHER).tag != before["tag"]
    assert after["changed_at"] > before["changed_at"]


def test_the_same_picture_again_has_the_same_tag(env, alice):
    """HT-17: whoever has it need not read it again."""
    tags = set()
    for uploaded in (ONE, ONE):
        env.act(upload_picture, _current(env, alice), uploaded)
        tags.add(_found(env, alice).tag)
    env.act(remove_picture, _current(env, alice))
    env.act(upload_picture, _current(env, alice), ONE)
    assert {_found(env, alice).tag} == tags


def test_an_uploaded_picture_replaces_an_address(env, alice):
    """There is one picture, wherever it is."""
    view = env.act(change_profile, alice.view, {"picture": ADDRESS})
    assert env.act(upload_picture, view, ONE).picture == UPLOADED


def test_what_is_no_picture_changes_nothing(env, alice):
    """IM-01: what was there stays, and nothing is said to have happened."""
    env.act(upload_picture, alice.view, ONE)
    before, noted = env.rows("picture"), _noted(env, alice)
    with pytest.raises(UnreadablePicture):
        env.act(upload_picture, _current(env, alice), b"<svg/>")
    assert env.rows("picture") == before
    assert _noted(env, alice) == noted
    assert _current(env, alice).picture == UPLOADED


def test_where_there_is_none_none_is_found(env, alice):
    """Nor if the picture is an address."""
    with pytest.raises(NotFound):
        _found(env, alice)
    env.act(change_profile, alice.view, {"picture": ADDRESS})
    with pytest.raises(NotFound):
        _found(env, alice)


def test_a_removed_picture_is_gone(env, alice):
    """IM-08: with its bytes."""
    env.act(upload_picture, alice.view, ONE)
    env.act(remove_picture, _current(env, alice))
    assert env.count("picture") == 0
    assert _current(env, alice).picture is None
    with pytest.raises(NotFound):
        _found(env, alice)


def test_an_address_is_removed_as_well(env, alice):
    """Whoever wants no picture has none afterwards."""
    view = env.act(change_profile, alice.view, {"picture": ADDRESS})
    env.act(remove_picture, view)
    assert _current(env, alice).picture is None


def test_to_remove_what_is_not_there_does_nothing(env, alice):
    """Nothing is said to have happened, a second time neither."""
    env.act(remove_picture, alice.view)
    assert _noted(env, alice) == []
    env.act(upload_picture, alice.view, ONE)
    for _ in range(2):
        env.act(remove_picture, _current(env, alice))
    assert len(_noted(env, alice)) == 2


def test_the_owner_reads_that_their_picture_changed(env, alice):
    """LO-01: each time, and that it was the picture; never what it was."""
    env.act(upload_picture, alice.view, ONE)
    env.act(upload_picture, _current(env, alice), OTHER)
    env.act(remove_picture, _current(env, alice))
    assert _noted(env, alice) == ['{"fields":"picture"}'] * 3


def test_nobody_has_the_picture_of_somebody_else(env, bob):
    """IM-08, AZ-10: neither of another tenant nor of one's own."""
    tenant = env.tenant()
    owner, neighbour = (
        env.user(f"{name}@example.com", tenant=tenant) for name in ("carol", "dave")
    )
    env.act(upload_picture, owner.view, ONE)
    for other in (bob, neighbour):
        with pytest.raises(NotFound):
            _found(env, other)
        env.act(upload_picture, other.view, OTHER)
        assert _found(env, other).tag != _found(env, owner).tag
        env.act(remove_picture, _current(env, other))
    assert _found(env, owner).tag == encode_picture(ONE).tag
    assert _current(env, owner).picture == UPLOADED


def test_nothing_waits_while_a_picture_is_decoded(env, alice, bob, during_the_decoding):
    """IM-05, DB-01: others write meanwhile, and whoever reads has the picture that there was."""
    env.act(upload_picture, alice.view, ONE)

    def happen():
        env.act(change_profile, bob.view, {"first_name": "Bob"})
        return _found(env, alice).tag

    seen = during_the_decoding(happen)
    env.act(upload_picture, _current(env, alice), OTHER)
    assert seen == [encode_picture(ONE).tag]
    assert _found(env, alice).tag == encode_picture(OTHER).tag
    assert _current(env, bob).first_name == "Bob"


def test_what_changed_during_the_decoding_stays_changed(env, alice, during_the_decoding):
    """IM-09: the picture is put to what the person is then, and not to what they were."""
    during_the_decoding(
        lambda: env.act(change_profile, alice.view, {"picture": ADDRESS, "first_name": "Alicia"})
    )
    view = env.act(upload_picture, alice.view, ONE)
    assert (view.picture, view.first_name) == (UPLOADED, "Alicia")
    assert env.count("picture") == 1


def test_a_failure_after_the_upload_leaves_what_there_was(env, alice):
    """IM-09: the row, the profile and the event are written together, or none is."""
    env.act(upload_picture, alice.view, ONE)
    before = [env.rows(table) for table in ("picture", "security_event")]
    view = _current(env, alice)

    def upload_and_fail(session):
        upload_picture(session, view, OTHER)
        raise LookupError

    with pytest.raises(LookupError):
        env.act(upload_and_fail)
    assert [env.rows(table) for table in ("picture", "security_event")] == before


def test_a_reader_sees_the_old_picture_or_the_new_one_and_never_none(env, alice):
    """IM-09: while it is replaced twenty times."""
    tags = {encode_picture(uploaded).tag: encode_picture(uploaded) for uploaded in (ONE, OTHER)}
    env.act(upload_picture, alice.view, ONE)
    done, seen = threading.Event(), []

    def read():
        while not done.is_set():
            found = _found(env, alice)
            assert found.content == tags[found.tag].content
            seen.append(found.tag)
        return len(seen)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        try:
            for number in range(20):
                env.act(upload_picture, _current(env, alice), (OTHER, ONE)[number % 2])
        finally:
            done.set()
        assert reading.result(30) > 0


def test_of_uploads_at_once_each_is_done_and_one_is_left(env, alice):
    """IM-09: no row is there twice, and none is half of each."""
    uploads = [encoded(gradient((size, 8))) for size in range(20, 24)]
    ready = threading.Barrier(len(uploads))

    def race(uploaded):
        ready.wait(30)
        return env.act(upload_picture, alice.view, uploaded).picture

    with ThreadPoolExecutor(len(uploads)) as threads:
        assert list(threads.map(race, uploads)) == [UPLOADED] * len(uploads)
    [row] = env.rows("picture")
    assert (row["content"], row["tag"]) in {tuple(encode_picture(each)) for each in uploads}


def test_an_upload_and_a_removal_at_once_leave_a_whole(env, alice):
    """IM-09: a picture that is there and said to be there, or neither."""
    for _ in range(10):
        env.act(upload_picture, _current(env, alice), ONE)
        ready = threading.Barrier(2)

        def race(act, *arguments, ready=ready):
            view = _current(env, alice)
            ready.wait(30)
            env.act(act, view, *arguments)

        with ThreadPoolExecutor(2) as threads:
            for outcome in (
                threads.submit(race, upload_picture, OTHER),
                threads.submit(race, remove_picture),
            ):
                outcome.result(30)
        there = _current(env, alice).picture == UPLOADED
        assert env.count("picture") == there
