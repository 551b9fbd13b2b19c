"""jitsudo: profile and password change, for a tenant that a header names."""

from collections.abc import Mapping
from typing import Any, Literal, cast

from accounts.errors import Invalid
from accounts.flows.password import password_change
from accounts.flows.profile import avatars
from accounts.services.policies import authorization
from accounts.services.user_views import UserView
from handlers.context import UserContext
from handlers.dialect import Dialect, Refusal, details, listed_notices
from handlers.exchange import NO_CONTENT, Reply
from models import wire


def _render(refusal: Refusal) -> Mapping[str, Any]:
    error = refusal.error
    return {
        "code": error.code,
        "message": str(error),
        **(details(refusal) if refusal.violations is not None else {}),
        **listed_notices(refusal),
    }


DIALECT = Dialect(
    {Invalid: 400}, "application/json", _render, field_names={"avatar": "avatar_base64"}
)

_PROFILE_FIELDS = DIALECT.fields_of_acts


def get_user_profile(context: UserContext, x_tenant_id: str) -> Reply[wire.JitsudoUserProfile]:
    user = context.principal.user
    authorization.require_tenant(user, x_tenant_id)
    return _profile(context, user)


def update_user_profile(
    context: UserContext, x_tenant_id: str, body: wire.JitsudoUpdateUserProfileRequest
) -> Reply[wire.JitsudoUserProfile]:
    user = context.principal.user
    authorization.require_tenant(user, x_tenant_id)
    fields: dict[str, Any] = {**body}
    changes = {_PROFILE_FIELDS.get(name, name): value or None for name, value in fields.items()}
    return _profile(context, avatars.change_names_and_avatar(context.session, user, changes))


def change_password(
    context: UserContext, x_tenant_id: str, body: wire.JitsudoChangePasswordRequest
) -> Reply[None]:
    authorization.require_tenant(context.principal.user, x_tenant_id)
    current, new = body["current_password"], body["new_password"]
    password_change.change_password(context.session, context.principal, current=current, new=new)
    return NO_CONTENT


def _profile(context: UserContext, user: UserView) -> Reply[wire.JitsudoUserProfile]:
    return Reply(
        {
            "id": user.identity_id,
            "email": user.email,
            "name": user.name,
            # The column is text, and contains only values that the document lists.
            "auth_provider": cast("Literal['local', 'oidc', 'saml']", user.provider),
            "first_name": user.first_name,
            "last_name": user.last_name,
            "display_name": user.display_name,
            "avatar_base64": avatars.find_avatar(context.session, user),
        }
    )
