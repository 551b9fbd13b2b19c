"""Uploading, reading and removing a user's picture."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from accounts.errors import NotFound, UnreadablePicture
from accounts.flows.profile.pictures import UPLOADED, find_picture, remove_picture, upload_picture
from accounts.flows.profile.profile import change_profile
from accounts.values.picture_encoding import encode_picture
from tests.support.deadlines import patient
from tests.support.pictures import encoded, gradient

PNG, JPEG = encoded(gradient((48, 32))), encoded(gradient((32, 48)), "JPEG")
ADDRESS = "https://example.com/photo.jpg"


def _find(env, user):
    with env.database.transaction(writing=False) as session:
        return find_picture(session, user.view)


def _current(env, user):
    """Return the user as a request would find them now."""
    return env.view(user.user_id)


def _recorded_changes(env, user):
    """Return the fields of each recorded change of a profile."""
    return [
        row["details"]
        for row in env.rows("security_event")
        if row["user_id"] == user.user_id and row["kind"] == "user_updated"
    ]


@pytest.fixture
def during_decoding(monkeypatch, run_in_thread):
    """Run a function in another thread while the next picture is being decoded.

    Its result is added to the returned list.
    """

    def arrange(function):
        open_image, outcomes = Image.open, []

        def patched_open(*arguments, **options):
            monkeypatch.setattr(Image, "open", open_image)
            outcomes.append(run_in_thread(function))
            return open_image(*arguments, **options)

        monkeypatch.setattr(Image, "open", patched_open)
        return outcomes

    return arrange


def test_uploaded_picture_is_stored_reencoded(env, alice):
    """IM-03: no byte of the upload itself is stored."""
    view = env.act(upload_picture, alice.view, PNG)
    assert view.picture == UPLOADED
    stored, expected = _find(env, alice), encode_picture(PNG)
    assert (stored.content, stored.tag) == (expected.content, expected.tag)
    assert stored.media_type == "image/webp"
    [row] = env.rows("picture")
    assert PNG not in row.values()


def test_second_upload_replaces_the_row(env, alice, clock):
    """IM-08, IM-09: no old picture is left behind."""
    env.act(upload_picture, alice.view, PNG)
    [before] = env.rows("picture")
    clock.move(seconds=1)
    env.act(upload_picture, _current(env, alice), JPEG)
    [after] = env.rows("picture")
    assert after["user_id"] == before["user_id"] == alice.user_id
    assert after["tag"] == encode_picture(JPEG).tag != before["tag"]
    assert after["changed_at"] > before["changed_at"]


def test_same_picture_has_the_same_tag(env, alice):
    """HT-17: clients need not download it again."""
    tags = set()
    for content in (PNG, PNG):
        env.act(upload_picture, _current(env, alice), content)
        tags.add(_find(env, alice).tag)
    env.act(remove_picture, _current(env, alice))
    env.act(upload_picture, _current(env, alice), PNG)
    assert {_find(env, alice).tag} == tags


def test_upload_replaces_an_external_address(env, alice):
    """A user has one picture, stored here or elsewhere."""
    view = env.act(change_profile, alice.view, {"picture": ADDRESS})
    assert env.act(upload_picture, view, PNG).picture == UPLOADED


def test_unreadable_picture_changes_nothing(env, alice):
    """IM-01: the old picture stays, and no event is recorded."""
    env.act(upload_picture, alice.view, PNG)
    rows_before, changes_before = env.rows("picture"), _recorded_changes(env, alice)
    with pytest.raises(UnreadablePicture):
        env.act(upload_picture, _current(env, alice), b"<svg/>")
    assert env.rows("picture") == rows_before
    assert _recorded_changes(env, alice) == changes_before
    assert _current(env, alice).picture == UPLOADED


def test_missing_picture_is_not_found(env, alice):
    """The same applies if the picture is an external address."""
    with pytest.raises(NotFound):
        _find(env, alice)
    env.act(change_profile, alice.view, {"picture": ADDRESS})
    with pytest.raises(NotFound):
        _find(env, alice)


def test_removed_picture_is_deleted(env, alice):
    """IM-08: with its bytes."""
    env.act(upload_picture, alice.view, PNG)
    env.act(remove_picture, _current(env, alice))
    assert env.count("picture") == 0
    assert _current(env, alice).picture is None
    with pytest.raises(NotFound):
        _find(env, alice)


def test_external_address_can_be_removed(env, alice):
    """The user has no picture afterwards."""
    view = env.act(change_profile, alice.view, {"picture": ADDRESS})
    env.act(remove_picture, view)
    assert _current(env, alice).picture is None


def test_removing_a_missing_picture_does_nothing(env, alice):
    """No event is recorded, not even the second time."""
    env.act(remove_picture, alice.view)
    assert _recorded_changes(env, alice) == []
    env.act(upload_picture, alice.view, PNG)
    for _ in range(2):
        env.act(remove_picture, _current(env, alice))
    assert len(_recorded_changes(env, alice)) == 2


def test_picture_changes_are_events(env, alice):
    """LO-01: an event for each change, without its content."""
    env.act(upload_picture, alice.view, PNG)
    env.act(upload_picture, _current(env, alice), JPEG)
    env.act(remove_picture, _current(env, alice))
    assert _recorded_changes(env, alice) == ['{"fields":"picture"}'] * 3


def test_pictures_of_other_users_are_not_found(env, bob):
    """IM-08, AZ-10: neither in another tenant nor in the same one."""
    tenant = env.tenant()
    owner, colleague = (
        env.user(f"{name}@example.com", tenant=tenant) for name in ("carol", "dave")
    )
    env.act(upload_picture, owner.view, PNG)
    for user in (bob, colleague):
        with pytest.raises(NotFound):
            _find(env, user)
        env.act(upload_picture, user.view, JPEG)
        assert _find(env, user).tag != _find(env, owner).tag
        env.act(remove_picture, _current(env, user))
    assert _find(env, owner).tag == encode_picture(PNG).tag
    assert _current(env, owner).picture == UPLOADED


def test_nothing_is_locked_during_decoding(env, alice, bob, during_decoding):
    """IM-05, DB-01: meanwhile others write, and readers get the old picture."""
    env.act(upload_picture, alice.view, PNG)

    def change_and_read():
        env.act(change_profile, bob.view, {"first_name": "Bob"})
        return _find(env, alice).tag

    tags = during_decoding(change_and_read)
    env.act(upload_picture, _current(env, alice), JPEG)
    assert tags == [encode_picture(PNG).tag]
    assert _find(env, alice).tag == encode_picture(JPEG).tag
    assert _current(env, bob).first_name == "Bob"


def test_profile_changed_during_decoding_is_kept(env, alice, during_decoding):
    """IM-09: the picture is added to the current profile, not to the one read before."""
    during_decoding(
        lambda: env.act(change_profile, alice.view, {"picture": ADDRESS, "first_name": "Alicia"})
    )
    view = env.act(upload_picture, alice.view, PNG)
    assert (view.picture, view.first_name) == (UPLOADED, "Alicia")
    assert env.count("picture") == 1


def test_failure_after_the_upload_changes_nothing(env, alice):
    """IM-09: the row, the profile and the event are written together or not at all."""
    env.act(upload_picture, alice.view, PNG)
    rows_before = [env.rows(table) for table in ("picture", "security_event")]
    view = _current(env, alice)

    def upload_and_fail(session):
        upload_picture(session, view, JPEG)
        raise LookupError

    with pytest.raises(LookupError):
        env.act(upload_and_fail)
    assert [env.rows(table) for table in ("picture", "security_event")] == rows_before


def test_reader_always_sees_a_picture_during_replacement(env, alice):
    """IM-09: while the picture is replaced twenty times."""
    tags = {encode_picture(content).tag: encode_picture(content) for content in (PNG, JPEG)}
    env.act(upload_picture, alice.view, PNG)
    is_done, seen_tags = threading.Event(), []

    def read():
        while not is_done.is_set():
            picture = _find(env, alice)
            assert picture.content == tags[picture.tag].content
            seen_tags.append(picture.tag)
        return len(seen_tags)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        try:
            for number in range(20):
                env.act(upload_picture, _current(env, alice), (JPEG, PNG)[number % 2])
        finally:
            is_done.set()
        assert reading.result(30) > 0


def test_concurrent_uploads_leave_one_picture(env, alice):
    """IM-09: one row is left, with the content of one upload."""
    uploads = [encoded(gradient((size, 8))) for size in range(20, 24)]
    ready = threading.Barrier(len(uploads))

    def race(content):
        ready.wait(patient(30))
        return env.act(upload_picture, alice.view, content).picture

    with ThreadPoolExecutor(len(uploads)) as threads:
        assert list(threads.map(race, uploads)) == [UPLOADED] * len(uploads)
    [row] = env.rows("picture")
    assert (row["content"], row["tag"]) in {tuple(encode_picture(upload)) for upload in uploads}


def test_concurrent_upload_and_removal_stay_consistent(env, alice):
    """IM-09: the profile always agrees with the stored picture."""
    for _ in range(10):
        env.act(upload_picture, _current(env, alice), PNG)
        ready = threading.Barrier(2)

        def race(act, *arguments, ready=ready):
            view = _current(env, alice)
            ready.wait(patient(30))
            env.act(act, view, *arguments)

        with ThreadPoolExecutor(2) as threads:
            for outcome in (
                threads.submit(race, upload_picture, JPEG),
                threads.submit(race, remove_picture),
            ):
                outcome.result(30)
        is_uploaded = _current(env, alice).picture == UPLOADED
        assert env.count("picture") == is_uploaded
