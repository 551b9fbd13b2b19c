"""Uploading, reading and removing the picture of a user."""

from typing import NamedTuple

from sqlalchemy import bindparam, delete, select, update
from sqlmodel import col

from accounts.errors import NotFound
from accounts.services.database import AccountSession, columns_of, lock_account
from accounts.services.events import record_update
from accounts.services.user_views import UserView, find_user_view
from accounts.values.picture_encoding import MEDIA_TYPE, encode_picture
from models import Picture, User

#: Stored in place of a URL for a picture that the service keeps. Its URL is made when it is shown,
#: since an operator may change the public address of the service.
UPLOADED = "uploaded"


class StoredPicture(NamedTuple):
    """A stored picture; `tag` changes with its bytes."""

    content: bytes
    media_type: str
    tag: str


_PICTURE = select(*columns_of(Picture, StoredPicture)).where(
    col(Picture.user_id) == bindparam("user_id")
)


def upload_picture(session: AccountSession, user: UserView, uploaded: bytes) -> UserView:
    """Re-encode an uploaded picture, and replace the user's picture with it.

    One statement replaces it: a concurrent reader gets the old one or the new one (IM-09).

    Raises:
        UnreadablePicture: The upload is not a picture of a supported format.
        InvalidToken: The credential of the request was revoked during the encoding.
    """
    with session.outside_transaction():
        encoded = encode_picture(uploaded)
    lock_account(session, user.user_id)
    session.authenticate_again()
    session.merge(
        Picture(
            user_id=user.user_id,
            media_type=MEDIA_TYPE,
            content=encoded.content,
            tag=encoded.tag,
            changed_at=session.now,
        )
    )
    return _set_picture(session, user, UPLOADED)


def find_picture(session: AccountSession, user: UserView) -> StoredPicture:
    """Return the uploaded picture of a user.

    Raises:
        NotFound: There is none.
    """
    rows = session.rows(_PICTURE, {"user_id": user.user_id})
    if not rows:
        raise NotFound
    return StoredPicture._make(rows[0])


def delete_upload(session: AccountSession, user: UserView) -> None:
    """Delete the bytes of an uploaded picture that is being replaced."""
    session.core.execute(delete(Picture).where(col(Picture.user_id) == user.user_id))


def remove_picture(session: AccountSession, user: UserView) -> None:
    """Remove the picture of a user, an upload or a URL, if there is one."""
    lock_account(session, user.user_id)
    if user.picture is not None:
        delete_upload(session, user)
        _set_picture(session, user, None)


def _set_picture(session: AccountSession, user: UserView, picture: str | None) -> UserView:
    session.flush()
    session.core.execute(update(User).where(col(User.id) == user.user_id).values(picture=picture))
    record_update(session, user, "picture")
    return find_user_view(session, user.user_id)
