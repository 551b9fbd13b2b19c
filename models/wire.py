# GENERATED from openapi/openapi.yaml by `tox run -e codegen`. Do not edit.

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias
from typing_extensions import TypedDict


RefusalCode: TypeAlias = str
"""
The reason of a refusal. Codes are stable, and new ones may be added: treat an
unknown code by the status of its response. `x-refusals` has the meaning of each
code and what to do, which the deployment shows at `/errors`.

"""


Scope: TypeAlias = Literal[
    "me/profile:read",
    "me/profile:write",
    "me/auth:write",
    "me/settings:read",
    "me/settings:write",
    "me/pat:read",
    "me/pat:write",
    "me/pat:rotate",
    "me/token:read",
    "me/token:write",
    "me/sessions:read",
    "me/sessions:write",
    "me/events:read",
    "keys:read",
    "keys:write",
]
"""
A scope: a permission on the account.
"""


GrantedScope: TypeAlias = str
"""
A scope in a response. New ones may be added: ignore those that you do not know.

"""


GrantedScopes: TypeAlias = list[GrantedScope]
"""
The scopes that a key or a token has.
"""


RequestId: TypeAlias = str
"""
The id of this request in the service's log.
"""


Timestamp: TypeAlias = str
"""
An RFC 3339 date and time in UTC.
"""


UserId: TypeAlias = str
"""
The user's id in ipto and ScaiKey.
"""


TenantId: TypeAlias = str
"""
The tenant's id in ipto and ScaiKey.
"""


Email: TypeAlias = str
"""
An email address.
"""


EmailVerified: TypeAlias = bool
"""
Whether the user has verified the account's address by an email that was sent there. If not,
the address may be another person's. Identify users by their id in any case, and never by an
address, which can change.

"""


Name: TypeAlias = str
"""
A name of 1 to 200 characters, without control characters, bidirectional overrides,
invisible characters, or leading or trailing white space. Joiners are allowed in emoji and
in scripts that need them; at most four combining marks may follow each other.

"""


NewPassword: TypeAlias = str
"""
At least 8 characters with an upper-case letter, a lower-case letter and a digit;
at most 1,024 bytes; not easy to guess, and not made of words from the account.

"""


CurrentPassword: TypeAlias = str
"""
The current password, as confirmation.
"""


SessionToken: TypeAlias = str
"""
A session token. Send it as a Bearer token.
"""


AccessToken: TypeAlias = str
"""
The user's access token. Send it as a Bearer token.
"""


OneTimeSecret: TypeAlias = str
"""
A secret that can be used once, as it was received.
"""


IssuedSecret: TypeAlias = str
"""
A secret that can be used once.
"""


Violation = TypedDict(
    "Violation",
    {"in": Literal["body", "query", "path", "header"], "field": str, "rule": str},
    closed=True,
)


Notice: TypeAlias = str
"""
One notice, to be shown to the user.
"""


Notices: TypeAlias = list[Notice]
"""
Notices from the deployment's policies that explain why the request was forbidden.

"""


class RefusalDetails(TypedDict, closed=True):
    """
    Details of a refusal for programs; at least one of the two is present.
    """

    notices: NotRequired[Notices]
    violations: NotRequired[list[Violation]]
    """
    At most 20 of them, in the order in which they were found.
    """


class IptoSignUpRequest(TypedDict, closed=True):
    """
    The user and the tenant to create.
    """

    email: Email
    password: NewPassword
    display_name: Name
    tenant_name: Name


class IptoSignUp(TypedDict, closed=True):
    """
    The new account, with a session.
    """

    user_id: UserId
    tenant_id: TenantId
    session_token: SessionToken
    display_name: Name
    email: Email
    email_verified: EmailVerified


class IptoSignUpEnvelope(TypedDict, closed=True):
    """
    The new account, in ipto's envelope.
    """

    data: IptoSignUp
    request_id: RequestId
    timestamp: Timestamp


class IptoLogInRequest(TypedDict, closed=True):
    """
    The email address and the password to log in with.
    """

    email: str
    """
    The account's email address, in upper or lower case.
    """
    password: CurrentPassword
    cookie: NotRequired[bool]
    """
    Whether to set the session as a cookie instead of returning it in the body.
    """


class IptoLogIn(TypedDict, closed=True):
    """
    The session and its user.
    """

    user_id: UserId
    tenant_id: TenantId
    session_token: NotRequired[SessionToken]
    expires_at: Timestamp
    display_name: Name
    email: Email
    email_verified: EmailVerified


ChallengeId: TypeAlias = str
"""
The id of a login that waits. Keep it secret; it stands for the password.
"""


CodeMethod: TypeAlias = str
"""
The way in which a code is made: `totp` by an authenticator app (RFC 6238), `backup_code` for
a recovery code. New ones may be added.

"""


SecondFactorCode: TypeAlias = str
"""
A code of six digits from an authenticator app, or a recovery code.
"""


class IptoLogInEnvelope(TypedDict, closed=True):
    """
    The session, in ipto's envelope.
    """

    data: IptoLogIn
    request_id: RequestId
    timestamp: Timestamp


