"""Updating the profile."""

import pytest
from sqlalchemy import update

from accounts.errors import InvalidRequest, UsernameTaken
from accounts.flows.profile.pictures import UPLOADED, upload_picture
from accounts.flows.profile.profile import change_profile
from accounts.origin import Origin
from accounts.services.user_views import find_user_view
from models import User
from tests.support.pictures import encoded, gradient

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
    """None clears a field, and omitted fields stay."""
    view = env.act(change_profile, alice.view, ALL)
    assert {field: getattr(view, field) for field in ALL} == ALL
    for field in ALL:
        view = env.act(change_profile, alice.view, {field: None})
        assert getattr(view, field) is None
    assert view.email == alice.view.email


def test_empty_change_changes_nothing(env, alice):
    """The view is returned all the same."""
    assert env.act(change_profile, alice.view, {}) == alice.view


def test_unchanged_values_are_no_event(env, alice):
    """LO-04: events are kept, and repeated requests must not fill their table."""
    view = env.act(change_profile, alice.view, ALL)
    count_before = env.count("security_event")
    for _ in range(5):
        assert env.act(change_profile, view, ALL) == view
    assert env.count("security_event") == count_before


def test_repeated_changes_of_a_field_are_one_event(env, alice):
    """LO-02, attack finding 8: with one credential and within a minute."""
    origin = Origin(credential_kind="accessToken", credential_id=alice.user_id)
    count_before = env.count("security_event")
    for number in range(3):
        with env.database.transaction(writing=True, origin=origin) as session:
            view = find_user_view(session, alice.user_id)
            change_profile(session, view, {"first_name": f"Name {number}"})
    assert env.count("security_event") - count_before == 1


def test_values_are_stored_in_canonical_form(env, alice):
    """HT-06: phone in E.164, locale in its canonical case, name in NFC."""
    view = env.act(
        change_profile,
        alice.view,
        {"phone": "+1 (555) 010-0123", "locale": "DE-de", "first_name": "Zoe\u0308"},
    )
    assert (view.phone, view.locale, view.first_name) == ("+15550100123", "de-DE", "Zoë")


def test_stored_name_of_an_earlier_version_does_not_block_other_fields(env, alice):
    """UN-03, attack finding 20: it stays until its user changes it."""
    with env.database.transaction(writing=True) as session:
        session.core.execute(
            update(User).where(User.id == alice.user_id).values(display_name="Admin\u200b")
        )
    view = env.act(change_profile, env.view(alice.user_id), {"first_name": "Alice"})
    assert (view.first_name, view.display_name) == ("Alice", "Admin\u200b")
    with pytest.raises(InvalidRequest):
        env.act(change_profile, view, {"display_name": "Admin\u200b"})


def test_other_users_are_not_changed(env, alice, bob):
    """AZ-10: a change applies to one user."""
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
def test_invalid_value_changes_nothing(env, alice, field, value):
    """No other field of the request is changed; the refusal names the field."""
    with pytest.raises(InvalidRequest) as caught:
        env.act(change_profile, alice.view, {"picture": "https://example.com/", field: value})
    assert [violation.field for violation in caught.value.violations] == [(field,)]
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
def test_picture_must_be_a_plain_https_address(env, alice, picture):
    """HT-22: it is never fetched, but must not mislead clients either."""
    with pytest.raises(InvalidRequest) as caught:
        env.act(change_profile, alice.view, {"picture": picture})
    (violation,) = caught.value.violations
    assert violation.field == ("picture",)


@pytest.mark.parametrize("picture", ["https://example.com/a.png", None])
def test_new_picture_address_replaces_an_uploaded_picture(env, alice, picture):
    """IM-08: its bytes are deleted, and the change is one event."""
    view = env.act(upload_picture, alice.view, encoded(gradient()))
    count_before = env.count("security_event")
    view = env.act(change_profile, view, {"picture": picture, "first_name": "Alice"})
    assert (view.picture, view.first_name) == (picture, "Alice")
    assert env.count("picture") == 0
    assert env.count("security_event") - count_before == 1


@pytest.mark.parametrize(
    "changes",
    [{}, {"first_name": "Alice"}, {"picture": "http://example.com/a.png"}, {"picture": UPLOADED}],
    ids=str,
)
def test_uploaded_picture_stays_unless_replaced(env, alice, changes):
    """IM-08: also if the new one is rejected; and clients cannot claim an upload themselves."""
    view = env.act(upload_picture, alice.view, encoded(gradient()))
    rows_before = env.rows("picture")
    if "picture" in changes:
        with pytest.raises(InvalidRequest):
            env.act(change_profile, view, changes)
    else:
        env.act(change_profile, view, changes)
    assert env.rows("picture") == rows_before
    assert env.view(alice.user_id).picture == UPLOADED


def test_pictures_of_other_users_stay(env, alice, bob):
    """AZ-10, IM-08."""
    for user in (alice, bob):
        env.act(upload_picture, user.view, encoded(gradient()))
    env.act(change_profile, env.view(alice.user_id), {"picture": None})
    assert [row["user_id"] for row in env.rows("picture")] == [bob.user_id]


# User names


def test_username_is_stored_in_lower_case(env, alice):
    """UN-02, clients C5: no two user names differ in the case of letters only."""
    assert env.act(change_profile, alice.view, {"username": "Alice.Chen_1-x"}).username == (
        "alice.chen_1-x"
    )


@pytest.mark.parametrize("name", ["abc", "a" * 21, "a@bc", "al ice", "ål.ice", "\u212aate.x", ""])
def test_malformed_username_is_rejected(env, alice, name):
    """UN-02, clients C5."""
    with pytest.raises(InvalidRequest):
        env.act(change_profile, alice.view, {"username": name})


@pytest.mark.parametrize("name", ["Admin", "support", "NULL"])
def test_reserved_username_is_rejected(env, alice, name):
    """UN-02, clients C5."""
    with pytest.raises(UsernameTaken):
        env.act(change_profile, alice.view, {"username": name})


def test_username_of_another_user_is_rejected(env, alice, bob):
    """UN-02, clients C5: and one's own is no change."""
    taken = env.act(change_profile, bob.view, {"username": "bob.keller"}).username
    with pytest.raises(UsernameTaken):
        env.act(change_profile, alice.view, {"username": taken.upper()})
    view = env.act(change_profile, alice.view, {"username": "alice.chen"})
    assert env.act(change_profile, view, {"username": "ALICE.CHEN"}) == view
