"""jitsudo: the change of the password for a named tenant."""

from accounts.flows.password import password_change
from accounts.services import authorization
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.exchange import NO_CONTENT, Reply
from models import wire


def change_password(
    session: AccountSession,
    principal: Principal,
    x_tenant_id: str,
    body: wire.JitsudoChangePasswordRequest,
) -> Reply[None]:
    authorization.require_tenant(principal.user, x_tenant_id)
    password_change.change_password(
        session, principal, current=body["current_password"], new=body["new_password"]
    )
    return NO_CONTENT
