"""Names and avatar of a user, changed together."""

import pytest

from accounts.errors import InvalidRequest, UnreadablePicture
from accounts.flows.profile.avatars import change_names_and_avatar, find_avatar
from accounts.flows.profile.pictures import UPLOADED, upload_picture
from accounts.flows.profile.profile import change_profile
from accounts.values.data_uris import format_data_uri, parse_data_uri
from accounts.values.picture_encoding import encode_picture
from tests.support.pictures import encoded, gradient

PNG = encoded(gradient((48, 32)))
AVATAR = format_data_uri("image/png", PNG)
URL = "https://example.com/photo.jpg"


def _avatar(env, user):
    with env.database.transaction(writing=False) as session:
        return find_avatar(session, user)


def _recorded_changes(env):
    return [row["details"] for row in env.rows("security_event") if row["kind"] == "user_updated"]


def test_avatar_is_shown_as_it_is_stored(env, alice):
    """IM-03: re-encoded."""
    assert _avatar(env, alice.view) is None
    view = env.act(change_names_and_avatar, alice.view, {"avatar": AVATAR, "first_name": "Zoë"})
    assert (view.picture, view.first_name) == (UPLOADED, "Zoë")
    assert parse_data_uri(_avatar(env, view), "avatar") == encode_picture(PNG).content


def test_shown_avatar_can_be_sent_back_and_is_not_encoded_again(env, alice, monkeypatch):
    """Origins 004, PUT: otherwise each change of a name would lose quality."""
    view = env.act(upload_picture, alice.view, PNG)
    shown, recorded = _avatar(env, view), _recorded_changes(env)
    monkeypatch.setattr("accounts.flows.profile.pictures.encode_picture", None)
    again = env.act(change_names_and_avatar, view, {"avatar": shown, "first_name": None})
    assert (again, _avatar(env, again), _recorded_changes(env)) == (view, shown, recorded)


def test_null_removes_an_upload_and_leaves_a_url(env, alice):
    """Origins 004, PUT: a URL is shown as null, so that null is what the profile has."""
    uploaded = env.act(upload_picture, alice.view, PNG)
    removed = env.act(change_names_and_avatar, uploaded, {"avatar": None})
    assert (removed.picture, env.rows("picture")) == (None, [])
    linked = env.act(change_profile, removed, {"picture": URL})
    assert _avatar(env, linked) is None
    kept = env.act(change_names_and_avatar, linked, {"avatar": None, "first_name": "Zoë"})
    assert (kept.picture, kept.first_name) == (URL, "Zoë")
    replaced = env.act(change_names_and_avatar, kept, {"avatar": AVATAR})
    assert replaced.picture == UPLOADED


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"avatar": AVATAR, "first_name": " "}, InvalidRequest),
        ({"avatar": "data:image/png;base64,AAA", "first_name": "Zoë"}, InvalidRequest),
        ({"avatar": "data:image/png;base64,AAAA", "first_name": "Zoë"}, UnreadablePicture),
    ],
)
def test_rejected_value_changes_nothing(changes, refusal, env, alice):
    """AZ-11: all or none; the refusal names the field."""
    with pytest.raises(refusal) as caught:
        env.act(change_names_and_avatar, alice.view, changes)
    [violation] = caught.value.violations
    assert violation.field == ("first_name",) if changes["first_name"] == " " else ("avatar",)
    assert (env.view(alice.user_id), env.rows("picture")) == (alice.view, [])


def test_names_kept_by_an_identity_provider_are_rejected(env):
    """Origins 004, PUT: "SSO-managed fields"; others, and equal values, are accepted."""
    user = env.user("sso@example.com", provider="oidc")
    with pytest.raises(InvalidRequest) as caught:
        env.act(change_names_and_avatar, user.view, {"last_name": "Chen", "first_name": "Zoë"})
    fields = [violation.field for violation in caught.value.violations]
    assert fields == [("first_name",), ("last_name",)]
    changes = {"first_name": user.view.first_name, "display_name": "Zoë", "avatar": AVATAR}
    view = env.act(change_names_and_avatar, user.view, changes)
    assert (view.display_name, view.picture) == ("Zoë", UPLOADED)
