"""Hyperclast: the current user with an access token that can be shown again."""

from accounts.flows import access_tokens
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.exchange import Reply
from models import wire


def get_current_user(session: AccountSession, principal: Principal) -> Reply[wire.HyperclastUser]:
    person = principal.person
    return Reply(
        {
            "external_id": person.external_id,
            "email": person.email,
            "email_verified": person.email_verified,
            "username": person.username,
            "first_name": person.first_name or "",
            "last_name": person.last_name or "",
            "is_authenticated": True,
            "access_token": access_tokens.reveal_access_token(session, person),
        }
    )


def get_access_token(
    session: AccountSession, principal: Principal
) -> Reply[wire.HyperclastAccessToken]:
    token = access_tokens.reveal_access_token(session, principal.person)
    return Reply({"access_token": token})


def regenerate_access_token(
    session: AccountSession, principal: Principal
) -> Reply[wire.HyperclastAccessToken]:
    token = access_tokens.regenerate_access_token(session, principal.person)
    return Reply({"access_token": token})