class IptoSuccess(TypedDict, closed=True):
    """
    The success of an operation.
    """

    success: Literal[True]
    """
    Always true; failures are refusals.
    """


class IptoSuccessEnvelope(TypedDict, closed=True):
    """
    The success of an operation, in ipto's envelope.
    """

    data: IptoSuccess
    request_id: RequestId
    timestamp: Timestamp


Role: TypeAlias = str
"""
A role in a tenant. The service assigns `owner` and `member`; an operator can assign others.

"""


class IptoChangePasswordRequest(TypedDict, closed=True):
    """
    The current password and the new one.
    """

    current_password: CurrentPassword
    new_password: NewPassword


class IptoDeletion(TypedDict, closed=True):
    """
    The deletion of an account.
    """

    erased_at: Timestamp
    """
    When everything in the account is erased. Until then it can be restored.
    """


class IptoDeletionEnvelope(TypedDict, closed=True):
    """
    The deletion of an account, in ipto's envelope.
    """

    data: IptoDeletion
    request_id: RequestId
    timestamp: Timestamp


class IptoRestoreAccountRequest(TypedDict, closed=True):
    """
    The secret that restores a deleted account.
    """

    secret: OneTimeSecret


class IptoRenewAuthenticationRequest(TypedDict, closed=True):
    """
    What the user authenticates with.
    """

    password: CurrentPassword
    code: NotRequired[SecondFactorCode]


class IptoForgotPasswordRequest(TypedDict, closed=True):
    """
    The address of the account.
    """

    email: Email


class IptoResetPasswordRequest(TypedDict, closed=True):
    """
    A new password and the secret that authorises it.
    """

    secret: OneTimeSecret
    new_password: NewPassword
    code: NotRequired[SecondFactorCode]


class IptoEvent(TypedDict, closed=True):
    """
    A security event of the account.
    """

    event_id: str
    """
    The id of the event.
    """
    kind: str
    """
    The kind of event, in the terms of OWASP's logging vocabulary. New ones may be added:
    show an unknown kind as it is.

    """
    occurred_at: Timestamp
    source: str | None
    """
    The IP address of the request; null for an act of an operator.
    """
    credential_kind: str | None
    """
    The kind of credential that the request was made with; null for none.
    """
    credential_id: str | None
    """
    The id of that credential, as the lists of credentials show it; null for none.

    """
    details: dict[str, Any]
    """
    Ids, words and numbers, with names that depend on the kind; open because kinds may be
    added.

    """


class IptoEventPage(TypedDict, closed=True):
    """
    A page of events.
    """

    items: list[IptoEvent]
    """
    The events, newest first.
    """
    next_cursor: str | None
    """
    The `cursor` of the next page; null on the last page.
    """


class IptoEventPageEnvelope(TypedDict, closed=True):
    """
    A page of events, in ipto's envelope.
    """

    data: IptoEventPage
    request_id: RequestId
    timestamp: Timestamp


LastUsedAt: TypeAlias = str | None
"""
The time of the last use, accurate to about a minute; null until it is recorded.
"""


ApiKeyScope: TypeAlias = Literal[
    "me/profile:read",
    "me/profile:write",
    "me/settings:read",
    "me/settings:write",
    "me/sessions:read",
    "me/events:read",
    "keys:read",
    "keys:write",
    "datasets:read",
    "datasets:write",
    "objects:write",
    "search:query",
    "usage:read",
    "billing:read",
    "admin:*",
]
"""
A scope of an API key. Scopes of the account are enforced here. Those of ipto's other
services, `admin:*` among them, are stored for them and have no effect here.

"""


ApiKeyScopes: TypeAlias = list[ApiKeyScope]
"""
The key's scopes.
"""


DatasetAccessMode: TypeAlias = Literal["all_available", "allow_list"]
"""
The access to datasets that the key has in ipto's other services; stored for them.

"""


ApiKeyPrefix: TypeAlias = str
"""
The public part of the key, which identifies it.
"""


ApiKeyIdValue: TypeAlias = str
"""
The id of the API key.
"""


class IptoCreateApiKeyRequest(TypedDict, closed=True):
    """
    The API key to create.
    """

    name: Name
    scopes: ApiKeyScopes
    dataset_access_mode: NotRequired[DatasetAccessMode]
    expires_at: NotRequired[str]
    """
    The time at which the key expires: at most 365 days from now, and no later than the key
    that creates it. Defaults to the latest allowed time.

    """


class IptoCreatedApiKey(TypedDict, closed=True):
    """
    The new API key, with its secret.
    """

    api_key_id: ApiKeyIdValue
    key: str
    """
    The key itself, which is shown only once.
    """
    secret: str
    """
    The key again, by the name that ipto's guide has for it.
    """
    name: Name
    key_prefix: ApiKeyPrefix
    scopes: GrantedScopes
    dataset_access_mode: DatasetAccessMode
    created_at: Timestamp
    expires_at: Timestamp


