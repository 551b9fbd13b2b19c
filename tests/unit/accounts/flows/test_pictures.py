"""The picture of a person: uploaded, read, removed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from accounts.errors import NotFound, UnreadablePicture
from accounts.flows.pictures import UPLOADED, find_picture, remove_picture, upload_picture
from accounts.flows.profile import change_profile
from accounts.values.picture_encoding import encode_picture
from oneself.conformance.pictures import encoded, gradient

ONE, OTHER = encoded(gradient((48, 32))), encoded(gradient((32, 48)), "JPEG")
ADDRESS = "https://example.com/photo.jpg"


def _found(house, resident):
    with house.database.transaction(writing=False) as session:
        return find_picture(session, resident.person)


def _current(house, resident):
    """The person as a request would find them, and not as they were when the test began."""
    return house.person(resident.user_id)


def _noted(house, resident):
    """The fields of each change of a profile that was recorded."""
    return [
        row["details"]
        for row in house.rows("security_event")
        if row["user_id"] == resident.user_id and row["kind"] == "user_updated"
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


def test_an_uploaded_picture_is_kept_as_it_was_written_anew(house, alice):
    """IM-03: nothing of the upload itself is stored, and the person is known to have one."""
    person = house.act(upload_picture, alice.person, ONE)
    assert person.picture == UPLOADED
    found, expected = _found(house, alice), encode_picture(ONE)
    assert (found.content, found.tag) == (expected.content, expected.tag)
    assert found.media_type == "image/webp"
    [row] = house.rows("picture")
    assert ONE not in row.values()


def test_another_picture_is_put_into_the_same_row(house, alice, clock):
    """IM-08, IM-09: so there is no old one left that somebody could find."""
    house.act(upload_picture, alice.person, ONE)
    [before] = house.rows("picture")
    clock.move(seconds=1)
    house.act(upload_picture, _current(house, alice), OTHER)
    [after] = house.rows("picture")
    assert after["user_id"] == before["user_id"] == alice.user_id
    assert after["tag"] == encode_picture(OTHER).tag != before["tag"]
    assert after["changed_at"] > before["changed_at"]


def test_the_same_picture_again_has_the_same_tag(house, alice):
    """HT-17: whoever has it need not read it again."""
    tags = set()
    for uploaded in (ONE, ONE):
        house.act(upload_picture, _current(house, alice), uploaded)
        tags.add(_found(house, alice).tag)
    house.act(remove_picture, _current(house, alice))
    house.act(upload_picture, _current(house, alice), ONE)
    assert {_found(house, alice).tag} == tags


def test_an_uploaded_picture_replaces_an_address(house, alice):
    """There is one picture, wherever it is."""
    person = house.act(change_profile, alice.person, {"picture": ADDRESS})
    assert house.act(upload_picture, person, ONE).picture == UPLOADED


def test_what_is_no_picture_changes_nothing(house, alice):
    """IM-01: what was there stays, and nothing is said to have happened."""
    house.act(upload_picture, alice.person, ONE)
    before, noted = house.rows("picture"), _noted(house, alice)
    with pytest.raises(UnreadablePicture):
        house.act(upload_picture, _current(house, alice), b"<svg/>")
    assert house.rows("picture") == before
    assert _noted(house, alice) == noted
    assert _current(house, alice).picture == UPLOADED


def test_where_there_is_none_none_is_found(house, alice):
    """Nor if the picture is an address."""
    with pytest.raises(NotFound):
        _found(house, alice)
    house.act(change_profile, alice.person, {"picture": ADDRESS})
    with pytest.raises(NotFound):
        _found(house, alice)


def test_a_removed_picture_is_gone(house, alice):
    """IM-08: with its bytes."""
    house.act(upload_picture, alice.person, ONE)
    house.act(remove_picture, _current(house, alice))
    assert house.count("picture") == 0
    assert _current(house, alice).picture is None
    with pytest.raises(NotFound):
        _found(house, alice)


def test_an_address_is_removed_as_well(house, alice):
    """Whoever wants no picture has none afterwards."""
    person = house.act(change_profile, alice.person, {"picture": ADDRESS})
    house.act(remove_picture, person)
    assert _current(house, alice).picture is None


def test_to_remove_what_is_not_there_does_nothing(house, alice):
    """Nothing is said to have happened, a second time neither."""
    house.act(remove_picture, alice.person)
    assert _noted(house, alice) == []
    house.act(upload_picture, alice.person, ONE)
    for _ in range(2):
        house.act(remove_picture, _current(house, alice))
    assert len(_noted(house, alice)) == 2


def test_the_owner_reads_that_their_picture_changed(house, alice):
    """LO-01: each time, and that it was the picture; never what it was."""
    house.act(upload_picture, alice.person, ONE)
    house.act(upload_picture, _current(house, alice), OTHER)
    house.act(remove_picture, _current(house, alice))
    assert _noted(house, alice) == ['{"fields":"picture"}'] * 3


def test_nobody_has_the_picture_of_somebody_else(house, bob):
    """IM-08, AZ-10: neither of another tenant nor of one's own."""
    tenant = house.tenant()
    owner, neighbour = (
        house.resident(f"{name}@example.com", tenant=tenant) for name in ("carol", "dave")
    )
    house.act(upload_picture, owner.person, ONE)
    for other in (bob, neighbour):
        with pytest.raises(NotFound):
            _found(house, other)
        house.act(upload_picture, other.person, OTHER)
        assert _found(house, other).tag != _found(house, owner).tag
        house.act(remove_picture, _current(house, other))
    assert _found(house, owner).tag == encode_picture(ONE).tag
    assert _current(house, owner).picture == UPLOADED


