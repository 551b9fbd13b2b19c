"""Who is asking, and by what."""

from enum import StrEnum
from typing import NamedTuple

from accounts.people import Person

__all__ = ["Credential", "CredentialKind", "Presented", "Principal"]


class CredentialKind(StrEnum):
    """The kinds of credential, by the names that they have in the document's security schemes.

    A session is one kind, whether it comes as a Bearer token or as a cookie.
    """

    SESSION = "session"
    API_KEY = "apiKey"
    ACCESS_TOKEN = "accessToken"  # noqa: S105 # the name of a kind
    PAT = "personalAccessToken"


class Presented(NamedTuple):
    """The one credential of a request, well formed but not looked up yet."""

    kind: CredentialKind
    token: str


class Credential(NamedTuple):
    """A credential that is good. `id` names it in lists; an access token is named by its user."""

    kind: CredentialKind
    id: str
    rights: frozenset[str]


class Principal(NamedTuple):
    """A person, and the credential that they were recognised by."""

    person: Person
    credential: Credential