class IptoCreatedApiKeyEnvelope(TypedDict, closed=True):
    """
    The new API key, in ipto's envelope.
    """

    data: IptoCreatedApiKey
    request_id: RequestId
    timestamp: Timestamp


class IptoApiKey(TypedDict, closed=True):
    """
    An API key, without its secret.
    """

    api_key_id: ApiKeyIdValue
    name: Name
    key_prefix: ApiKeyPrefix
    scopes: GrantedScopes
    dataset_access_mode: DatasetAccessMode
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: LastUsedAt | None


class IptoApiKeyList(TypedDict, closed=True):
    """
    The user's active API keys.
    """

    items: list[IptoApiKey]
    """
    The items, newest first.
    """


class IptoApiKeyListEnvelope(TypedDict, closed=True):
    """
    The user's active API keys, in ipto's envelope.
    """

    data: IptoApiKeyList
    request_id: RequestId
    timestamp: Timestamp


class IptoApiKeyLimits(TypedDict, closed=True):
    """
    The limits of API keys.
    """

    maximum: int
    """
    How many active keys a user can have.
    """
    active: int
    """
    How many active keys the user has.
    """
    latest_expires_at: Timestamp


class IptoApiKeyLimitsEnvelope(TypedDict, closed=True):
    """
    The limits of API keys, in ipto's envelope.
    """

    data: IptoApiKeyLimits
    request_id: RequestId
    timestamp: Timestamp


class IptoOwnApiKey(TypedDict, closed=True):
    """
    The key that sends the request.
    """

    name: Name
    scopes: GrantedScopes
    dataset_access_mode: DatasetAccessMode
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: LastUsedAt | None


class IptoOwnApiKeyEnvelope(TypedDict, closed=True):
    """
    The key that sends the request, in ipto's envelope.
    """

    data: IptoOwnApiKey
    request_id: RequestId
    timestamp: Timestamp


Message: TypeAlias = str
"""
The refusal as text for people; the wording may change.
"""


class HyperclastKeyboardShortcuts(TypedDict):
    """
    The keyboard shortcuts; empty if none were set. The object is open because its names and
    values belong to the application.

    """


class HyperclastUpdateUserRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    username: NotRequired[str | None]
    """
    The username; letters are stored in lower case.
    """
    first_name: NotRequired[str | None]
    """
    The first name; empty to remove it.
    """
    last_name: NotRequired[str | None]
    """
    The last name; empty to remove it.
    """


class HyperclastUpdateSettingsRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    tz: NotRequired[str | None]
    """
    A time zone of the IANA database.
    """
    keyboard_shortcuts: NotRequired[dict[str, Any] | None]
    """
    The keyboard shortcuts. The object is open because its names and values belong to the
    application.

    """


class HyperclastUpdatedSettingsDetails(TypedDict, closed=True):
    """
    The changed fields.
    """

    updated_fields: HyperclastUpdateSettingsRequest


class HyperclastAccessToken(TypedDict, closed=True):
    """
    The access token.
    """

    access_token: AccessToken


class HyperclastError(TypedDict, closed=True):
    """
    The code and the message of a refusal.
    """

    code: RefusalCode
    message: Message


class HyperclastLogInRequest(TypedDict, closed=True):
    """
    The email address and the password.
    """

    email: Email
    password: CurrentPassword


class HyperclastSignUpRequest(TypedDict, closed=True):
    """
    The email address and the password.
    """

    email: Email
    password: NewPassword


class HyperclastSessionUser(TypedDict, closed=True):
    """
    The user of a session.
    """

    external_id: str
    """
    The user's id in Hyperclast.
    """
    email: Email
    has_usable_password: bool
    """
    False if the password is kept by another identity provider.
    """


class HyperclastSessionData(TypedDict, closed=True):
    """
    The user of a session.
    """

    user: HyperclastSessionUser
    methods: list[Message]
    """
    Always empty; how a session was opened is not shown.
    """


class HyperclastAppSessionMeta(TypedDict, closed=True):
    """
    The session.
    """

    is_authenticated: Literal[True]
    """
    Always true.
    """
    session_token: SessionToken


HyperclastStatus: TypeAlias = Literal[200]
"""
The status of the response again.
"""


class HyperclastBrowserSessionMeta(TypedDict, closed=True):
    """
    The state of the session.
    """

    is_authenticated: Literal[True]
    """
    Always true.
    """


class HyperclastBrowserSession(TypedDict, closed=True):
    """
    The session of a browser.
    """

    status: HyperclastStatus
    data: HyperclastSessionData
    meta: HyperclastBrowserSessionMeta


class HyperclastEndedSessionMeta(TypedDict, closed=True):
    """
    The state of the session.
    """

    is_authenticated: Literal[False]
    """
    Always false.
    """


class HyperclastEndedSession(TypedDict, closed=True):
    """
    The session has ended.
    """

    status: HyperclastStatus
    meta: HyperclastEndedSessionMeta


HyperclastDeviceId: TypeAlias = str
"""
The id that the device has given itself.
"""