def test_nothing_waits_while_a_picture_is_decoded(house, alice, bob, during_the_decoding):
    """IM-05, DB-01: others write meanwhile, and whoever reads has the picture that there was."""
    house.act(upload_picture, alice.person, ONE)

    def happen():
        house.act(change_profile, bob.person, {"first_name": "Bob"})
        return _found(house, alice).tag

    seen = during_the_decoding(happen)
    house.act(upload_picture, _current(house, alice), OTHER)
    assert seen == [encode_picture(ONE).tag]
    assert _found(house, alice).tag == encode_picture(OTHER).tag
    assert _current(house, bob).first_name == "Bob"


def test_what_changed_during_the_decoding_stays_changed(house, alice, during_the_decoding):
    """IM-09: the picture is put to what the person is then, and not to what they were."""
    during_the_decoding(
        lambda: house.act(
            change_profile, alice.person, {"picture": ADDRESS, "first_name": "Alicia"}
        )
    )
    person = house.act(upload_picture, alice.person, ONE)
    assert (person.picture, person.first_name) == (UPLOADED, "Alicia")
    assert house.count("picture") == 1


def test_a_failure_after_the_upload_leaves_what_there_was(house, alice):
    """IM-09: the row, the profile and the event are written together, or none is."""
    house.act(upload_picture, alice.person, ONE)
    before = [house.rows(table) for table in ("picture", "security_event")]
    person = _current(house, alice)

    def upload_and_fail(session):
        upload_picture(session, person, OTHER)
        raise LookupError

    with pytest.raises(LookupError):
        house.act(upload_and_fail)
    assert [house.rows(table) for table in ("picture", "security_event")] == before


def test_a_reader_sees_the_old_picture_or_the_new_one_and_never_none(house, alice):
    """IM-09: while it is replaced twenty times."""
    tags = {encode_picture(uploaded).tag: encode_picture(uploaded) for uploaded in (ONE, OTHER)}
    house.act(upload_picture, alice.person, ONE)
    done, seen = threading.Event(), []

    def read():
        while not done.is_set():
            found = _found(house, alice)
            assert found.content == tags[found.tag].content
            seen.append(found.tag)
        return len(seen)

    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(read)
        try:
            for number in range(20):
                house.act(upload_picture, _current(house, alice), (OTHER, ONE)[number % 2])
        finally:
            done.set()
        assert reading.result(30) > 0


def test_of_uploads_at_once_each_is_done_and_one_is_left(house, alice):
    """IM-09: no row is there twice, and none is half of each."""
    uploads = [encoded(gradient((size, 8))) for size in range(20, 24)]
    ready = threading.Barrier(len(uploads))

    def race(uploaded):
        ready.wait(30)
        return house.act(upload_picture, alice.person, uploaded).picture

    with ThreadPoolExecutor(len(uploads)) as threads:
        assert list(threads.map(race, uploads)) == [UPLOADED] * len(uploads)
    [row] = house.rows("picture")
    assert (row["content"], row["tag"]) in {tuple(encode_picture(each)) for each in uploads}


def test_an_upload_and_a_removal_at_once_leave_a_whole(house, alice):
    """IM-09: a picture that is there and said to be there, or neither."""
    for _ in range(10):
        house.act(upload_picture, _current(house, alice), ONE)
        ready = threading.Barrier(2)

        def race(act, *arguments, ready=ready):
            person = _current(house, alice)
            ready.wait(30)
            house.act(act, person, *arguments)

        with ThreadPoolExecutor(2) as threads:
            for outcome in (
                threads.submit(race, upload_picture, OTHER),
                threads.submit(race, remove_picture),
            ):
                outcome.result(30)
        there = _current(house, alice).picture == UPLOADED
        assert house.count("picture") == there
