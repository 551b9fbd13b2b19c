"""ScaiKey: profile, password and email verification."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import Invalid
from accounts.flows.email import address_release, email_verification
from accounts.flows.password import password_change
from accounts.flows.profile import profile
from accounts.services.user_views import UserView
from handlers.context import DatabaseContext, PrincipalContext, UserContext
from handlers.dialect import Dialect, Refusal, locations, notices
from handlers.etags import require_match
from handlers.exchange import Reply
from models import wire


def _render(refusal: Refusal) -> Mapping[str, Any]:
    if refusal.violations is not None:
        return {"detail": locations(refusal)}
    error = refusal.error
    return {"detail": " ".join((str(error), *notices(refusal))), "code": error.code}


DIALECT = Dialect({Invalid: 422}, "application/json", _render)


def get_profile(context: PrincipalContext) -> Reply[wire.ScaikeyProfile]:
    return Reply.tagged(_profile(context.principal.user))


def update_profile(
    context: UserContext, if_match: str | None, body: wire.ScaikeyUpdateProfileRequest
) -> Reply[wire.ScaikeyProfile]:
    require_match(if_match, _profile(context.principal.user))
    changes: dict[str, Any] = {**body}
    return Reply.tagged(
        _profile(profile.change_profile(context.session, context.principal.user, changes))
    )


def change_password(
    context: UserContext, body: wire.ScaikeyChangePasswordRequest
) -> Reply[wire.ScaikeySuccess]:
    current, new = body["current_password"], body["new_password"]
    password_change.change_password(context.session, context.principal, current=current, new=new)
    return Reply({"success": True})


def request_email_verification(context: UserContext) -> Reply[wire.ScaikeySuccess]:
    email_verification.request_email_verification(context.session, context.principal.user)
    return Reply({"success": True})


def confirm_email_verification(
    context: DatabaseContext, body: wire.ScaikeyConfirmEmailVerificationRequest
) -> Reply[wire.ScaikeySuccess]:
    email_verification.confirm_email(context.session, body["secret"])
    return Reply({"success": True})


def release_email(
    context: DatabaseContext, body: wire.ScaikeyReleaseEmailRequest
) -> Reply[wire.ScaikeySuccess]:
    address_release.release_address(context.session, body["secret"])
    return Reply({"success": True})


def _profile(user: UserView) -> wire.ScaikeyProfile:
    return {
        "id": user.user_id,
        "email": user.email,
        "email_verified": user.email_verified,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "display_name": user.name,
        "phone": user.phone,
        "locale": user.locale,
        "timezone": user.timezone,
        "tenant_id": user.tenant_id,
    }
