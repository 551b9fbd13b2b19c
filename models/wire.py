# GENERATED from openapi/openapi.yaml by `tox run -e codegen`. Do not edit.

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias
from typing_extensions import TypedDict


RefusalCode: TypeAlias = Literal[
    "malformed_request",
    "malformed_body",
    "unexpected_body",
    "multiple_credentials",
    "invalid_request",
    "weak_password",
    "unreadable_picture",
    "wrong_password",
    "invalid_client",
    "invalid_grant",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "secret_invalid",
    "secret_used",
    "secret_expired",
    "secret_superseded",
    "not_authenticated",
    "invalid_token",
    "invalid_credentials",
    "session_required",
    "credential_not_accepted",
    "insufficient_scope",
    "scope_not_held",
    "not_local_user",
    "tenant_mismatch",
    "policy_denied",
    "cross_site_request",
    "signup_closed",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "email_taken",
    "limit_reached",
    "idempotency_key_reused",
    "token_unreadable",
    "precondition_failed",
    "too_many_attempts",
    "body_too_large",
    "unsupported_media_type",
    "unknown_host",
    "unavailable",
    "internal_error",
]
"""
Why a request was refused. Codes are stable; new ones may be added.
"""


Scope: TypeAlias = Literal[
    "me/profile:read",
    "me/profile:write",
    "me/auth:write",
    "me/settings:read",
    "me/settings:write",
    "me/pat:read",
    "me/pat:write",
    "me/token:read",
    "me/token:write",
    "me/sessions:read",
    "me/sessions:write",
    "me/events:read",
    "keys:read",
    "keys:write",
]
"""
An access control entry of the account.
"""


RequestId: TypeAlias = str
"""
Names this request in the service's log.
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
An e-mail address.
"""


Name: TypeAlias = str
"""
A name of 1 to 200 characters, without control characters, bidirectional overrides, or white space at its ends.

"""


NewPassword: TypeAlias = str
"""
At least 8 characters with an upper-case letter, a lower-case letter and a digit; at most 1,024 bytes; not easy to
guess, and not made of the account's own words.

"""


CurrentPassword: TypeAlias = str
"""
The current password, for verification.
"""


SessionToken: TypeAlias = str
"""
A session token, to be sent as a Bearer token.
"""


AccessToken: TypeAlias = str
"""
The user's access token, to be sent as a Bearer token.
"""


OneTimeSecret: TypeAlias = str
"""
A secret that works once.
"""


Violation = TypedDict(
    "Violation",
    {
        "in": Literal["body", "query", "path", "header"],
        "field": str,
        "rule": str,
    },
    closed=True,
)


Notice: TypeAlias = str
"""
One notice, for people to read.
"""


Notices: TypeAlias = list[Notice]
"""
What the policies of the deployment say to whoever they stop.
"""


class RefusalDetails(TypedDict, closed=True):
    """
    What a program may want to know of a refusal; at least one of the two.
    """

    notices: NotRequired[Notices]
    violations: NotRequired[list[Violation]]
    """
    At most 20 of them, in the order they were found.
    """


class IptoSignUpRequest(TypedDict, closed=True):
    """
    Who opens the account.
    """

    email: Email
    password: NewPassword
    display_name: Name
    tenant_name: Name


class IptoSignUp(TypedDict, closed=True):
    """
    The new account, and a session for it.
    """

    user_id: UserId
    tenant_id: TenantId
    session_token: SessionToken
    display_name: Name
    email: Email


class IptoSignUpEnvelope(TypedDict, closed=True):
    """
    The new account, in ipto's envelope.
    """

    data: IptoSignUp
    request_id: RequestId
    timestamp: Timestamp


class IptoLogInRequest(TypedDict, closed=True):
    """
    Who logs in.
    """

    email: str
    """
    The account's e-mail address, in any case.
    """
    password: CurrentPassword
    cookie: NotRequired[bool]
    """
    Whether the session comes as a cookie instead of in the body.
    """


class IptoLogIn(TypedDict, closed=True):
    """
    The session, and whose it is.
    """

    user_id: UserId
    tenant_id: TenantId
    session_token: NotRequired[SessionToken]
    expires_at: Timestamp
    display_name: Name
    email: Email


class IptoLogInEnvelope(TypedDict, closed=True):
    """
    The session, in ipto's envelope.
    """

    data: IptoLogIn
    request_id: RequestId
    timestamp: Timestamp