HyperclastDeviceText: TypeAlias = str
"""
A text about a device; empty for none.
"""


NullableDeviceText: TypeAlias = str | None
"""
A text about a device; null to leave it as it is.
"""


class HyperclastDeviceDetails(TypedDict):
    """
    More about the device, at most 4,096 bytes. The object is open because its names and values
    belong to the application.

    """


class NullableDeviceDetails(TypedDict):
    """
    More about the device, at most 4,096 bytes; null to leave it as it is. The object is open
    because its names and values belong to the application.

    """


class HyperclastRegisterDeviceRequest(TypedDict, closed=True):
    """
    The device.
    """

    client_id: HyperclastDeviceId
    name: NotRequired[NullableDeviceText | None]
    os: NotRequired[NullableDeviceText | None]
    app_version: NotRequired[NullableDeviceText | None]
    details: NotRequired[NullableDeviceDetails | None]


class HyperclastUpdateDeviceRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    name: NotRequired[NullableDeviceText | None]
    os: NotRequired[NullableDeviceText | None]
    app_version: NotRequired[NullableDeviceText | None]
    details: NotRequired[NullableDeviceDetails | None]


class HyperclastRegisteredDevice(TypedDict, closed=True):
    """
    The device, with the token of its session.
    """

    access_token: SessionToken
    client_id: HyperclastDeviceId


class HyperclastDevice(TypedDict, closed=True):
    """
    A device.
    """

    client_id: HyperclastDeviceId
    client_type: Literal["mobile"]
    """
    Always `mobile`.
    """
    name: HyperclastDeviceText
    os: HyperclastDeviceText
    app_version: HyperclastDeviceText
    last_active: Timestamp
    created: Timestamp
    is_current: bool
    """
    True for the device that sends the request.
    """
    details: HyperclastDeviceDetails


HyperclastDeviceList: TypeAlias = list[HyperclastDevice]
"""
The devices, newest first.
"""


NullableName: TypeAlias = str | None
"""
A name of 1 to 200 characters, with the rules of `Name`; null for none.

"""


NullablePhone: TypeAlias = str | None
"""
A telephone number in E.164, with a leading plus sign; null for none.
"""


NewPhone: TypeAlias = str | None
"""
An international telephone number of 7 to 15 digits, with a leading plus sign; null to
remove it. It is stored in E.164, without spaces, brackets, dots, hyphens and slashes.

"""


NullableLocale: TypeAlias = str | None
"""
A BCP 47 language tag; null for none.
"""


NullableTimezone: TypeAlias = str | None
"""
The IANA name of a time zone; null for none.
"""


class ScaikeyUpdateProfileRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    first_name: NotRequired[NullableName | None]
    last_name: NotRequired[NullableName | None]
    display_name: NotRequired[NullableName | None]
    phone: NotRequired[NewPhone | None]
    locale: NotRequired[NullableLocale | None]
    timezone: NotRequired[NullableTimezone | None]


class ScaikeyChangePasswordRequest(TypedDict, closed=True):
    """
    The current password and the new one.
    """

    current_password: CurrentPassword
    new_password: NewPassword


class ScaikeyConfirmEmailVerificationRequest(TypedDict, closed=True):
    """
    The secret from the email.
    """

    secret: OneTimeSecret


class ScaikeyReleaseEmailRequest(TypedDict, closed=True):
    """
    The secret from the email.
    """

    secret: OneTimeSecret


class ScaikeySuccess(TypedDict, closed=True):
    """
    The success of an operation.
    """

    success: Literal[True]
    """
    Always true; failures are refusals.
    """


class ValidationError(TypedDict, closed=True):
    """
    A field that breaks a rule.
    """

    loc: list[str | int]
    """
    The path to the field, which starts with the part of the request that contains it.

    """
    msg: Message
    type: RefusalCode


class ScaikeyRefusal(TypedDict, closed=True):
    """
    A refusal, other than of a malformed request.
    """

    detail: Message
    code: RefusalCode


class HanteraEmailUndo(TypedDict, closed=True):
    """
    The undo of a completed change of the address, which gives the account back to the reader
    of the former address; null if there is none. The address is masked.

    """

    email: str
    """
    The former address, masked.
    """
    until: Timestamp


IdentityId: TypeAlias = str
"""
The user's id in Hantera.
"""


HanteraPictureUpload: TypeAlias = bytes
"""
The bytes of a PNG, JPEG or WebP file.
"""


HanteraPicture: TypeAlias = bytes
"""
The bytes of a WebP file.
"""


NullablePictureAddress: TypeAlias = str | None
"""
The URL of the picture: the one that was set, or that of the uploaded picture, which
requires a credential; null for none.

"""


NullablePicture: TypeAlias = str | None
"""
The https URL of a picture, which the service never fetches; null for none.
"""


class HanteraUpdateProfileRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    name: NotRequired[NullableName | None]
    phone: NotRequired[NewPhone | None]
    picture: NotRequired[NullablePicture | None]


