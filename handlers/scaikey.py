"""ScaiKey: the profile, the password, and the verification of the e-mail address."""

from typing import Any

from accounts.flows import email_verification, profile
from accounts.flows import password_change as passwords
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from accounts.services.user_views import Person
from handlers.etags import require_match
from handlers.exchange import Reply
from models import wire


def get_profile(principal: Principal) -> Reply[wire.ScaikeyProfile]:
    return Reply.tagged(_profile(principal.person))


def update_profile(
    session: AccountSession,
    principal: Principal,
    if_match: str | None,
    body: wire.ScaikeyUpdateProfileRequest,
) -> Reply[wire.ScaikeyProfile]:
    require_match(if_match, _profile(principal.person))
    changes: dict[str, Any] = {**body}
    return Reply.tagged(_profile(profile.change_profile(session, principal.person, changes)))


def change_password(
    session: AccountSession, principal: Principal, body: wire.ScaikeyChangePasswordRequest
) -> Reply[wire.ScaikeySuccess]:
    passwords.change_password(
        session, principal, current=body["current_password"], new=body["new_password"]
    )
    return Reply({"success": True})


def request_email_verification(
    session: AccountSession, principal: Principal
) -> Reply[wire.ScaikeySuccess]:
    email_verification.request_email_verification(session, principal.person)
    return Reply({"success": True})


def confirm_email_verification(
    session: AccountSession, body: wire.ScaikeyConfirmEmailVerificationRequest
) -> Reply[wire.ScaikeySuccess]:
    email_verification.confirm_email(session, body["secret"])
    return Reply({"success": True})


def _profile(person: Person) -> wire.ScaikeyProfile:
    return {
        "id": person.user_id,
        "email": person.email,
        "email_verified": person.email_verified,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "display_name": person.name,
        "phone": person.phone,
        "locale": person.locale,
        "timezone": person.timezone,
        "tenant_id": person.tenant_id,
    }
