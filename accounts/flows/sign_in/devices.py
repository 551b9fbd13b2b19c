"""Devices: descriptions of sessions, by the application that the session belongs to.

A device has no credential of its own: its access ends with the session, and the limit of sessions
is that of devices.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import bindparam, select, update
from sqlmodel import col

from accounts.crypto import tokens
from accounts.crypto.keyring import Purpose
from accounts.errors import InvalidRequest, NotFound
from accounts.services.credentials import SESSION, is_live, revoke
from accounts.services.database import AccountSession, columns_of, lock_account
from accounts.services.events import EventKind, record_event
from accounts.services.idle_sessions import idle_since
from accounts.services.principal import Principal
from accounts.services.user_views import UserView
from accounts.values import names
from models import Device, LoginSession

_MAX_DETAILS_BYTES = 4096


class ListedDevice(NamedTuple):
    """A device whose session is live, as its owner sees it."""

    session_id: str
    client_id: str
    name: str
    os: str
    app_version: str
    details: dict[str, Any]
    created_at: datetime
    last_used_at: datetime | None


_LIVE = (
    select(
        *columns_of(
            Device,
            ListedDevice,
            created_at=col(LoginSession.created_at),
            last_used_at=col(LoginSession.last_used_at),
        )
    )
    .join(LoginSession, col(LoginSession.id) == col(Device.session_id))
    .where(
        col(Device.user_id) == bindparam("user_id"),
        is_live(LoginSession, bindparam("now"), bindparam("idle_since")),
    )
    .order_by(col(LoginSession.created_at).desc(), col(Device.session_id))
)


def register_device(
    session: AccountSession, principal: Principal, *, client_id: str, fields: Mapping[str, Any]
) -> str:
    """Make the principal's session that of a device; returns the new token of the session.

    The session keeps its id and its end, and the token of the request is no longer valid. An
    earlier session of the same device is revoked, so that a device has one.

    Raises:
        InvalidRequest: A text breaks a rule, or the details are too large.
    """
    user, session_id = principal.user, principal.credential.id
    values = _parse(fields)
    lock_account(session, user.user_id)
    for device in list_devices(session, user.user_id):
        if device.client_id == client_id and device.session_id != session_id:
            revoke(session, user, SESSION, device.session_id)
    session.merge(
        Device(
            session_id=session_id,
            user_id=user.user_id,
            client_id=client_id,
            **{"name": "", "os": "", "app_version": "", "details": {}, **values},
        )
    )
    token = tokens.mint(tokens.SESSION)
    session.core.execute(
        update(LoginSession)
        .where(col(LoginSession.id) == session_id)
        .values(
            token_digest=session.keys.digest(Purpose.SESSION, token), key_id=session.keys.key_id
        )
    )
    record_event(
        session, EventKind.TOKEN_CREATED, user, credential=SESSION.name, credential_id=session_id
    )
    return token


def list_devices(session: AccountSession, user_id: str) -> Sequence[ListedDevice]:
    """List the devices of a user whose sessions are live, newest first."""
    idle = idle_since(session.limits, session.now)
    parameters = {"user_id": user_id, "now": session.now, "idle_since": idle}
    return [ListedDevice._make(row) for row in session.rows(_LIVE, parameters)]


def change_device(
    session: AccountSession, user: UserView, client_id: str, fields: Mapping[str, Any]
) -> ListedDevice:
    """Change what is known of a device, and return it.

    Raises:
        NotFound: The user has no such device with a live session.
        InvalidRequest: A text breaks a rule, or the details are too large.
    """
    values = _parse(fields)
    lock_account(session, user.user_id)
    device = _find(session, user, client_id)
    if values:
        changed = update(Device).where(col(Device.session_id) == device.session_id)
        session.core.execute(changed.values(values))
    return device._replace(**values)


def revoke_device(session: AccountSession, user: UserView, client_id: str) -> None:
    """Revoke the session of a device.

    Raises:
        NotFound: The user has no such device with a live session.
    """
    revoke(session, user, SESSION, _find(session, user, client_id).session_id)


def _find(session: AccountSession, user: UserView, client_id: str) -> ListedDevice:
    for device in list_devices(session, user.user_id):
        if device.client_id == client_id:
            return device
    raise NotFound


def _parse(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that were sent, validated; an empty text is none."""
    values = dict(fields)
    for name in ("name", "os", "app_version"):
        if values.get(name):
            values[name] = names.normalize_name(values[name], name)
    if len(orjson.dumps(values.get("details", {}))) > _MAX_DETAILS_BYTES:
        raise InvalidRequest.of("details", f"must have at most {_MAX_DETAILS_BYTES} bytes")
    return values
