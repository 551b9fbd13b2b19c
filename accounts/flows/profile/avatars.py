"""Avatars: the uploaded picture as a data URI, changed together with the names."""

from collections.abc import Mapping

from accounts.errors import InvalidRequest, UnreadablePicture, Violation
from accounts.flows.profile.pictures import UPLOADED, find_picture, upload_picture
from accounts.flows.profile.profile import change_profile
from accounts.services.database import AccountSession
from accounts.services.user_views import UserView
from accounts.values.data_uris import format_data_uri, parse_data_uri

_AVATAR = "avatar"
#: Fields that an identity provider keeps for its users.
_PROVIDED = frozenset({"first_name", "last_name"})


def find_avatar(session: AccountSession, user: UserView) -> str | None:
    """Return the uploaded picture of a user; None if there is none, or a URL."""
    if user.picture != UPLOADED:
        return None
    picture = find_picture(session, user)
    return format_data_uri(picture.media_type, picture.content)


def change_names_and_avatar(
    session: AccountSession, user: UserView, changes: Mapping[str, str | None]
) -> UserView:
    """Update the fields and the `avatar` in `changes`, all or none; None clears a field.

    A value that equals what the profile shows is no change, so that a client can send back the
    profile that it has read: its avatar is not encoded again, and a picture that was set as a URL
    stays.

    Raises:
        InvalidRequest: A value breaks its field's rule, or the identity provider keeps the field.
        UnreadablePicture: The avatar is not a picture of a supported format.
        InvalidToken: The credential of the request was revoked during the encoding.
    """
    changes = dict(changes)
    if user.provider != "local":
        _require_unchanged(user, changes)
    if _AVATAR in changes:
        avatar, shown = changes.pop(_AVATAR), find_avatar(session, user)
        if avatar is None and shown is not None:
            changes["picture"] = None
        elif avatar is not None and avatar != shown:
            user = _upload(session, user, avatar)
    return change_profile(session, user, changes)


def _require_unchanged(user: UserView, changes: Mapping[str, str | None]) -> None:
    rule = "is kept by the identity provider of the user"
    violations = [
        Violation((field,), rule)
        for field in sorted(_PROVIDED & changes.keys())
        if changes[field] != getattr(user, field)
    ]
    if violations:
        raise InvalidRequest(violations)


def _upload(session: AccountSession, user: UserView, avatar: str) -> UserView:
    try:
        return upload_picture(session, user, parse_data_uri(avatar, _AVATAR))
    except UnreadablePicture as error:
        raise UnreadablePicture(_AVATAR) from error
