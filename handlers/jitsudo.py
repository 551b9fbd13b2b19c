"""jitsudo: profile, password change and second factors, for a tenant that a header names."""

from collections.abc import Mapping
from typing import Any, Literal, cast

from accounts.errors import Invalid
from accounts.flows.factors import enrolment, recovery_codes
from accounts.flows.factors.recovery_codes import RecoveryCodes
from accounts.flows.password import password_change
from accounts.flows.profile import avatars
from accounts.services.policies import authorization
from accounts.services.user_views import UserView
from handlers.context import UserContext
from handlers.dialect import Dialect, Refusal, details, listed_notices
from handlers.exchange import NO_CONTENT, Reply
from handlers.timestamps import format_optional_timestamp, format_timestamp
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


def list_mfa_methods(context: UserContext, x_tenant_id: str) -> Reply[wire.JitsudoMfaMethodList]:
    user = context.principal.user
    authorization.require_tenant(user, x_tenant_id)
    return Reply(
        {
            "methods": [
                {
                    "id": factor.id,
                    "method_type": "totp",
                    "device_name": None,
                    "verified": True,
                    "created_at": format_timestamp(factor.created_at),
                    "last_used_at": format_optional_timestamp(factor.last_used_at),
                }
                for factor in enrolment.list_factors(context.session, user.user_id)
            ]
        }
    )


def enrol_totp(context: UserContext, x_tenant_id: str) -> Reply[wire.JitsudoTotpEnrolment]:
    user = context.principal.user
    authorization.require_tenant(user, x_tenant_id)
    enrolled = enrolment.enrol_totp(context.session, user)
    return Reply({"id": enrolled.id, "secret": enrolled.secret, "qr_uri": enrolled.uri})


def confirm_totp(
    context: UserContext, x_tenant_id: str, body: wire.JitsudoConfirmTotpRequest
) -> Reply[wire.JitsudoBackupCodes]:
    authorization.require_tenant(context.principal.user, x_tenant_id)
    renewed = enrolment.confirm_totp(
        context.session, context.principal, code=body["code"], password=body["password"]
    )
    return _backup_codes(renewed)


def remove_mfa_method(context: UserContext, x_tenant_id: str, id_: str) -> Reply[None]:
    user = context.principal.user
    authorization.require_tenant(user, x_tenant_id)
    enrolment.remove_factor(context.session, user, id_)
    return NO_CONTENT


def regenerate_backup_codes(
    context: UserContext, x_tenant_id: str
) -> Reply[wire.JitsudoBackupCodes]:
    user = context.principal.user
    authorization.require_tenant(user, x_tenant_id)
    return _backup_codes(recovery_codes.regenerate_codes(context.session, user))


def _backup_codes(renewed: RecoveryCodes) -> Reply[wire.JitsudoBackupCodes]:
    return Reply({"codes": list(renewed.codes), "remaining": len(renewed.codes)})


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