class HanteraChangePasswordRequest(TypedDict, closed=True):
    """
    The current password and the new one.
    """

    currentPassword: CurrentPassword
    newPassword: NewPassword


class HanteraEmailChangeRequest(TypedDict, closed=True):
    """
    The new address.
    """

    email: Email


class HanteraEmailChange(TypedDict, closed=True):
    """
    The pending change, with the secret if the client is to email it.
    """

    identityId: IdentityId
    secret: NotRequired[IssuedSecret]
    email: Email


class HanteraEmailValidationRequest(TypedDict, closed=True):
    """
    The user whose address changes, and the secret of the change.
    """

    identityId: IdentityId
    secret: OneTimeSecret


class HanteraEmail(TypedDict, closed=True):
    """
    The account's new email address.
    """

    email: Email
    emailVerified: EmailVerified


class HanteraEmailUndoRequest(TypedDict, closed=True):
    """
    The secret from the notification of the change.
    """

    secret: OneTimeSecret


class HanteraUndoneEmailChange(TypedDict, closed=True):
    """
    The restored address, and the secret that sets a new password.
    """

    email: Email
    resetSecret: str | None
    """
    The secret of a password reset; null if another provider keeps the password.
    """


HanteraSettings: TypeAlias = dict[str, Any]
"""
Open because applications define the names and values. At most 100 names at the top level
and 16 KiB as JSON.

"""


PatScopes: TypeAlias = list[Scope]
"""
The token's scopes. Regardless of its scopes, a personal access token cannot change a
password, end a session, or create, show or revoke another credential: `me/auth:write`,
`me/sessions:write`, `me/token:…`, `me/pat:read`, `me/pat:write` and `keys:write` have no
effect. With `me/pat:rotate` it replaces itself.

"""


PatIdValue: TypeAlias = str
"""
The id of the token.
"""


ClientId: TypeAlias = str
"""
The id of the client that the token was created with.
"""


FormClientId: TypeAlias = str
"""
A client id in a form; an empty value counts as absent (RFC 6749 section 3.2).

"""


FormClientSecret: TypeAlias = str
"""
The client's secret in a form (`client_secret_post`); an empty value counts as absent.

"""


class HanteraCreatePatRequest(TypedDict, closed=True):
    """
    The token to create, and the client that creates it.
    """

    name: Name
    expiresAt: str
    """
    The time at which the token expires: in the future, and at most one calendar year from
    now.

    """
    scopes: PatScopes
    clientId: ClientId
    clientSecret: str
    """
    The secret of the client.
    """


class HanteraCreatedPat(TypedDict, closed=True):
    """
    The new token, with its secret.
    """

    id: PatIdValue
    name: Name
    token: str
    """
    The token itself, which is shown only once.
    """
    scopes: GrantedScopes
    clientId: ClientId
    createdAt: Timestamp
    expiresAt: Timestamp


class HanteraPat(TypedDict, closed=True):
    """
    A token, without its secret.
    """

    id: PatIdValue
    name: Name
    scopes: GrantedScopes
    clientId: ClientId
    createdAt: Timestamp
    expiresAt: Timestamp
    lastUsedAt: LastUsedAt | None


HanteraPatList: TypeAlias = list[HanteraPat]
"""
The tokens, newest first.
"""


class HanteraRotatePatRequest(TypedDict, closed=True):
    """
    The grace of the old token, and the expiry of the new one.
    """

    graceSeconds: NotRequired[int]
    """
    The number of seconds for which the old token stays valid, unless it expires earlier.

    """
    expiresAt: NotRequired[str]
    """
    The time at which the new token expires: in the future, and at most one calendar year
    from now. By default the new token lives as long as the old one was to live.

    """


class HanteraRotatedPat(TypedDict, closed=True):
    """
    The new token, with its secret, and the end of the old one.
    """

    id: PatIdValue
    name: Name
    token: str
    """
    The token itself, which is shown only once.
    """
    scopes: GrantedScopes
    clientId: ClientId
    createdAt: Timestamp
    expiresAt: Timestamp
    formerExpiresAt: Timestamp


class HanteraPatLimits(TypedDict, closed=True):
    """
    The limits of personal access tokens.
    """

    maximum: int
    """
    How many active tokens a user can have.
    """
    active: int
    """
    How many active tokens the user has.
    """
    latestExpiresAt: Timestamp


class HanteraOwnPat(TypedDict, closed=True):
    """
    The token that sends the request.
    """

    name: Name
    scopes: GrantedScopes
    createdAt: Timestamp
    expiresAt: Timestamp
    lastUsedAt: LastUsedAt | None


class Problem(TypedDict, closed=True):
    """
    A refusal in the format of RFC 9457.
    """

    type: str
    """
    The entry of the code in the error catalogue of the deployment, a page for people.

    """
    title: str
    """
    A summary of the kind of problem, for people.
    """
    status: int
    """
    The status of the response.
    """
    detail: Message
    code: RefusalCode
    instance: str
    """
    The request id of the refusal, as in the service's log. It cannot be fetched.
    """
    notices: NotRequired[Notices]


