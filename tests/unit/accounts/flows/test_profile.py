"""Changing what a person says of themselves."""

import pytest

from accounts.errors import InvalidRequest
from accounts.flows.pictures import UPLOADED, upload_picture
from accounts.flows.profile import change_profile
from oneself.conformance.pictures import encoded, gradient

ALL = {
    "first_name": "Alice",
    "last_name": "Chen",
    "display_name": "Alice Chen",
    "phone": "+15550100123",
    "picture": "https://example.com:8443/a.png?b=c#d",
    "locale": "de-DE",
    "timezone": "Europe/Berlin",
}


def test_every_field_can_be_set_and_cleared(house, alice):
    """None clears a field, and what is not named stays."""
    person = house.act(change_profile, alice.person, ALL)
    assert {field: getattr(person, field) for field in ALL} == ALL
    for field in ALL:
        person = house.act(change_profile, alice.person, {field: None})
        assert getattr(person, field) is None
    assert person.email == alice.person.email


def test_an_empty_change_changes_nothing(house, alice):
    """The person is read all the same."""
    assert house.act(change_profile, alice.person, {}) == alice.person


def test_what_is_there_already_is_no_change_and_no_event(house, alice):
    """LO-04: events are kept, and one token could write them without end."""
    person = house.act(change_profile, alice.person, ALL)
    before = house.count("security_event")
    for _ in range(5):
        assert house.act(change_profile, person, ALL) == person
    assert house.count("security_event") == before


def test_values_are_kept_in_their_one_form(house, alice):
    """A number is E.164, a locale has its cases, a name is NFC (HT-06)."""
    person = house.act(
        change_profile,
        alice.person,
        {"phone": "+1 (555) 010-0123", "locale": "DE-de", "first_name": "Zoe\u0308"},
    )
    assert (person.phone, person.locale, person.first_name) == ("+15550100123", "de-DE", "Zoë")


def test_nobody_else_is_changed(house, alice, bob):
    """A change is of one user (AZ-10)."""
    house.act(change_profile, alice.person, ALL)
    assert house.person(bob.user_id) == bob.person


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first_name", ""),
        ("last_name", "x" * 201),
        ("display_name", "\u202ename"),
        ("phone", "12345"),
        ("locale", "../.."),
        ("timezone", "../../etc/passwd"),
    ],
)
def test_a_value_that_breaks_its_rule_changes_nothing(house, alice, field, value):
    """Nor is any other field changed that came with it; the field is named as the caller does."""
    with pytest.raises(InvalidRequest) as refused:
        house.act(
            change_profile,
            alice.person,
            {"picture": "https://example.com/", field: value},
            called={field: "theirName"},
        )
    assert [violation.field for violation in refused.value.violations] == [("theirName",)]
    assert house.person(alice.user_id) == alice.person


@pytest.mark.parametrize(
    "picture",
    [
        "",
        "picture.png",
        "http://example.com/a.png",
        "https://",
        "https:///a.png",
        "https://:443/a.png",
        "https://alice@example.com/a.png",
        "https://alice:secret@example.com/a.png",
        "https://example.com:port/a.png",
        "https://example.com:99999/a.png",
        "https://[::1/a.png",
        "https://exämple.com/a.png",
        "https://example.com/a b.png",
        "https://example.com/a\n.png",
        "https://example.com/a\0.png",
        " https://example.com/a.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
    ],
)
def test_a_picture_that_is_no_plain_https_address_is_refused(house, alice, picture):
    """It is never fetched, and readers must not be led astray by it either (HT-22)."""
    with pytest.raises(InvalidRequest) as refused:
        house.act(change_profile, alice.person, {"picture": picture})
    (violation,) = refused.value.violations
    assert violation.field == ("picture",)


@pytest.mark.parametrize("picture", ["https://example.com/a.png", None])
def test_another_picture_takes_the_place_of_an_uploaded_one(house, alice, picture):
    """IM-08: of whose bytes nothing stays; and it is one change, of which one is told."""
    person = house.act(upload_picture, alice.person, encoded(gradient()))
    before = house.count("security_event")
    person = house.act(change_profile, person, {"picture": picture, "first_name": "Alice"})
    assert (person.picture, person.first_name) == (picture, "Alice")
    assert house.count("picture") == 0
    assert house.count("security_event") - before == 1


@pytest.mark.parametrize(
    "changes",
    [{}, {"first_name": "Alice"}, {"picture": "http://example.com/a.png"}, {"picture": UPLOADED}],
    ids=str,
)
def test_an_uploaded_picture_stays_unless_another_takes_its_place(house, alice, changes):
    """IM-08: also where the other is refused; and nobody can say that they have uploaded one."""
    person = house.act(upload_picture, alice.person, encoded(gradient()))
    before = house.rows("picture")
    if "picture" in changes:
        with pytest.raises(InvalidRequest):
            house.act(change_profile, person, changes)
    else:
        house.act(change_profile, person, changes)
    assert house.rows("picture") == before
    assert house.person(alice.user_id).picture == UPLOADED


def test_the_picture_of_somebody_else_stays(house, alice, bob):
    """AZ-10, IM-08."""
    for resident in (alice, bob):
        house.act(upload_picture, resident.person, encoded(gradient()))
    house.act(change_profile, house.person(alice.user_id), {"picture": None})
    assert [row["user_id"] for row in house.rows("picture")] == [bob.user_id]
