"""jitsudo: the password change, for a tenant that a header names."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import Invalid
from accounts.flows.password import password_change
from accounts.services.policies import authorization
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


DIALECT = Dialect({Invalid: 400}, "application/json", _render)


def change_password(
    context: UserContext, x_tenant_id: str, body: wire.JitsudoChangePasswordRequest
) -> Reply[None]:
    authorization.require_tenant(context.principal.user, x_tenant_id)
    current, new = body["current_password"], body["new_password"]
    password_change.change_password(context.session, context.principal, current=current, new=new)
    return NO_CONTENT
