"""The settings of a user: a JSON object whose names and values belong to the applications."""

from collections.abc import Mapping
from typing import Any, cast

import orjson
from sqlalchemy import JSON, bindparam, select, text
from sqlmodel import col

from accounts.errors import InvalidRequest, Violation
from accounts.services.database import AccountSession, lock_account
from models import UserSettings
from models.columns import UtcDateTime

_MAX_NAMES = 100

# Not through the entity, which compares by ==: to Python, 1, 1.0 and True are equal.
_SELECT = select(col(UserSettings.document)).where(
    col(UserSettings.user_id) == bindparam("user_id")
)
# As text, since SQLAlchemy has an ON CONFLICT for each database, but none for both.
_UPSERT = text(
    """
    INSERT INTO user_settings (user_id, document, changed_at)
    VALUES (:user_id, :document, :now)
    ON CONFLICT (user_id) DO UPDATE SET document = :document, changed_at = :now
    """
).bindparams(bindparam("document", type_=JSON), bindparam("now", type_=UtcDateTime))


def find_settings(session: AccountSession, user_id: str) -> dict[str, Any]:
    """Return the settings of a user; empty if none were set."""
    for (document,) in session.rows(_SELECT, {"user_id": user_id}):
        return cast("dict[str, Any]", document)
    return {}


def find_setting(session: AccountSession, user_id: str, name: str) -> dict[str, Any]:
    """Return one setting that is an object; empty if it was not set, or is no object."""
    value = find_settings(session, user_id).get(name)
    return value if isinstance(value, dict) else {}


def replace_setting(
    session: AccountSession, user_id: str, name: str, value: Mapping[str, Any]
) -> None:
    """Replace one setting by an object, and leave the others as they are.

    Raises:
        InvalidRequest: The result has too many names, or is too large.
    """
    lock_account(session, user_id)
    replace_settings(session, user_id, {**find_settings(session, user_id), name: value})


def replace_settings(
    session: AccountSession, user_id: str, document: Mapping[str, Any]
) -> dict[str, Any]:
    """Replace the user's settings by a document, and return it.

    Raises:
        InvalidRequest: It has too many names, or is too large.
    """
    lock_account(session, user_id)
    whole = dict(document)
    size = len(orjson.dumps(whole))
    if len(whole) > _MAX_NAMES or size > session.limits.max_settings_bytes:
        rule = f"must have at most {_MAX_NAMES} names and {session.limits.max_settings_bytes} bytes"
        raise InvalidRequest([Violation((), rule)])
    session.defer(_UPSERT, {"user_id": user_id, "document": whole, "now": session.now})
    return whole


def change_settings(
    session: AccountSession, user_id: str, patch: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge a patch into the user's settings (RFC 7396), and return the result.

    The account is locked before the read, so that of two concurrent patches neither is lost
    (DB-02). The row itself cannot be locked, since it may not exist yet.

    Raises:
        InvalidRequest: The result has too many names, or is too large.
    """
    lock_account(session, user_id)
    return replace_settings(session, user_id, _merged(find_settings(session, user_id), patch))


def _merged(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a merged copy (RFC 7396 section 2). The libraries for it are no longer maintained.

    The recursion is as deep as the patch, which the parser of request bodies bounds.
    """
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            merged[name] = _merged(merged.get(name), value)
        else:
            merged[name] = value
    return merged
