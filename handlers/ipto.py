"""ipto: account, sessions and API keys. The envelope is put around each answer by the edge."""

from datetime import datetime
from http import HTTPStatus
from typing import cast

from accounts.flows import api_keys, signup
from accounts.flows import event_log as event_listing
from accounts.flows import password_change as passwords
from accounts.flows import password_reset as password_resets
from accounts.flows import sessions as login_sessions
from accounts.flows.api_keys import ListedApiKey
from accounts.flows.event_log import ListedEvent
from accounts.flows.sessions import ListedSession
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.exchange import NO_CONTENT, Exchange, Reply
from handlers.timestamps import parse_moment, write_moment, write_optional_moment
from models import ApiKey, wire


def sign_up(
    session: AccountSession, exchange: Exchange, body: wire.IptoSignUpRequest
) -> Reply[wire.IptoSignUp]:
    opened = signup.sign_up(session, **body, user_agent=exchange.user_agent)
    return Reply(
        {
            "user_id": opened.person.user_id,
            "tenant_id": opened.person.tenant_id,
            "session_token": opened.token,
            "display_name": opened.person.name,
            "email": opened.person.email,
        },
        HTTPStatus.CREATED,
    )


def log_in(
    session: AccountSession, exchange: Exchange, body: wire.IptoLogInRequest
) -> Reply[wire.IptoLogIn]:
    opened = login_sessions.log_in(
        session, email=body["email"], password=body["password"], user_agent=exchange.user_agent
    )
    answer: wire.IptoLogIn = {
        "user_id": opened.person.user_id,
        "tenant_id": opened.person.tenant_id,
        "expires_at": write_moment(opened.expires_at),
        "display_name": opened.person.name,
        "email": opened.person.email,
    }
    if body.get("cookie"):
        # A token that the page can read would undo what HttpOnly is for (SE-08).
        cookie = exchange.session_cookie(
            opened.token, now=session.now, expires_at=opened.expires_at
        )
        return Reply(answer, headers=cookie)
    return Reply({**answer, "session_token": opened.token})


def log_out(
    session: AccountSession, principal: Principal, exchange: Exchange
) -> Reply[wire.IptoSuccess]:
    login_sessions.log_out(session, principal)
    return Reply({"success": True}, headers=exchange.cleared_cookie())


def get_current_user(principal: Principal) -> Reply[wire.IptoCurrentUser]:
    person = principal.person
    return Reply(
        {
            "user_id": person.user_id,
            "email": person.email,
            "display_name": person.name,
            "tenant_id": person.tenant_id,
            "tenant_display_name": person.tenant_display_name,
            "is_platform_admin": person.is_platform_admin,
            "roles": person.roles,
        }
    )


def change_password(
    session: AccountSession, principal: Principal, body: wire.IptoChangePasswordRequest
) -> Reply[wire.IptoSuccess]:
    passwords.change_password(
        session, principal, current=body["current_password"], new=body["new_password"]
    )
    return Reply({"success": True})


def list_sessions(session: AccountSession, principal: Principal) -> Reply[wire.IptoSessionList]:
    live = login_sessions.list_sessions(session, principal.person.user_id)
    return Reply({"items": [_session(row, principal) for row in live]})


def revoke_session(session: AccountSession, principal: Principal, session_id: str) -> Reply[None]:
    login_sessions.revoke_session(session, principal.person, session_id)
    return NO_CONTENT


def revoke_other_sessions(session: AccountSession, principal: Principal) -> Reply[None]:
    login_sessions.revoke_other_sessions(session, principal)
    return NO_CONTENT


def create_api_key(
    session: AccountSession, principal: Principal, body: wire.IptoCreateApiKeyRequest
) -> Reply[wire.IptoCreatedApiKey]:
    made, key = api_keys.create_api_key(
        session,
        principal,
        name=body["name"],
        scopes=body["scopes"],
        dataset_access_mode=body.get("dataset_access_mode", "all_available"),
        expires_at=_requested_expiry(body),
    )
    return Reply(
        {
            "api_key_id": made.id,
            "key": key,
            "name": made.name,
            "key_prefix": made.prefix,
            "scopes": body["scopes"],
            "dataset_access_mode": body.get("dataset_access_mode", "all_available"),
            "created_at": write_moment(made.created_at),
            "expires_at": write_moment(made.expires_at),
        },
        HTTPStatus.CREATED,
    )


def request_password_reset(
    session: AccountSession, body: wire.IptoForgotPasswordRequest
) -> Reply[wire.IptoSuccess]:
    password_resets.request_password_reset(session, body["email"])
    return Reply({"success": True}, HTTPStatus.ACCEPTED)


def reset_password(
    session: AccountSession, body: wire.IptoResetPasswordRequest
) -> Reply[wire.IptoSuccess]:
    password_resets.reset_password(session, secret=body["secret"], new=body["new_password"])
    return Reply({"success": True})


def list_events(
    session: AccountSession, principal: Principal, limit: int, cursor: str | None
) -> Reply[wire.IptoEventPage]:
    page = event_listing.list_events(session, principal.person.user_id, limit=limit, cursor=cursor)
    return Reply({"items": [_event(row) for row in page.events], "next_cursor": page.next_cursor})


def list_api_keys(session: AccountSession, principal: Principal) -> Reply[wire.IptoApiKeyList]:
    live = api_keys.list_api_keys(session, principal.person.user_id)
    return Reply({"items": [_api_key(row) for row in live]})


def revoke_api_key(session: AccountSession, principal: Principal, api_key_id: str) -> Reply[None]:
    api_keys.revoke_api_key(session, principal.person, api_key_id)
    return NO_CONTENT


def _requested_expiry(body: wire.IptoCreateApiKeyRequest) -> datetime | None:
    return parse_moment(body["expires_at"], "expires_at") if "expires_at" in body else None


def _session(row: ListedSession, principal: Principal) -> wire.IptoSession:
    return {
        "session_id": row.id,
        "created_at": write_moment(row.created_at),
        "expires_at": write_moment(row.expires_at),
        "last_used_at": write_optional_moment(row.last_used_at),
        "user_agent": row.user_agent,
        "current": row.id == principal.credential.session_id,
    }


def _event(row: ListedEvent) -> wire.IptoEvent:
    return {
        "event_id": row.id,
        "kind": row.kind,
        "occurred_at": write_moment(row.occurred_at),
        "source": row.source,
        "credential_kind": row.credential_kind,
        "credential_id": row.credential_id,
        "details": row.details,
    }


def _api_key(row: ApiKey | ListedApiKey) -> wire.IptoApiKey:
    # The columns are text; only what the document let in is in them.
    return {
        "api_key_id": row.id,
        "name": row.name,
        "key_prefix": row.prefix,
        "scopes": cast("wire.ApiKeyScopes", row.scopes),
        "dataset_access_mode": cast("wire.DatasetAccessMode", row.dataset_access_mode),
        "created_at": write_moment(row.created_at),
        "expires_at": write_moment(row.expires_at),
        "last_used_at": write_optional_moment(row.last_used_at),
    }