class JitsudoUserProfile(TypedDict, closed=True):
    """
    The user's profile.
    """

    id: IdentityId
    email: Email
    name: Name
    auth_provider: Literal["local", "oidc", "saml"]
    """
    Where the user's password is kept.
    """
    first_name: NullableName | None
    last_name: NullableName | None
    display_name: NullableName | None
    avatar_base64: str | None
    """
    The uploaded picture, a WebP, as a data URI; null for none.
    """


class JitsudoMfaMethod(TypedDict, closed=True):
    """
    A second factor in force.
    """

    id: str
    """
    The id of the second factor.
    """
    method_type: str
    """
    The kind of second factor. New ones may be added.
    """
    device_name: str | None
    """
    The name of the device; an authenticator app has none.
    """
    verified: Literal[True]
    """
    Always true, since others are not listed.
    """
    created_at: Timestamp
    last_used_at: LastUsedAt | None


class JitsudoMfaMethodList(TypedDict, closed=True):
    """
    The second factors in force.
    """

    methods: list[JitsudoMfaMethod]
    """
    The second factors.
    """


class JitsudoTotpEnrolment(TypedDict, closed=True):
    """
    The secret of a new authenticator app.
    """

    id: str
    """
    The id of the second factor, once it is confirmed.
    """
    secret: str
    """
    The secret, in base 32, to type into an app.
    """
    qr_uri: str
    """
    The secret as a URI, to show as a QR code.
    """


class JitsudoConfirmTotpRequest(TypedDict, closed=True):
    """
    A code of the new authenticator app, and the password.
    """

    code: SecondFactorCode
    password: CurrentPassword


Code: TypeAlias = str


class JitsudoBackupCodes(TypedDict, closed=True):
    """
    New recovery codes, which are not shown again.
    """

    codes: list[Code]
    """
    The codes; each can be used once.
    """
    remaining: int
    """
    How many can be used.
    """


JitsudoName: TypeAlias = str | None
"""
A name of at most 100 characters, with the rules of `Name`; null or an empty text for none.

"""


class JitsudoChangePasswordRequest(TypedDict, closed=True):
    """
    The current password and the new one.
    """

    current_password: CurrentPassword
    new_password: NewPassword


class JitsudoRefusal(TypedDict, closed=True):
    """
    A refusal in jitsudo's format.
    """

    code: RefusalCode
    message: Message
    details: NotRequired[RefusalDetails]
    notices: NotRequired[Notices]


OauthScope: TypeAlias = str
"""
Scopes, separated by spaces.
"""


class OauthToken(TypedDict, closed=True):
    """
    The issued tokens.
    """

    access_token: str
    """
    The JWT (RFC 9068).
    """
    issued_token_type: Literal["urn:ietf:params:oauth:token-type:access_token"]
    """
    The type of the access token (RFC 8693 section 3).
    """
    token_type: Literal["Bearer"]
    """
    The way to send the access token.
    """
    expires_in: int
    """
    The lifetime of the access token in seconds.
    """
    scope: OauthScope
    refresh_token: str
    """
    The token for the next exchange. It can be used once, and only while the session lasts.

    """


OauthTokenTypeHint: TypeAlias = str
"""
The presumed kind of the token (RFC 7009 section 2.1). It is not needed here, because tokens
carry their kind.

"""


class OauthIntrospection(TypedDict, closed=True):
    """
    The state of a token; for an inactive one, only `active`.
    """

    active: bool
    """
    Whether the token is active.
    """
    client_id: NotRequired[ClientId]
    sub: NotRequired[UserId]
    scope: NotRequired[OauthScope]
    token_type: NotRequired[Literal["Bearer"]]
    """
    The way to send the token; absent for a refresh token.
    """
    iss: NotRequired[str]
    """
    The issuer of the token.
    """
    aud: NotRequired[str]
    """
    The audience of the token; absent for a personal access token.
    """
    iat: NotRequired[int]
    """
    The time at which the token was issued, in seconds of Unix time.
    """
    exp: NotRequired[int]
    """
    The time at which the token expires, in seconds of Unix time.
    """
    jti: NotRequired[str]
    """
    The id of the JWT.
    """
    email_verified: NotRequired[EmailVerified]


class OauthKey(TypedDict, closed=True):
    """
    One public key (RFC 7517 section 4, RFC 7518 section 6.3.1).
    """

    kty: Literal["RSA"]
    """
    The type of key.
    """
    use: Literal["sig"]
    """
    The use of the key.
    """
    alg: Literal["RS256"]
    """
    The algorithm.
    """
    kid: str
    """
    The id of the key, its thumbprint (RFC 7638).
    """
    n: str
    """
    The modulus, in base64url.
    """
    e: str
    """
    The exponent, in base64url.
    """


ResponseTypesSupportedItem: TypeAlias = str
"""
Never present.
"""


OauthAddress: TypeAlias = str
"""
A URL of the deployment.
"""


OauthName: TypeAlias = str
"""
One name.
"""


OauthNames: TypeAlias = list[OauthName]
"""
Names from IANA's OAuth registries.
"""


