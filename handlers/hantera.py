"""Hantera: profile, change of e-mail address, settings and personal access tokens."""

from http import HTTPStatus
from typing import Any, cast

from accounts.flows import email_change, personal_access_tokens, pictures, profile
from accounts.flows import password_change as passwords
from accounts.flows import settings as preferences
from accounts.flows.personal_access_tokens import ListedPat
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from accounts.services.user_views import Person
from handlers.etags import is_held, require_match, strong_tag
from handlers.exchange import NO_CONTENT, Exchange, Reply
from handlers.timestamps import parse_moment, write_moment, write_optional_moment
from models import PersonalAccessToken, wire

# Hantera's word for a field where it is not the account's own.
_FIELDS = {"name": "display_name"}
_NAMES = {field: name for name, field in _FIELDS.items()}
_PICTURE_PATH = "/resources/me/profile/picture"


def get_profile(
    session: AccountSession, principal: Principal, exchange: Exchange
) -> Reply[wire.HanteraProfile]:
    return Reply.tagged(_profile(session, principal.person, exchange))


def update_profile(
    session: AccountSession,
    principal: Principal,
    exchange: Exchange,
    if_match: str | None,
    body: wire.HanteraUpdateProfileRequest,
) -> Reply[wire.HanteraProfile]:
    if if_match is not None:
        require_match(if_match, _profile(session, principal.person, exchange))
    changes: dict[str, Any] = {
        _FIELDS.get(name, name): value
        for name, value in body.items()
        # Whoever sends back what was read means the uploaded picture to stay.
        if (name, value) != ("picture", exchange.issuer + _PICTURE_PATH)
    }
    person = profile.change_profile(session, principal.person, changes, called=_NAMES)
    return Reply.tagged(_profile(session, person, exchange))


def upload_picture(
    session: AccountSession, principal: Principal, exchange: Exchange, body: bytes
) -> Reply[wire.HanteraProfile]:
    person = pictures.upload_picture(session, principal.person, body)
    return Reply(_profile(session, person, exchange))


def get_picture(
    session: AccountSession, principal: Principal, if_none_match: str | None
) -> Reply[bytes]:
    picture = pictures.find_picture(session, principal.person)
    tag = strong_tag(picture.tag)
    if is_held(if_none_match, tag):
        return Reply(b"", HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    # A browser that is made to open it saves it, under a name of ours (IM-07).
    headers = {"ETag": tag, "Content-Disposition": 'attachment; filename="picture.webp"'}
    return Reply(picture.content, media_type=picture.media_type, headers=headers)


def remove_picture(session: AccountSession, principal: Principal) -> Reply[None]:
    pictures.remove_picture(session, principal.person)
    return NO_CONTENT


def change_password(
    session: AccountSession, principal: Principal, body: wire.HanteraChangePasswordRequest
) -> Reply[None]:
    passwords.change_password(
        session,
        principal,
        current=body["currentPassword"],
        new=body["newPassword"],
        called="newPassword",
    )
    return NO_CONTENT


def request_email_change(
    session: AccountSession, principal: Principal, body: wire.HanteraEmailChangeRequest
) -> Reply[wire.HanteraEmailChange]:
    person = principal.person
    address, secret = email_change.request_email_change(session, person, body["email"])
    answer: wire.HanteraEmailChange = {"identityId": person.identity_id, "email": address}
    return Reply(answer if secret is None else {**answer, "secret": secret})


def validate_email_change(
    session: AccountSession, body: wire.HanteraEmailValidationRequest
) -> Reply[wire.HanteraEmail]:
    address = email_change.validate_email_change(
        session, identity_id=body["identityId"], secret=body["secret"]
    )
    return Reply({"email": address})


def get_settings(session: AccountSession, principal: Principal) -> Reply[dict[str, Any]]:
    return Reply.tagged(preferences.find_settings(session, principal.person.user_id))


def replace_settings(
    session: AccountSession, principal: Principal, if_match: str | None, body: dict[str, Any]
) -> Reply[dict[str, Any]]:
    user_id = principal.person.user_id
    _require_settings(session, user_id, if_match)
    return Reply.tagged(preferences.replace_settings(session, user_id, body))


def update_settings(
    session: AccountSession, principal: Principal, if_match: str | None, body: dict[str, Any]
) -> Reply[dict[str, Any]]:
    user_id = principal.person.user_id
    _require_settings(session, user_id, if_match)
    return Reply.tagged(preferences.change_settings(session, user_id, body))


def list_pats(session: AccountSession, principal: Principal) -> Reply[list[wire.HanteraPat]]:
    active = personal_access_tokens.list_pats(session, principal.person.user_id)
    return Reply([_pat(row) for row in active])


def create_pat(
    session: AccountSession, principal: Principal, body: wire.HanteraCreatePatRequest
) -> Reply[wire.HanteraCreatedPat]:
    made, token = personal_access_tokens.create_pat(
        session,
        principal,
        name=body["name"],
        scopes=body["scopes"],
        expires_at=parse_moment(body["expiresAt"], "expiresAt"),
        client_id=body["clientId"],
        client_secret=body["clientSecret"],
    )
    return Reply(
        {
            "id": made.id,
            "name": made.name,
            "token": token,
            "scopes": body["scopes"],
            "clientId": made.client_id,
            "createdAt": write_moment(made.created_at),
            "expiresAt": write_moment(made.expires_at),
        },
        HTTPStatus.CREATED,
        headers={"Location": f"/resources/me/pat/{made.id}"},
    )


def get_pat(session: AccountSession, principal: Principal, id_: str) -> Reply[wire.HanteraPat]:
    return Reply(_pat(personal_access_tokens.find_pat(session, principal.person, id_)))


def revoke_pat(session: AccountSession, principal: Principal, id_: str) -> Reply[None]:
    personal_access_tokens.revoke_pat(session, principal.person, id_)
    return NO_CONTENT


def _profile(session: AccountSession, person: Person, exchange: Exchange) -> wire.HanteraProfile:
    uploaded = person.picture == pictures.UPLOADED
    return {
        "id": person.identity_id,
        "name": person.name,
        "email": person.email,
        "phone": person.phone,
        "picture": exchange.issuer + _PICTURE_PATH if uploaded else person.picture,
        "pendingEmail": email_change.find_pending_email(session, person.user_id),
    }


def _require_settings(session: AccountSession, user_id: str, if_match: str | None) -> None:
    if if_match is not None:
        require_match(if_match, preferences.find_settings(session, user_id))


def _pat(row: PersonalAccessToken | ListedPat) -> wire.HanteraPat:
    # The column is text; only what the document let in is in it.
    return {
        "id": row.id,
        "name": row.name,
        "scopes": cast("wire.PatScopes", row.scopes),
        "clientId": row.client_id,
        "createdAt": write_moment(row.created_at),
        "expiresAt": write_moment(row.expires_at),
        "lastUsedAt": write_optional_moment(row.last_used_at),
    }
