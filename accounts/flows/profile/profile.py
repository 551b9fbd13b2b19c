"""Changing what a person says of themselves."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Update, bindparam, update
from sqlmodel import col

from accounts.errors import InvalidRequest
from accounts.flows.profile.pictures import UPLOADED, delete_upload
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.user_views import UserView
from accounts.values.locales import parse_locale
from accounts.values.names import clean_name
from accounts.values.phone_number import parse_phone
from accounts.values.timezones import parse_timezone
from models import User

__all__ = ["change_profile"]


def change_profile(
    session: AccountSession,
    user: UserView,
    changes: Mapping[str, str | None],
) -> UserView:
    """Change the fields that are in `changes`, all or none; None clears a field.

    `user` is as they were read in this transaction, while their account was held.

    Raises:
        InvalidRequest: A value breaks its field's rule.
    """
    values: dict[str, Any] = {
        field: None if value is None else _PARSERS[field](value, field)
        for field, value in changes.items()
    }
    # What is there already is no change, and no event: one token could write them without end.
    values = {field: value for field, value in values.items() if value != getattr(user, field)}
    if not values:
        return user
    lock_account(session, user.user_id)
    if "picture" in values and user.picture == UPLOADED:
        delete_upload(session, user)
    fields = tuple(sorted(values))
    given = {f"new_{field}": value for field, value in values.items()}
    session.write(_update_of(fields), {"user_id": user.user_id, **given})
    record_event(session, EventKind.USER_UPDATED, user, fields=", ".join(fields))
    # What a reading would find: nobody else writes to the account since before it was read.
    return user._replace(**values)


@cache
def _update_of(fields: tuple[str, ...]) -> Update:
    """The statement that changes these fields; there are fewer sets of them than 128."""
    changed: dict[str, Any] = {field: bindparam(f"new_{field}") for field in fields}
    return update(User).where(col(User.id) == bindparam("user_id")).values(changed)


def _parse_picture(value: str, field: str) -> str:
    """An https URL with a host and without a login in it; never fetched by this service (HT-22)."""
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        port, url = -1, urlsplit("")
    plain = value.isascii() and value.isprintable() and " " not in value
    if (
        not plain
        or url.scheme != "https"
        or not url.hostname
        or url.username is not None
        or port == -1
    ):
        raise InvalidRequest.of(field, "must be an https URL with a host and without a user name")
    return value


_PARSERS: Mapping[str, Callable[[str, str], str]] = {
    "first_name": clean_name,
    "last_name": clean_name,
    "display_name": clean_name,
    "phone": parse_phone,
    "picture": _parse_picture,
    "locale": parse_locale,
    "timezone": parse_timezone,
}
