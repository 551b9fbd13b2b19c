"""Hyperclast: the current user with an access token that can be shown again."""

from collections.abc import Mapping
from typing import Any, cast

from accounts.errors import Invalid, UsernameTaken
from accounts.flows.profile import profile, settings
from accounts.services import access_tokens
from accounts.services.user_views import UserView
from handlers.context import UserContext
from handlers.dialect import Dialect, Refusal, locations, notices
from handlers.exchange import Reply
from models import wire


def _render(refusal: Refusal) -> Mapping[str, Any]:
    error = refusal.error
    detail: Any = " ".join(notices(refusal)) or str(error)
    if refusal.violations is not None:
        detail = locations(refusal)
    return {"error": error.code, "message": str(error), "detail": detail}


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


def _sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are not null: to Hyperclast, null leaves a field as it is."""
    return {name: value for name, value in body.items() if value is not None}


def _user(context: UserContext, user: UserView) -> Reply[wire.HyperclastUser]:
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
            "keyboard_shortcuts": settings.find_setting(context.session, user.user_id, _SHORTCUTS),
        }
    )