class IptoSuccess(TypedDict, closed=True):
    """
    That it was done.
    """

    success: Literal[True]
    """
    Always true; a failure is a refusal.
    """


class IptoSuccessEnvelope(TypedDict, closed=True):
    """
    That it was done, in ipto's envelope.
    """

    data: IptoSuccess
    request_id: RequestId
    timestamp: Timestamp


Role: TypeAlias = str
"""
A role in a tenant; `owner` and `member` are made by the service, an operator can give others.
"""


class IptoChangePasswordRequest(TypedDict, closed=True):
    """
    The change of a password.
    """

    current_password: CurrentPassword
    new_password: NewPassword


class IptoForgotPasswordRequest(TypedDict, closed=True):
    """
    Whose password was forgotten.
    """

    email: Email


class IptoResetPasswordRequest(TypedDict, closed=True):
    """
    A new password, and what allows to set it.
    """

    secret: OneTimeSecret
    new_password: NewPassword


class IptoEvent(TypedDict, closed=True):
    """
    One thing that happened to the account.
    """

    event_id: str
    """
    Names the event.
    """
    kind: str
    """
    What happened, in the words of OWASP's logging vocabulary; new kinds may be added.
    """
    occurred_at: Timestamp
    source: str | None
    """
    The IP address that the request came from; null for what an operator did.
    """
    credential_kind: str | None
    """
    The kind of credential that the request was made with; null for none.
    """
    credential_id: str | None
    """
    Names that credential, as the lists of credentials do; null for none.
    """
    details: dict[str, Any]
    """
    Ids, words and numbers, by names that depend on the kind; open because kinds may be added.
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
    What the next page is asked for by; null on the last.
    """


class IptoEventPageEnvelope(TypedDict, closed=True):
    """
    A page of events, in the envelope.
    """

    data: IptoEventPage
    request_id: RequestId
    timestamp: Timestamp


LastUsedAt: TypeAlias = str | None
"""
When it was last used, to within a minute or so; null before that is recorded.
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
]
"""
What an API key may be used for. The entries of the account are judged here; those of ipto's other services are
kept for them and open nothing here.

"""


ApiKeyScopes: TypeAlias = list[ApiKeyScope]
"""
The key's scopes.
"""


DatasetAccessMode: TypeAlias = Literal["all_available", "allow_list"]
"""
Which data sets ipto's other services open to the key; kept for them.
"""


ApiKeyPrefix: TypeAlias = str
"""
The public part of a key, by which it can be recognised.
"""


ApiKeyIdValue: TypeAlias = str
"""
Names the API key.
"""


class IptoCreateApiKeyRequest(TypedDict, closed=True):
    """
    The API key to make.
    """

    name: Name
    scopes: ApiKeyScopes
    dataset_access_mode: NotRequired[DatasetAccessMode]
    expires_at: NotRequired[str]
    """
    When the key expires, at most 365 days from now and no later than a key that makes it; without it, then.
    """


class IptoCreatedApiKey(TypedDict, closed=True):
    """
    The API key that was made, with its secret.
    """

    api_key_id: ApiKeyIdValue
    key: str
    """
    The key itself, shown this once.
    """
    name: Name
    key_prefix: ApiKeyPrefix
    scopes: ApiKeyScopes
    dataset_access_mode: DatasetAccessMode
    created_at: Timestamp
    expires_at: Timestamp


class IptoCreatedApiKeyEnvelope(TypedDict, closed=True):
    """
    The API key that was made, in ipto's envelope.
    """

    data: IptoCreatedApiKey
    request_id: RequestId
    timestamp: Timestamp


class IptoApiKey(TypedDict, closed=True):
    """
    A live API key, without its secret.
    """

    api_key_id: ApiKeyIdValue
    name: Name
    key_prefix: ApiKeyPrefix
    scopes: ApiKeyScopes
    dataset_access_mode: DatasetAccessMode
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: LastUsedAt | None


class IptoApiKeyList(TypedDict, closed=True):
    """
    The user's live API keys.
    """

    items: list[IptoApiKey]
    """
    Newest first.
    """


class IptoApiKeyListEnvelope(TypedDict, closed=True):
    """
    The user's live API keys, in ipto's envelope.
    """

    data: IptoApiKeyList
    request_id: RequestId
    timestamp: Timestamp


Message: TypeAlias = str
"""
The refusal for people to read; it may be reworded.
"""


class HyperclastUser(TypedDict, closed=True):
    """
    The user, with the access token.
    """

    external_id: str
    """
    The user's id in Hyperclast.
    """
    email: Email
    email_verified: bool
    """
    Whether the address is verified.
    """
    username: str
    """
    The user name, made from the address when the account was opened.
    """
    first_name: str
    """
    The first name; empty when there is none.
    """
    last_name: str
    """
    The last name; empty when there is none.
    """
    is_authenticated: Literal[True]
    """
    Always true; who is not authenticated gets a 401.
    """
    access_token: AccessToken


class HyperclastAccessToken(TypedDict, closed=True):
    """
    The access token.
    """

    access_token: AccessToken


NullableName: TypeAlias = str | None
"""
A name of 1 to 200 characters, without control characters, bidirectional overrides, or white space at its ends;
null for none.

