"""Changing what a person says of themselves."""

import pytest

from accounts.errors import InvalidRequest
from accounts.flows.profile.pictures import UPLOADED, upload_picture
from accounts.flows.profile.profile import change_profile
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


def test_every_field_can_be_set_and_cleared(env, alice):
    """None clears a field, and what is not named stays."""
    view = env.act(change_profile, alice.view, ALL)
    assert {field: getattr(view, field) for field in ALL} == ALL
    for field in ALL:
        view = env.act(change_profile, alice.view, {field: None})
        assert getattr(view, field) is None
    assert view.email == alice.view.email


def test_an_empty_change_changes_nothing(env, alice):
    """The person is read all the same."""
    assert env.act(change_profile, alice.view, {}) == alice.view


def test_what_is_there_already_is_no_change_and_no_event(env, alice):
    """LO-04: events are kept, and one token could write them without end."""
    view = env.act(change_profile, alice.view, ALL)
    before = env.count("security_event")
    for _ in range(5):
        assert env.act(change_profile, view, ALL) == view
    assert env.count("security_event") == before


def test_values_are_kept_in_their_one_form(env, alice):
    """A number is E.164, a locale has its cases, a name is NFC (HT-06)."""
    view = env.act(
        change_profile,
        alice.view,
        {"phone": "+1 (555) 010-0123", "locale": "DE-de", "first_name": "Zoe\u0308"},
    )
    assert (view.phone, view.locale, view.first_name) == ("+15550100123", "de-DE", "Zoë")


def test_nobody_else_is_changed(env, alice, bob):
    """A change is of one user (AZ-10)."""
    env.act(change_profile, alice.view, ALL)
    assert env.view(bob.user_id) == bob.view


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
def test_a_value_that_breaks_its_rule_changes_nothing(env, alice, field, value):
    """Nor is any other field changed that came with it; the refusal names the field."""
    with pytest.raises(InvalidRequest) as refused:
        env.act(change_profile, alice.view, {"picture": "https://example.com/", field: value})
    assert [violation.field for violation in refused.value.violations] == [(field,)]
    assert env.view(alice.user_id) == alice.view


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
def test_a_picture_that_is_no_plain_https_address_is_refused(env, alice, picture):
    """It is never fetched, and readers must not be led astray by it either (HT-22)."""
    with pytest.raises(InvalidRequest) as refused:
        env.act(change_profile, alice.view, {"picture": picture})
    (violation,) = refused.value.violations
    assert violation.field == ("picture",)


@pytest.mark.parametrize("picture", ["https://example.com/a.png", None])
def test_another_picture_takes_the_place_of_an_uploaded_one(env, alice, picture):
    """IM-08: of whose bytes nothing stays; and it is one change, of which one is told."""
    view = env.act(upload_picture, alice.view, encoded(gradient()))
    before = env.count("security_event")
    view = env.act(change_profile, view, {"picture": picture, "first_name": "Alice"})
    assert (view.picture, view.first_name) == (picture, "Alice")
    assert env.count("picture") == 0
    assert env.count("security_event") - before == 1


@pytest.mark.parametrize(
    "changes",
    [{}, {"first_name": "Alice"}, {"picture": "http://example.com/a.png"}, {"picture": UPLOADED}],
    ids=str,
)
def test_an_uploaded_picture_stays_unless_another_takes_its_place(env, alice, changes):
    """IM-08: also where the other is refused; and nobody can say that they have uploaded one."""
    view = env.act(upload_picture, alice.view, encoded(gradient()))
    before = env.rows("picture")
    if "picture" in changes:
        with pytest.raises(InvalidRequest):
            env.act(change_profile, view, changes)
    else:
        env.act(change_profile, view, changes)
    assert env.rows("picture") == before
    assert env.view(alice.user_id).picture == UPLOADED


def test_the_picture_of_somebody_else_stays(env, alice, bob):
    """AZ-10, IM-08."""
    for user in (alice, bob):
        env.act(upload_picture, user.view, encoded(gradient()))
    env.act(change_profile, env.view(alice.user_id), {"picture": None})
    assert [row["user_id"] for row in env.rows("picture")] == [bob.user_id]
