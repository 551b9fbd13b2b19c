"""Hyperclast: the current user with an access token that can be shown again."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import Invalid
from accounts.services import access_tokens
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


DIALECT = Dialect({Invalid: 422}, "application/json", _render)


def get_current_user(context: UserContext) -> Reply[wire.HyperclastUser]:
    user = context.principal.user
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
        }
    )


def get_access_token(context: UserContext) -> Reply[wire.HyperclastAccessToken]:
    token = access_tokens.reveal_access_token(context.session, context.principal.user)
    return Reply({"access_token": token})


def regenerate_access_token(context: UserContext) -> Reply[wire.HyperclastAccessToken]:
    token = access_tokens.regenerate_access_token(context.session, context.principal.user)
    return Reply({"access_token": token})
