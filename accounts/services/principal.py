"""Who is asking, and by what."""

from enum import StrEnum
from typing import NamedTuple

from accounts.crypto.jwts import Claims
from accounts.services.user_views import UserView

__all__ = ["Credential", "CredentialKind", "Presented", "Principal"]


class CredentialKind(StrEnum):
    """The kinds of credential, by the names that they have in the document's security schemes.

    A session is one kind, whether it comes as a Bearer token or as a cookie.
    """

    SESSION = "session"
    API_KEY = "apiKey"
    ACCESS_TOKEN = "accessToken"  # noqa: S105 # the name of a kind
    PAT = "personalAccessToken"
    JWT = "jwt"


class Presented(NamedTuple):
    """The one credential of a request, well formed but not looked up yet.

    `claims` are what a JWT says, whose signature is good.
    """

    kind: CredentialKind
    token: str
    claims: Claims | None = None


class Credential(NamedTuple):
    """A credential that is good. `id` names it in lists; an access token is named by its user.

    `session_id` is the session that it is, or that it was exchanged for.
    """

    kind: CredentialKind
    id: str
    rights: frozenset[str]
    session_id: str | None = None


class Principal(NamedTuple):
    """A person, and the credential that they were recognised by."""

    user: UserView
    credential: Credential