"""


NullablePhone: TypeAlias = str | None
"""
A telephone number in E.164, with a leading plus; null for none.
"""


NullableLocale: TypeAlias = str | None
"""
A locale in BCP 47; null for none.
"""


NullableTimezone: TypeAlias = str | None
"""
The name of a time zone in the IANA database; null for none.
"""


class ScaikeyUpdateProfileRequest(TypedDict, closed=True):
    """
    The fields to change.
    """

    first_name: NotRequired[NullableName | None]
    last_name: NotRequired[NullableName | None]
    display_name: NotRequired[NullableName | None]
    phone: NotRequired[NullablePhone | None]
    locale: NotRequired[NullableLocale | None]
    timezone: NotRequired[NullableTimezone | None]


class ScaikeyChangePasswordRequest(TypedDict, closed=True):
    """
    The change of a password.
    """

    current_password: CurrentPassword
    new_password: NewPassword


class ScaikeyConfirmEmailVerificationRequest(TypedDict, closed=True):
    """
    The secret from the mail.
    """

    secret: OneTimeSecret


class ScaikeySuccess(TypedDict, closed=True):
    """
    That it was done.
    """

    success: Literal[True]
    """
    Always true; a failure is a refusal.
    """


class ValidationError(TypedDict, closed=True):
    """
    One field that breaks one rule.
    """

    loc: list[str | int]
    """
    The way to the field, from the part of the request that it is in.
    """
    msg: Message
    type: RefusalCode


class ScaikeyRefusal(TypedDict, closed=True):
    """
    A refusal that is not about the shape of the request.
    """

    detail: Message
    code: RefusalCode


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
Where the picture is: the address that was set, or the address of the uploaded one, which needs a credential; null
for none.

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
    phone: NotRequired[NullablePhone | None]
    picture: NotRequired[NullablePicture | None]


class HanteraChangePasswordRequest(TypedDict, closed=True):
    """
    The change of a password.
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
    The pending change; with the secret, where the client is to mail it.
    """

    identityId: IdentityId
    secret: NotRequired[OneTimeSecret]
    email: Email


class HanteraEmailValidationRequest(TypedDict, closed=True):
    """
    Whose change, and its secret.
    """

    identityId: IdentityId
    secret: OneTimeSecret


class HanteraEmail(TypedDict, closed=True):
    """
    The address that the account has now.
    """

    email: Email


HanteraSettings: TypeAlias = dict[str, Any]
"""
Open, because the names and values are the applications' own. At most 100 names at the top and 16 KiB as JSON.

"""


PatScopes: TypeAlias = list[Scope]
"""
The token's scopes. Whatever they are, it changes no password, ends no session, and makes, shows and revokes no other
credential: `me/auth:write`, `me/sessions:write`, `me/token:…`, `me/pat:…` and `keys:write` open nothing with it.

