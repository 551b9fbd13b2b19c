"""The caller of a request, and the credential that the request presents."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from accounts.crypto.jwts import Claims
from accounts.services.user_views import UserView


class CredentialKind(StrEnum):
    """The kinds of credential, by their names in the document's security schemes.

    A session is one kind, whether it is sent as a Bearer token or as a cookie.
    """

    SESSION = "session"
    API_KEY = "apiKey"
    ACCESS_TOKEN = "accessToken"  # noqa: S105 # the name of a kind
    PAT = "personalAccessToken"
    JWT = "jwt"


class PublicCredential(StrEnum):
    """Values that policies see in place of a credential's kind, where a public act has none."""

    MAILED_SECRET = "mailed-secret"  # noqa: S105 # the name of a kind
    PASSWORD = "password"  # noqa: S105 # the name of a kind
    REFRESH_TOKEN = "refreshToken"  # noqa: S105 # the name of a kind
    NONE = "none"


class Presented(NamedTuple):
    """The one credential of a request: well formed, but not looked up yet.

    `claims` are those of a JWT, whose signature was verified.
    """

    kind: CredentialKind
    token: str
    claims: Claims | None = None


class Authentication(NamedTuple):
    """When and how a person last authenticated; `amr` are methods of RFC 8176."""

    at: datetime
    amr: tuple[str, ...]


class Credential(NamedTuple):
    """A valid credential. `id` names it in lists; an access token is named by its user.

    `session_id` is the session itself, or the session that a JWT was exchanged for.
    `authentication` is the session's, as of the exchange for a JWT; None for other kinds, which
    authenticate a program.
    """

    kind: CredentialKind
    id: str
    rights: frozenset[str]
    session_id: str | None = None
    authentication: Authentication | None = None


class Principal(NamedTuple):
    """A user, and the credential that authenticated them."""

    user: UserView
    credential: Credential
