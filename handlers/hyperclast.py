"""Hyperclast: the current user with an access token, and the logins and devices of its apps."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from accounts.errors import Invalid, UsernameTaken
from accounts.flows.profile import profile, settings
from accounts.flows.sign_in import devices, sessions, signup
from accounts.flows.sign_in.devices import ListedDevice
from accounts.flows.sign_in.sessions import OpenedSession
from accounts.services import access_tokens, csrf_tokens
from accounts.services.user_views import UserView
from handlers.context import DatabaseContext, UserContext
from handlers.dialect import Dialect, Refusal, locations, notices
from handlers.exchange import NO_CONTENT, Reply
from handlers.timestamps import format_timestamp
from models import wire


def _render(refusal: Refusal) -> Mapping[str, Any]:
    error = refusal.error
    detail: Any = " ".join(notices(refusal)) or str(error)
    if refusal.violations is not None:
        detail = locations(refusal)
    errors = [{"code": error.code, "message": str(error)}]
    return {"error": error.code, "message": str(error), "detail": detail, "errors": errors}


DIALECT = Dialect(
    {Invalid: 422, UsernameTaken: 400}, "application/json", _render, field_names={"timezone": "tz"}
)

#: The setting with the keyboard shortcuts, which Hantera's dialect shows among the others.
_SHORTCUTS = "keyboard_shortcuts"


def get_current_user(context: UserContext) -> Reply[wire.HyperclastUser]:
    return _user(context, context.principal.user)


def update_current_user(
    context: UserContext, body: wire.HyperclastUpdateUserRequest
) -> Reply[wire.HyperclastUser]:
    changes = {name: value or None for name, value in _sent(body).items()}
    return _user(context, profile.change_profile(context.session, context.principal.user, changes))


def update_settings(
    context: UserContext, body: wire.HyperclastUpdateSettingsRequest
) -> Reply[wire.HyperclastUpdatedSettings]:
    changes = _sent(body)
    if "tz" in changes:
        zone = {"timezone": changes["tz"]}
        profile.change_profile(context.session, context.principal.user, zone)
    if _SHORTCUTS in changes:
        user_id = context.principal.user.user_id
        settings.replace_setting(context.session, user_id, _SHORTCUTS, changes[_SHORTCUTS])
    if not changes:
        return Reply({"message": "ok"})
    updated = cast("wire.HyperclastUpdateSettingsRequest", changes)
    return Reply({"message": "ok", "details": [{"updated_fields": updated}]})


def get_access_token(context: UserContext) -> Reply[wire.HyperclastAccessToken]:
    token = access_tokens.reveal_access_token(context.session, context.principal.user)
    return Reply({"access_token": token})


def regenerate_access_token(context: UserContext) -> Reply[wire.HyperclastAccessToken]:
    token = access_tokens.regenerate_access_token(context.session, context.principal.user)
    return Reply({"access_token": token})


def log_in(
    context: DatabaseContext, body: wire.HyperclastLogInRequest
) -> Reply[wire.HyperclastAppSession]:
    login = sessions.log_in(context.session, **body, user_agent=context.exchange.user_agent)
    return _app_session(login)


def sign_up(
    context: DatabaseContext, body: wire.HyperclastSignUpRequest
) -> Reply[wire.HyperclastAppSession]:
    login = signup.sign_up(context.session, **body, user_agent=context.exchange.user_agent)
    return _app_session(login)


def log_in_browser(
    context: DatabaseContext, body: wire.HyperclastLogInRequest
) -> Reply[wire.HyperclastBrowserSession]:
    context.exchange.require_same_origin()
    login = sessions.log_in(context.session, **body, user_agent=context.exchange.user_agent)
    return _browser_login(context, login)


def sign_up_browser(
    context: DatabaseContext, body: wire.HyperclastSignUpRequest
) -> Reply[wire.HyperclastBrowserSession]:
    context.exchange.require_same_origin()
    login = signup.sign_up(context.session, **body, user_agent=context.exchange.user_agent)
    return _browser_login(context, login)


def get_session(context: UserContext) -> Reply[wire.HyperclastBrowserSession]:
    token = csrf_tokens.csrf_token(context.session.keys, context.principal.credential.id)
    lifetime = context.session.limits.session_lifetime
    cookie = context.exchange.csrf_cookie(token, lifetime=lifetime)
    return _browser_session(context.principal.user, cookie)


def end_session(
    context: UserContext, x_csrftoken: str | None
) -> Reply[wire.HyperclastEndedSession]:
    keys, session_id = context.session.keys, context.principal.credential.id
    matches = csrf_tokens.is_csrf_token(keys, session_id, x_csrftoken or "")
    context.exchange.require_csrf_token(matches=matches)
    sessions.log_out(context.session, context.principal)
    return Reply(
        {"status": 200, "meta": {"is_authenticated": False}},
        headers=context.exchange.cleared_browser_cookies(),
    )


def list_devices(context: UserContext) -> Reply[wire.HyperclastDeviceList]:
    listed = devices.list_devices(context.session, context.principal.user.user_id)
    return Reply([_device(context, device) for device in listed])


def register_device(
    context: UserContext, body: wire.HyperclastRegisterDeviceRequest
) -> Reply[wire.HyperclastRegisteredDevice]:
    fields = _sent(body)
    client_id = fields.pop("client_id")
    token = devices.register_device(
        context.session, context.principal, client_id=client_id, fields=fields
    )
    return Reply({"access_token": token, "client_id": client_id}, HTTPStatus.CREATED)


def update_device(
    context: UserContext, client_id: str, body: wire.HyperclastUpdateDeviceRequest
) -> Reply[wire.HyperclastDevice]:
    user = context.principal.user
    device = devices.change_device(context.session, user, client_id, _sent(body))
    return Reply(_device(context, device))


def revoke_device(context: UserContext, client_id: str) -> Reply[None]:
    devices.revoke_device(context.session, context.principal.user, client_id)
    return NO_CONTENT


def _app_session(login: OpenedSession) -> Reply[wire.HyperclastAppSession]:
    meta: wire.HyperclastAppSessionMeta = {"is_authenticated": True, "session_token": login.token}
    return Reply({"status": 200, "data": _session_data(login.user), "meta": meta})


def _browser_login(
    context: DatabaseContext, login: OpenedSession
) -> Reply[wire.HyperclastBrowserSession]:
    cookies = context.exchange.browser_cookies(
        login.token,
        csrf_tokens.csrf_token(context.session.keys, login.session_id),
        now=context.session.now,
        expires_at=login.expires_at,
    )
    return _browser_session(login.user, cookies)


def _browser_session(
    user: UserView, headers: Mapping[str, str]
) -> Reply[wire.HyperclastBrowserSession]:
    return Reply(
        {"status": 200, "data": _session_data(user), "meta": {"is_authenticated": True}},
        headers=headers,
    )


def _session_data(user: UserView) -> wire.HyperclastSessionData:
    return {
        "user": {
            "external_id": user.external_id,
            "email": user.email,
            "has_usable_password": user.provider == "local",
        },
        "methods": [],
    }


def _device(context: UserContext, device: ListedDevice) -> wire.HyperclastDevice:
    return {
        "client_id": device.client_id,
        "client_type": "mobile",
        "name": device.name,
        "os": device.os,
        "app_version": device.app_version,
        "last_active": format_timestamp(device.last_used_at or device.created_at),
        "created": format_timestamp(device.created_at),
        "is_current": device.session_id == context.principal.credential.id,
        "details": cast("wire.HyperclastDeviceDetails", device.details),
    }


def _sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null: to Hyperclast, null leaves a field as it is."""
    return {name: value for name, value in body.items() if value is not None}


def _user(context: UserContext, user: UserView) -> Reply[wire.HyperclastUser]:
    shortcuts = settings.find_setting(context.session, user.user_id, _SHORTCUTS)
    return Reply(
        {
            "external_id": user.external_id,
            "email": user.email,
            "email_verified": user.email_verified,
            "username": user.username,
            "first_name": user.first_name or "",
            "last_name": user.last_name or "",
            "is_authenticated": True,
            "access_token": access_tokens.reveal_access_token(context.session, user),
            "keyboard_shortcuts": cast("wire.HyperclastKeyboardShortcuts", shortcuts),
        }
    )