"""


PatIdValue: TypeAlias = str
"""
Names the token.
"""


ClientId: TypeAlias = str
"""
The client that the token was made with.
"""


class HanteraCreatePatRequest(TypedDict, closed=True):
    """
    The token to make, and the client that makes it.
    """

    name: Name
    expiresAt: str
    """
    When the token expires; in the future, and at most one calendar year from now.
    """
    scopes: PatScopes
    clientId: ClientId
    clientSecret: str
    """
    The secret that proves the client.
    """


class HanteraCreatedPat(TypedDict, closed=True):
    """
    The token that was made, with its secret.
    """

    id: PatIdValue
    name: Name
    token: str
    """
    The token itself, shown this once.
    """
    scopes: PatScopes
    clientId: ClientId
    createdAt: Timestamp
    expiresAt: Timestamp


class HanteraPat(TypedDict, closed=True):
    """
    An active token, without its secret.
    """

    id: PatIdValue
    name: Name
    scopes: PatScopes
    clientId: ClientId
    createdAt: Timestamp
    expiresAt: Timestamp
    lastUsedAt: LastUsedAt | None


HanteraPatList: TypeAlias = list[HanteraPat]
"""
The active tokens, newest first.
"""


class Problem(TypedDict, closed=True):
    """
    A refusal as RFC 9457 has it.
    """

    type: str
    """
    Names the kind of problem; it cannot be fetched.
    """
    title: str
    """
    The problem in general, for people to read.
    """
    status: int
    """
    The status of the answer, again.
    """
    detail: Message
    code: RefusalCode
    instance: str
    """
    Names this refusal in the service's log, by its request id; it cannot be fetched.
    """
    notices: NotRequired[Notices]


class JitsudoChangePasswordRequest(TypedDict, closed=True):
    """
    The change of a password.
    """

    current_password: CurrentPassword
    new_password: NewPassword


class JitsudoRefusal(TypedDict, closed=True):
    """
    A refusal as jitsudo has it.
    """

    code: RefusalCode
    message: Message
    details: NotRequired[RefusalDetails]
    notices: NotRequired[Notices]


OauthUnknownParameter: TypeAlias = str
"""
What is not known is ignored; like every parameter, it must not stand twice (RFC 6749 section 3.2).
"""


OauthScope: TypeAlias = str
"""
Access control entries, with a space between them.
"""


class OauthToken(TypedDict, closed=True):
    """
    What the client gets.
    """

    access_token: str
    """
    The JWT (RFC 9068).
    """
    issued_token_type: Literal["urn:ietf:params:oauth:token-type:access_token"]
    """
    What the access token is (RFC 8693 section 3).
    """
    token_type: Literal["Bearer"]
    """
    How the access token is sent.
    """
    expires_in: int
    """
    How long the access token lasts, in seconds.
    """
    scope: OauthScope
    refresh_token: str
    """
    For the next exchange; it works once, and as long as the session lives.
    """


OauthTokenTypeHint: TypeAlias = str
"""
What kind of token it may be (RFC 7009 section 2.1); not needed here, since tokens tell their kinds apart.
"""


class OauthIntrospection(TypedDict, closed=True):
    """
    What a token is good for; of one that is not good, `active` and nothing else.
    """

    active: bool
    """
    Whether the token is good now.
    """
    client_id: NotRequired[ClientId]
    sub: NotRequired[UserId]
    scope: NotRequired[OauthScope]
    token_type: NotRequired[Literal["Bearer"]]
    """
    How the token is sent; absent for a refresh token.
    """
    iss: NotRequired[str]
    """
    Who issued the token.
    """
    aud: NotRequired[str]
    """
    Whom the token is for; absent for a personal access token.
    """
    iat: NotRequired[int]
    """
    When it was made, in seconds of Unix time.
    """
    exp: NotRequired[int]
    """
    When it ends, in seconds of Unix time.
    """
    jti: NotRequired[str]
    """
    Names the JWT.
    """


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
    What it is for.
    """
    alg: Literal["RS256"]
    """
    The algorithm.
    """
    kid: str
    """
    Names the key, by its thumbprint (RFC 7638).
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
Never there.
"""


OauthAddress: TypeAlias = str
"""
An address of the deployment.
"""


OauthName: TypeAlias = str
"""
One name.
"""


OauthNames: TypeAlias = list[OauthName]
"""
Names that IANA has registered for OAuth.
"""


class OauthRefusal(TypedDict, closed=True):
    """
    A refusal as RFC 6749 section 5.2 has it.
    """

    error: RefusalCode
    error_description: Message


class Health(TypedDict, closed=True):
    """
    That the process lives.
    """

    status: Literal["ok"]
    """
    Always `ok`; a process that does not live does not answer.
    """


class Readiness(TypedDict, closed=True):
    """
    That the service can serve.
    """

    status: Literal["ready", "degraded"]
    """
    `ready`, or `degraded` where the service serves and an operator should look: its policies were changed to what
    cannot be used, and the last good ones are in force. What cannot serve answers 503.

    """


