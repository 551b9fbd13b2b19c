"""Updating the profile."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Update, bindparam, update
from sqlmodel import col

from accounts.errors import InvalidRequest
from accounts.flows.profile.pictures import UPLOADED, delete_upload
from accounts.services.database import AccountSession, lock_account
from accounts.services.events import record_update
from accounts.services.user_views import UserView
from accounts.services.users import claim_username, parse_username
from accounts.values.locales import parse_locale
from accounts.values.names import normalize_name
from accounts.values.phone_number import parse_phone
from accounts.values.timezones import parse_timezone
from models import User


def change_profile(
    session: AccountSession, user: UserView, changes: Mapping[str, str | None]
) -> UserView:
    """Update the fields that are in `changes`, all or none; None clears a field.

    `user` was read in this transaction, with the account locked.

    Raises:
        InvalidRequest: A value breaks its field's rule.
        UsernameTaken: Another user has the user name, or it is reserved.
    """
    values: dict[str, Any] = {
        field: None if value is None else _PARSERS[field](value, field)
        for field, value in changes.items()
    }
    # An equal value is no change and no event.
    values = {field: value for field, value in values.items() if value != getattr(user, field)}
    if not values:
        return user
    lock_account(session, user.user_id)
    if "username" in values:
        claim_username(session, values["username"])
    if "picture" in values and user.picture == UPLOADED:
        delete_upload(session, user)
    fields = tuple(sorted(values))
    parameters = {f"new_{field}": value for field, value in values.items()}
    session.defer(_build_update(fields), {"user_id": user.user_id, **parameters})
    record_update(session, user, *fields)
    # Equal to what a read would return: the account has been locked since `user` was read.
    return user._replace(**values)


@cache
def _build_update(fields: tuple[str, ...]) -> Update:
    """Build the statement that sets these fields; there are fewer than 256 combinations."""
    values: dict[str, Any] = {field: bindparam(f"new_{field}") for field in fields}
    return update(User).where(col(User.id) == bindparam("user_id")).values(values)


def _parse_picture(value: str, field: str) -> str:
    """Return an https URL with a host and no user name; the service never fetches it (HT-22)."""
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        port, url = -1, urlsplit("")
    is_plain = value.isascii() and value.isprintable() and " " not in value
    if (
        not is_plain
        or url.scheme != "https"
        or not url.hostname
        or url.username is not None
        or port == -1
    ):
        raise InvalidRequest.of(field, "must be an https URL with a host and without a user name")
    return value


_PARSERS: Mapping[str, Callable[[str, str], str]] = {
    "username": parse_username,
    "first_name": normalize_name,
    "last_name": normalize_name,
    "display_name": normalize_name,
    "phone": parse_phone,
    "picture": _parse_picture,
    "locale": parse_locale,
    "timezone": parse_timezone,
}
