"""ipto: account, sessions and API keys, answered in an envelope."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from accounts.errors import Invalid
from accounts.flows import event_log
from accounts.flows.deletion import account_deletion
from accounts.flows.event_log import ListedEvent
from accounts.flows.password import password_change, password_reset
from accounts.flows.sign_in import reauthentication, sessions, signup
from accounts.flows.sign_in.sessions import ListedSession, OpenedSession
from accounts.flows.tokens import api_keys
from accounts.flows.tokens.api_keys import ListedApiKey
from accounts.flows.tokens.token_lists import TokenFilter, TokenState
from accounts.services.principal import Principal
from handlers.context import DatabaseContext, PrincipalContext, UserContext
from handlers.dialect import Dialect, Refusal, ResponseMeta, details
from handlers.exchange import NO_CONTENT, Reply
from handlers.timestamps import (
    format_optional_timestamp,
    format_timestamp,
    parse_optional_timestamp,
    parse_timestamp,
)
from models import ApiKey, wire


def _wrap(data: Any, meta: ResponseMeta) -> Mapping[str, Any]:
    return {"data": data, "request_id": meta.request_id, "timestamp": meta.timestamp}


def _render(refusal: Refusal) -> Mapping[str, Any]:
    error, meta = refusal.error, refusal.meta
    return {
        "error": {"code": error.code, "message": str(error), **details(refusal)},
        "request_id": meta.request_id,
        "timestamp": meta.timestamp,
    }


DIALECT = Dialect({Invalid: 400}, "application/json", _render, wrap=_wrap)


def sign_up(context: DatabaseContext, body: wire.IptoSignUpRequest) -> Reply[wire.IptoSignUp]:
    login = signup.sign_up(context.session, **body, user_agent=context.exchange.user_agent)
    return Reply(
        {
            "user_id": login.user.user_id,
            "tenant_id": login.user.tenant_id,
            "session_token": login.token,
            "display_name": login.user.name,
            "email": login.user.email,
            "email_verified": login.user.email_verified,
        },
        HTTPStatus.CREATED,
    )


def log_in(
    context: DatabaseContext, body: wire.IptoLogInRequest
) -> Reply[wire.IptoLogIn | wire.IptoLogInChallenge]:
    login = sessions.begin_login(
        context.session,
        email=body["email"],
        password=body["password"],
        user_agent=context.exchange.user_agent,
    )
    if isinstance(login, OpenedSession):
        return _logged_in(context, login, by_cookie=body.get("cookie", False))
    return Reply(
        {
            "mfa_required": True,
            "challenge_id": login.challenge_id,
            "methods": list(login.methods),
            "enrollment_required": False,
        }
    )


def complete_log_in(
    context: DatabaseContext, body: wire.IptoCompleteLogInRequest
) -> Reply[wire.IptoLogIn]:
    login = sessions.complete_challenge(
        context.session,
        challenge_id=body["challenge_id"],
        code=body["code"],
        user_agent=context.exchange.user_agent,
    )
    return _logged_in(context, login, by_cookie=body.get("cookie", False))


def _logged_in(context: DatabaseContext, login: OpenedSession, *, by_cookie: bool) -> Reply[Any]:
    answer: wire.IptoLogIn = {
        "user_id": login.user.user_id,
        "tenant_id": login.user.tenant_id,
        "expires_at": format_timestamp(login.expires_at),
        "display_name": login.user.name,
        "email": login.user.email,
        "email_verified": login.user.email_verified,
    }
    if by_cookie:
        # No token in the body: a script could read it, which HttpOnly is to prevent (SE-08).
        cookie = context.exchange.session_cookie(
            login.token, now=context.session.now, expires_at=login.expires_at
        )
        return Reply(answer, headers=cookie)
    return Reply({**answer, "session_token": login.token})


def log_out(context: UserContext) -> Reply[wire.IptoSuccess]:
    sessions.log_out(context.session, context.principal)
    return Reply({"success": True}, headers=context.exchange.cleared_cookie())


def get_current_user(context: PrincipalContext) -> Reply[wire.IptoCurrentUser]:
    user = context.principal.user
    return Reply(
        {
            "user_id": user.user_id,
            "email": user.email,
            "email_verified": user.email_verified,
            "display_name": user.name,
            "tenant_id": user.tenant_id,
            "tenant_display_name": user.tenant_display_name,
            "is_platform_admin": user.is_platform_admin,
            "roles": user.roles,
        }
    )


def delete_account(context: UserContext) -> Reply[wire.IptoDeletion]:
    erased_at = account_deletion.delete_account(context.session, context.principal.user)
    headers = context.exchange.cleared_cookie()
    return Reply({"erased_at": format_timestamp(erased_at)}, headers=headers)


def restore_account(
    context: DatabaseContext, body: wire.IptoRestoreAccountRequest
) -> Reply[wire.IptoSuccess]:
    account_deletion.restore_account(context.session, body["secret"])
    return Reply({"success": True})


def change_password(
    context: UserContext, body: wire.IptoChangePasswordRequest
) -> Reply[wire.IptoSuccess]:
    current, new = body["current_password"], body["new_password"]
    password_change.change_password(context.session, context.principal, current=current, new=new)
    return Reply({"success": True})


def renew_authentication(
    context: UserContext, body: wire.IptoRenewAuthenticationRequest
) -> Reply[wire.IptoSuccess]:
    reauthentication.reauthenticate(
        context.session, context.principal, password=body["password"], code=body.get("code")
    )
    return Reply({"success": True})


def list_sessions(context: UserContext) -> Reply[wire.IptoSessionList]:
    rows = sessions.list_sessions(context.session, context.principal.user.user_id)
    return Reply({"items": [_session(row, context.principal) for row in rows]})


def revoke_session(context: UserContext, session_id: str) -> Reply[None]:
    sessions.revoke_session(context.session, context.principal.user, session_id)
    return NO_CONTENT


def revoke_other_sessions(context: UserContext) -> Reply[None]:
    sessions.revoke_other_sessions(context.session, context.principal)
    return NO_CONTENT


def create_api_key(
    context: UserContext, body: wire.IptoCreateApiKeyRequest
) -> Reply[wire.IptoCreatedApiKey]:
    mode = body.get("dataset_access_mode", "all_available")
    expiry = parse_timestamp(body["expires_at"], "expires_at") if "expires_at" in body else None
    api_key, key = api_keys.create_api_key(
        context.session,
        context.principal,
        name=body["name"],
        scopes=body["scopes"],
        dataset_access_mode=mode,
        expires_at=expiry,
    )
    return Reply(
        {
            "api_key_id": api_key.id,
            "key": key,
            "secret": key,
            "name": api_key.name,
            "key_prefix": api_key.prefix,
            "scopes": list(body["scopes"]),
            "dataset_access_mode": mode,
            "created_at": format_timestamp(api_key.created_at),
            "expires_at": format_timestamp(api_key.expires_at),
        },
        HTTPStatus.CREATED,
    )


def request_password_reset(
    context: DatabaseContext, body: wire.IptoForgotPasswordRequest
) -> Reply[wire.IptoSuccess]:
    password_reset.request_password_reset(context.session, body["email"])
    return Reply({"success": True}, HTTPStatus.ACCEPTED)


def reset_password(
    context: DatabaseContext, body: wire.IptoResetPasswordRequest
) -> Reply[wire.IptoSuccess]:
    secret, new = body["secret"], body["new_password"]
    password_reset.reset_password(context.session, secret=secret, new=new, code=body.get("code"))
    return Reply({"success": True})


def list_events(context: UserContext, limit: int, cursor: str | None) -> Reply[wire.IptoEventPage]:
    page = event_log.list_events(
        context.session, context.principal.user.user_id, limit=limit, cursor=cursor
    )
    return Reply({"items": [_event(row) for row in page.events], "next_cursor": page.next_cursor})


def list_api_keys(
    context: UserContext, state: str, last_used_before: str | None, expires_before: str | None
) -> Reply[wire.IptoApiKeyList]:
    selection = TokenFilter(
        TokenState(state),
        parse_optional_timestamp(last_used_before, "last_used_before"),
        parse_optional_timestamp(expires_before, "expires_before"),
    )
    rows = api_keys.list_api_keys(context.session, context.principal.user.user_id, selection)
    return Reply({"items": [_api_key(row) for row in rows]})


def get_api_key_limits(context: UserContext) -> Reply[wire.IptoApiKeyLimits]:
    limits = api_keys.find_api_key_limits(context.session, context.principal)
    return Reply(
        {
            "maximum": limits.maximum,
            "active": limits.active,
            "latest_expires_at": format_timestamp(limits.latest_expiry),
        }
    )


def get_own_api_key(context: UserContext) -> Reply[wire.IptoOwnApiKey]:
    key = api_keys.find_own_api_key(context.session, context.principal)
    return Reply(
        {
            "name": key.name,
            "scopes": key.scopes,
            "dataset_access_mode": cast("wire.DatasetAccessMode", key.dataset_access_mode),
            "created_at": format_timestamp(key.created_at),
            "expires_at": format_timestamp(key.expires_at),
            "last_used_at": format_optional_timestamp(key.last_used_at),
        }
    )


def revoke_api_key(context: UserContext, api_key_id: str) -> Reply[None]:
    api_keys.revoke_api_key(context.session, context.principal.user, api_key_id)
    return NO_CONTENT


def _session(row: ListedSession, principal: Principal) -> wire.IptoSession:
    return {
        "session_id": row.id,
        "created_at": format_timestamp(row.created_at),
        "expires_at": format_timestamp(row.expires_at),
        "last_used_at": format_optional_timestamp(row.last_used_at),
        "user_agent": row.user_agent,
        "current": row.id == principal.credential.session_id,
    }


def _event(row: ListedEvent) -> wire.IptoEvent:
    return {
        "event_id": row.id,
        "kind": row.kind,
        "occurred_at": format_timestamp(row.occurred_at),
        "source": row.source,
        "credential_kind": row.credential_kind,
        "credential_id": row.credential_id,
        "details": row.details,
    }


def _api_key(row: ApiKey | ListedApiKey) -> wire.IptoApiKey:
    # The column of the mode is text, and contains only values that the document allows.
    return {
        "api_key_id": row.id,
        "name": row.name,
        "key_prefix": row.prefix,
        "scopes": row.scopes,
        "dataset_access_mode": cast("wire.DatasetAccessMode", row.dataset_access_mode),
        "created_at": format_timestamp(row.created_at),
        "expires_at": format_timestamp(row.expires_at),
        "last_used_at": format_optional_timestamp(row.last_used_at),
    }