class IptoCurrentUser(TypedDict, closed=True):
    """
    The user and their tenant.
    """

    user_id: UserId
    email: Email
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
    A live session.
    """

    session_id: str
    """
    Names the session; it is not the session token.
    """
    created_at: Timestamp
    expires_at: Timestamp
    last_used_at: LastUsedAt | None
    user_agent: str | None
    """
    What the client called itself when it logged in.
    """
    current: bool
    """
    Whether this is the session that the request was sent with.
    """


class IptoSessionList(TypedDict, closed=True):
    """
    The user's live sessions.
    """

    items: list[IptoSession]
    """
    Newest first.
    """


class IptoSessionListEnvelope(TypedDict, closed=True):
    """
    The user's live sessions, in ipto's envelope.
    """

    data: IptoSessionList
    request_id: RequestId
    timestamp: Timestamp


class Error(TypedDict, closed=True):
    """
    Why the request was refused.
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
    Why the request was refused.
    """
    request_id: RequestId
    timestamp: Timestamp


class HyperclastRefusal(TypedDict, closed=True):
    """
    A refusal, in a superset of the two shapes that Hyperclast published.
    """

    error: RefusalCode
    message: Message
    detail: str | list[ValidationError]
    """
    The message again; what is wrong with each field, on a 422; or the notices of the policies.
    """


class ScaikeyProfile(TypedDict, closed=True):
    """
    The user's profile.
    """

    id: UserId
    email: Email
    email_verified: bool
    """
    Whether the address is verified.
    """
    first_name: NullableName | None
    last_name: NullableName | None
    display_name: Name
    phone: NullablePhone | None
    locale: NullableLocale | None
    timezone: NullableTimezone | None
    tenant_id: TenantId


class HTTPValidationError(TypedDict, closed=True):
    """
    What is wrong with each field.
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
    phone: NullablePhone | None
    picture: NullablePictureAddress | None
    pendingEmail: str | None
    """
    The address of a change that is not validated yet; null when there is none.
    """


class OauthTokenRequest(TypedDict, extra_items="OauthUnknownParameter"):
    """
    A form (RFC 6749 section 4.5, RFC 8693 section 2.1). It is open because parameters that are not known are to be ignored
    (RFC 6749 section 3.2).

    """

    grant_type: str
    """
    `urn:ietf:params:oauth:grant-type:token-exchange` or `refresh_token`.

    """
    client_id: NotRequired[ClientId]
    subject_token: NotRequired[str]
    """
    For an exchange, the session.
    """
    subject_token_type: NotRequired[Literal["urn:ietf:params:oauth:token-type:access_token"]]
    """
    For an exchange, what the subject token is.
    """
    requested_token_type: NotRequired[
        Literal[
            "urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"
        ]
    ]
    """
    For an exchange, what is wanted; a JWT in either case.
    """
    audience: NotRequired[str]
    """
    Whom the JWT is for: this service, or another that the client was registered for. With a refresh token, whom the
    last one was for.

    """
    resource: NotRequired[str]
    """
    The same, by its other name (RFC 8693 section 2.1). Where both are sent, they have to agree.
    """
    scope: NotRequired[OauthScope]
    refresh_token: NotRequired[str]
    """
    For the refresh grant, the token of the last answer.
    """


class OauthIntrospectionRequest(TypedDict, extra_items="OauthUnknownParameter"):
    """
    A form (RFC 7662 section 2.1). It is open because parameters that are not known are to be ignored.

    """

    token: str
    """
    The token that is asked about.
    """
    token_type_hint: NotRequired[OauthTokenTypeHint]


class OauthRevocationRequest(TypedDict, extra_items="OauthUnknownParameter"):
    """
    A form (RFC 7009 section 2.1). It is open because parameters that are not known are to be ignored.

    """

    token: str
    """
    The token that is to end.
    """
    token_type_hint: NotRequired[OauthTokenTypeHint]


class OauthKeySet(TypedDict, closed=True):
    """
    Public keys (RFC 7517 section 5).
    """

    keys: list[OauthKey]
    """
    The keys that verify now or soon.
    """


class OauthServerMetadata(TypedDict, closed=True):
    """
    What the authorization server supports (RFC 8414 section 2).
    """

    issuer: OauthAddress
    token_endpoint: OauthAddress
    introspection_endpoint: OauthAddress
    revocation_endpoint: OauthAddress
    jwks_uri: OauthAddress
    scopes_supported: list[Scope]
    """
    The scopes that there are.
    """
    response_types_supported: list[ResponseTypesSupportedItem]
    """
    None, since there is no authorization endpoint.
    """
    grant_types_supported: OauthNames
    token_endpoint_auth_methods_supported: OauthNames
    introspection_endpoint_auth_methods_supported: OauthNames
    revocation_endpoint_auth_methods_supported: OauthNames