class OauthRefusal(TypedDict, closed=True):
    """
    A refusal in the format of RFC 6749 section 5.2.
    """

    error: RefusalCode
    error_description: Message


class Health(TypedDict, closed=True):
    """
    The state of the process.
    """

    status: Literal["ok"]
    """
    Always `ok`.
    """


class Readiness(TypedDict, closed=True):
    """
    The state of the service.
    """

    status: Literal["ready", "degraded"]
    """
    `ready`, or `degraded` if requests are answered but an operator should look: see
    `reason`. A service that cannot work returns 503.

    """
    reason: NotRequired[str]
    """
    Given if the status is `degraded`: the policies changed to an unusable set, and the last
    valid set is in force, or commits wait for a synchronous standby, and only reads are
    served.

    """


class OpenapiDocument(TypedDict):
    """
    Open because the OpenAPI Specification defines its members.
    """


OpenapiFile: TypeAlias = bytes
"""
An OpenAPI document in YAML.
"""


class IptoLogInChallenge(TypedDict, closed=True):
    """
    A login by the right password that waits for a second factor.
    """

    mfa_required: Literal[True]
    """
    Always true.
    """
    challenge_id: ChallengeId
    methods: list[CodeMethod]
    """
    The ways to make a code.
    """
    enrollment_required: Literal[False]
    """
    Whether a second factor has to be added first; always false.
    """


class IptoBegunLogInEnvelope(TypedDict, closed=True):
    """
    The session, or a challenge, in ipto's envelope.
    """

    data: IptoLogIn | IptoLogInChallenge
    request_id: RequestId
    timestamp: Timestamp


class IptoCompleteLogInRequest(TypedDict, closed=True):
    """
    A code for a login that waits.
    """

    challenge_id: ChallengeId
    code: SecondFactorCode
    cookie: NotRequired[bool]
    """
    Whether to set the session as a cookie instead of returning it in the body.
    """


class IptoCurrentUser(TypedDict, closed=True):
    """
    The user and their tenant.
    """

    user_id: UserId
    email: Email
    email_verified: EmailVerified
    display_name: Name
    tenant_id: TenantId
    tenant_display_name: Name
    is_platform_admin: bool
    """
    Whether the user administers the whole deployment.
    """
    roles: list[Role]
    """
    The user's roles in the tenant.
    """


class IptoCurrentUserEnvelope(TypedDict, closed=True):
    """
    The user and their tenant, in ipto's envelope.
    """

    data: IptoCurrentUser
    request_id: RequestId
    timestamp: Timestamp


class IptoSession(TypedDict, closed=True):
    """
    An active session.
    """

    session_id: str
    """
    The id of the session; it is not the session token.
    """
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: LastUsedAt | None
    user_agent: str | None
    """
    The `User-Agent` of the client at login.
    """
    current: bool
    """
    Whether the request was sent with this session.
    """


class IptoSessionList(TypedDict, closed=True):
    """
    The user's active sessions.
    """

    items: list[IptoSession]
    """
    The items, newest first.
    """


class IptoSessionListEnvelope(TypedDict, closed=True):
    """
    The user's active sessions, in ipto's envelope.
    """

    data: IptoSessionList
    request_id: RequestId
    timestamp: Timestamp


class Error(TypedDict, closed=True):
    """
    The reason of the refusal.
    """

    code: RefusalCode
    message: Message
    details: NotRequired[RefusalDetails]


class IptoRefusal(TypedDict, closed=True):
    """
    A refusal in ipto's envelope.
    """

    error: Error
    """
    The reason of the refusal.
    """
    request_id: RequestId
    timestamp: Timestamp


class HyperclastUser(TypedDict, closed=True):
    """
    The user, with the access token.
    """

    external_id: str
    """
    The user's id in Hyperclast.
    """
    email: Email
    email_verified: EmailVerified
    username: str
    """
    The username: derived from the address when the account was opened, or chosen since.

    """
    first_name: str
    """
    The first name; empty if there is none.
    """
    last_name: str
    """
    The last name; empty if there is none.
    """
    is_authenticated: Literal[True]
    """
    Always true: unauthenticated requests get a 401.
    """
    access_token: AccessToken
    keyboard_shortcuts: HyperclastKeyboardShortcuts


class HyperclastUpdatedSettings(TypedDict, closed=True):
    """
    The result of a change; `details` is missing if no field was sent.
    """

    message: Literal["ok"]
    """
    Always `ok`.
    """
    details: NotRequired[list[HyperclastUpdatedSettingsDetails]]
    """
    A list of one item.
    """


class HyperclastRefusal(TypedDict, closed=True):
    """
    A refusal, in a superset of the formats of Hyperclast: the two that it has published, and that
    of its login, which has `errors`.

    """

    error: RefusalCode
    message: Message
    detail: str | list[ValidationError]
    """
    The message again; for a 422, the errors of each field; or the notices of the policies.

    """
    errors: list[HyperclastError]
    """
    The code and the message again, as a list of one.
    """


