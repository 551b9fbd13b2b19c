"""Hantera: profile, email change, settings and personal access tokens."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

from accounts.errors import Invalid
from accounts.flows.email import email_change
from accounts.flows.password import password_change
from accounts.flows.profile import pictures, profile, settings
from accounts.flows.tokens import personal_access_tokens, rotation
from accounts.flows.tokens.personal_access_tokens import ListedPat
from accounts.flows.tokens.rotation import Rotation
from accounts.flows.tokens.token_lists import TokenFilter, TokenState
from accounts.services.one_time_secrets import Undo, find_address_changes
from accounts.services.user_views import UserView
from accounts.values.email_address import mask
from handlers.context import DatabaseContext, UserContext
from handlers.dialect import Dialect
from handlers.etags import is_held, require_match, strong_tag
from handlers.exchange import NO_CONTENT, Reply
from handlers.problem_details import MEDIA_TYPE, render_problem
from handlers.timestamps import (
    format_optional_timestamp,
    format_timestamp,
    parse_optional_timestamp,
    parse_timestamp,
)
from models import PersonalAccessToken, wire

DIALECT = Dialect(
    {Invalid: 400},
    MEDIA_TYPE,
    render_problem,
    field_names={
        "display_name": "name",
        "expires_at": "expiresAt",
        "expires_before": "expiresBefore",
        "last_used_before": "lastUsedBefore",
        "new_password": "newPassword",
    },
)

_PROFILE_FIELDS = DIALECT.fields_of_acts
_PICTURE_PATH = "/resources/me/profile/picture"


def get_profile(context: UserContext) -> Reply[wire.HanteraProfile]:
    return Reply.tagged(_profile(context, context.principal.user))


def update_profile(
    context: UserContext, if_match: str | None, body: wire.HanteraUpdateProfileRequest
) -> Reply[wire.HanteraProfile]:
    if if_match is not None:
        require_match(if_match, _profile(context, context.principal.user))
    changes: dict[str, Any] = {
        _PROFILE_FIELDS.get(name, name): value
        for name, value in body.items()
        # A client that sends back the profile that it read keeps the uploaded picture.
        if (name, value) != ("picture", context.service.issuer + _PICTURE_PATH)
    }
    user = profile.change_profile(context.session, context.principal.user, changes)
    return Reply.tagged(_profile(context, user))


def upload_picture(context: UserContext, body: bytes) -> Reply[wire.HanteraProfile]:
    user = pictures.upload_picture(context.session, context.principal.user, body)
    return Reply(_profile(context, user))


def get_picture(context: UserContext, if_none_match: str | None) -> Reply[bytes]:
    picture = pictures.find_picture(context.session, context.principal.user)
    tag = strong_tag(picture.tag)
    if is_held(if_none_match, tag):
        return Reply(b"", HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    # Browsers download it under this name instead of showing it (IM-07).
    headers = {"ETag": tag, "Content-Disposition": 'attachment; filename="picture.webp"'}
    return Reply(picture.content, media_type=picture.media_type, headers=headers)


def remove_picture(context: UserContext) -> Reply[None]:
    pictures.remove_picture(context.session, context.principal.user)
    return NO_CONTENT


def change_password(context: UserContext, body: wire.HanteraChangePasswordRequest) -> Reply[None]:
    password_change.change_password(
        context.session, context.principal, current=body["currentPassword"], new=body["newPassword"]
    )
    return NO_CONTENT


def request_email_change(
    context: UserContext, body: wire.HanteraEmailChangeRequest
) -> Reply[wire.HanteraEmailChange]:
    user = context.principal.user
    address, secret = email_change.request_email_change(context.session, user, body["email"])
    answer: wire.HanteraEmailChange = {"identityId": user.identity_id, "email": address}
    return Reply(answer if secret is None else {**answer, "secret": secret})


def validate_email_change(
    context: DatabaseContext, body: wire.HanteraEmailValidationRequest
) -> Reply[wire.HanteraEmail]:
    user = email_change.validate_email_change(
        context.session, identity_id=body["identityId"], secret=body["secret"]
    )
    return Reply({"email": user.email, "emailVerified": user.email_verified})


def undo_email_change(
    context: DatabaseContext, body: wire.HanteraEmailUndoRequest
) -> Reply[wire.HanteraUndoneEmailChange]:
    undone = email_change.undo_email_change(context.session, body["secret"])
    return Reply({"email": undone.address, "resetSecret": undone.reset_secret})


def get_settings(context: UserContext) -> Reply[dict[str, Any]]:
    return Reply.tagged(settings.find_settings(context.session, context.principal.user.user_id))


def replace_settings(
    context: UserContext, if_match: str | None, body: dict[str, Any]
) -> Reply[dict[str, Any]]:
    user_id = context.principal.user.user_id
    _require_settings(context, if_match)
    return Reply.tagged(settings.replace_settings(context.session, user_id, body))


def update_settings(
    context: UserContext, if_match: str | None, body: dict[str, Any]
) -> Reply[dict[str, Any]]:
    user_id = context.principal.user.user_id
    _require_settings(context, if_match)
    return Reply.tagged(settings.change_settings(context.session, user_id, body))


def list_pats(
    context: UserContext, state: str, last_used_before: str | None, expires_before: str | None
) -> Reply[list[wire.HanteraPat]]:
    selection = TokenFilter(
        TokenState(state),
        parse_optional_timestamp(last_used_before, "last_used_before"),
        parse_optional_timestamp(expires_before, "expires_before"),
    )
    user_id = context.principal.user.user_id
    rows = personal_access_tokens.list_pats(context.session, user_id, selection)
    return Reply([_pat(row) for row in rows])


def get_pat_limits(context: UserContext) -> Reply[wire.HanteraPatLimits]:
    user_id = context.principal.user.user_id
    limits = personal_access_tokens.find_pat_limits(context.session, user_id)
    return Reply(
        {
            "maximum": limits.maximum,
            "active": limits.active,
            "latestExpiresAt": format_timestamp(limits.latest_expiry),
        }
    )


def get_own_pat(context: UserContext) -> Reply[wire.HanteraOwnPat]:
    user, credential = context.principal
    pat = personal_access_tokens.find_pat(context.session, user, credential.id)
    return Reply(
        {
            "name": pat.name,
            "scopes": pat.scopes,
            "createdAt": format_timestamp(pat.created_at),
            "expiresAt": format_timestamp(pat.expires_at),
            "lastUsedAt": format_optional_timestamp(pat.last_used_at),
        }
    )


def create_pat(
    context: UserContext, body: wire.HanteraCreatePatRequest
) -> Reply[wire.HanteraCreatedPat]:
    pat, token = personal_access_tokens.create_pat(
        context.session,
        context.principal,
        name=body["name"],
        scopes=body["scopes"],
        expires_at=parse_timestamp(body["expiresAt"], "expires_at"),
        client_id=body["clientId"],
        client_secret=body["clientSecret"],
    )
    return Reply(
        {
            "id": pat.id,
            "name": pat.name,
            "token": token,
            "scopes": list(body["scopes"]),
            "clientId": pat.client_id,
            "createdAt": format_timestamp(pat.created_at),
            "expiresAt": format_timestamp(pat.expires_at),
        },
        HTTPStatus.CREATED,
        headers={"Location": f"/resources/me/pat/{pat.id}"},
    )


def get_pat(context: UserContext, id_: str) -> Reply[wire.HanteraPat]:
    return Reply(
        _pat(personal_access_tokens.find_pat(context.session, context.principal.user, id_))
    )


def rotate_pat(
    context: UserContext, id_: str, body: wire.HanteraRotatePatRequest
) -> Reply[wire.HanteraRotatedPat]:
    rotated = rotation.rotate_pat(context.session, context.principal, id_, **_rotation_of(body))
    return _rotated(rotated)


def rotate_own_pat(
    context: UserContext, body: wire.HanteraRotatePatRequest
) -> Reply[wire.HanteraRotatedPat]:
    rotated = rotation.rotate_own_pat(context.session, context.principal, **_rotation_of(body))
    return _rotated(rotated)


def revoke_pat(context: UserContext, id_: str) -> Reply[None]:
    personal_access_tokens.revoke_pat(context.session, context.principal.user, id_)
    return NO_CONTENT


def _profile(context: UserContext, user: UserView) -> wire.HanteraProfile:
    changes = find_address_changes(context.session, user.user_id)
    uploaded = user.picture == pictures.UPLOADED
    return {
        "id": user.identity_id,
        "name": user.name,
        "email": user.email,
        "emailVerified": user.email_verified,
        "phone": user.phone,
        "picture": context.service.issuer + _PICTURE_PATH if uploaded else user.picture,
        "pendingEmail": changes.pending_address,
        "emailUndo": _undo(changes.undo),
    }


def _undo(undo: Undo | None) -> wire.HanteraEmailUndo | None:
    if undo is None:
        return None
    return {"email": mask(undo.address), "until": format_timestamp(undo.until)}


def _require_settings(context: UserContext, if_match: str | None) -> None:
    if if_match is not None:
        user_id = context.principal.user.user_id
        require_match(if_match, settings.find_settings(context.session, user_id))


def _rotation_of(body: wire.HanteraRotatePatRequest) -> dict[str, Any]:
    grace = timedelta(seconds=body.get("graceSeconds", 3600))
    return {
        "expires_at": parse_optional_timestamp(body.get("expiresAt"), "expires_at"),
        "grace": grace,
    }


def _rotated(rotated: Rotation) -> Reply[wire.HanteraRotatedPat]:
    pat = rotated.pat
    return Reply(
        {
            "id": pat.id,
            "name": pat.name,
            "token": rotated.token,
            "scopes": pat.scopes,
            "clientId": pat.client_id,
            "createdAt": format_timestamp(pat.created_at),
            "expiresAt": format_timestamp(pat.expires_at),
            "formerExpiresAt": format_timestamp(rotated.former_expiry),
        },
        HTTPStatus.CREATED,
        headers={"Location": f"/resources/me/pat/{pat.id}"},
    )


def _pat(row: PersonalAccessToken | ListedPat) -> wire.HanteraPat:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": row.scopes,
        "clientId": row.client_id,
        "createdAt": format_timestamp(row.created_at),
        "expiresAt": format_timestamp(row.expires_at),
        "lastUsedAt": format_optional_timestamp(row.last_used_at),
    }