class HyperclastAppSession(TypedDict, closed=True):
    """
    A new session.
    """

    status: HyperclastStatus
    data: HyperclastSessionData
    meta: HyperclastAppSessionMeta


class ScaikeyProfile(TypedDict, closed=True):
    """
    The user's profile.
    """

    id: UserId
    email: Email
    email_verified: EmailVerified
    first_name: NullableName | None
    last_name: NullableName | None
    display_name: Name
    phone: NullablePhone | None
    locale: NullableLocale | None
    timezone: NullableTimezone | None
    tenant_id: TenantId


class HTTPValidationError(TypedDict, closed=True):
    """
    The errors of each field.
    """

    detail: list[ValidationError]
    """
    At most 20 of them.
    """


class HanteraProfile(TypedDict, closed=True):
    """
    The user's profile.
    """

    id: IdentityId
    name: Name
    email: Email
    emailVerified: EmailVerified
    phone: NullablePhone | None
    picture: NullablePictureAddress | None
    pendingEmail: str | None
    """
    The new address of a change that is not validated yet; null if there is none.
    """
    emailUndo: HanteraEmailUndo | None


class JitsudoUpdateUserProfileRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    first_name: NotRequired[JitsudoName | None]
    last_name: NotRequired[JitsudoName | None]
    display_name: NotRequired[JitsudoName | None]
    avatar_base64: NotRequired[str | None]
    """
    A picture of at most 256 KiB and 25 million pixels, as a data URI in base64; null to
    remove the uploaded one. The format is detected from the content.

    """


class OauthTokenRequest(TypedDict):
    """
    A form (RFC 6749 section 4.5, RFC 8693 section 2.1). It is open because unknown parameters
    must be ignored (RFC 6749 section 3.2).

    """

    grant_type: str
    """
    `urn:ietf:params:oauth:grant-type:token-exchange` or `refresh_token`.

    """
    client_id: NotRequired[FormClientId]
    client_secret: NotRequired[FormClientSecret]
    subject_token: NotRequired[str]
    """
    The session, for a token exchange.
    """
    subject_token_type: NotRequired[Literal["urn:ietf:params:oauth:token-type:access_token"]]
    """
    The type of the subject token, for a token exchange.
    """
    requested_token_type: NotRequired[
        Literal[
            "urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"
        ]
    ]
    """
    The type of token requested, for a token exchange. The response is a JWT in either case.

    """
    audience: NotRequired[str]
    """
    The audience of the JWT: this service, or another one that the client is registered for.
    With a refresh token, the audience of the previous JWT.

    """
    resource: NotRequired[str]
    """
    An alternative to `audience` (RFC 8693 section 2.1). If both are sent, they must be
    equal.

    """
    scope: NotRequired[OauthScope]
    refresh_token: NotRequired[str]
    """
    The token from the previous response, for the refresh grant.
    """


class OauthIntrospectionRequest(TypedDict):
    """
    A form (RFC 7662 section 2.1). It is open because unknown parameters must be ignored.

    """

    token: str
    """
    The token to introspect.
    """
    client_id: NotRequired[FormClientId]
    client_secret: NotRequired[FormClientSecret]
    token_type_hint: NotRequired[OauthTokenTypeHint]


class OauthRevocationRequest(TypedDict):
    """
    A form (RFC 7009 section 2.1). It is open because unknown parameters must be ignored.

    """

    token: str
    """
    The token to revoke.
    """
    client_id: NotRequired[FormClientId]
    client_secret: NotRequired[FormClientSecret]
    token_type_hint: NotRequired[OauthTokenTypeHint]


class OauthKeySet(TypedDict, closed=True):
    """
    Public keys (RFC 7517 section 5).
    """

    keys: list[OauthKey]
    """
    The keys that are in use now or will be soon.
    """


class OauthServerMetadata(TypedDict, closed=True):
    """
    The capabilities of the authorization server (RFC 8414 section 2).
    """

    issuer: OauthAddress
    token_endpoint: OauthAddress
    introspection_endpoint: OauthAddress
    revocation_endpoint: OauthAddress
    jwks_uri: OauthAddress
    scopes_supported: list[GrantedScope]
    """
    The supported scopes.
    """
    response_types_supported: list[ResponseTypesSupportedItem]
    """
    Empty, because there is no authorization endpoint.
    """
    grant_types_supported: OauthNames
    token_endpoint_auth_methods_supported: OauthNames
    introspection_endpoint_auth_methods_supported: OauthNames
    revocation_endpoint_auth_methods_supported: OauthNames


class OauthResourceMetadata(TypedDict, closed=True):
    """
    The properties of this API as a protected resource (RFC 9728 section 2).
    """

    resource: OauthAddress
    authorization_servers: list[OauthAddress]
    """
    The issuers whose tokens are accepted, here the deployment itself.
    """
    scopes_supported: list[GrantedScope]
    """
    The supported scopes.
    """
    bearer_methods_supported: list[Literal["header"]]
    """
    The places where a token may be sent (RFC 6750).
    """
