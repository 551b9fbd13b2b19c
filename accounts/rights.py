"""What each kind of credential may be used for."""

from collections.abc import Iterable

from accounts.errors import CredentialNotAccepted, InsufficientScope, SessionRequired
from accounts.principal import CredentialKind, Principal

__all__ = ["ACCESS_TOKEN_RIGHTS", "SESSION_RIGHTS", "authorise", "rights"]

#: Every access control entry there is. Today each enabled user has all of them over themselves.
SESSION_RIGHTS = frozenset(
    {
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
        "keys:read",
        "keys:write",
    }
)

ACCESS_TOKEN_RIGHTS = frozenset(
    {
        "me/profile:read",
        "me/profile:write",
        "me/settings:read",
        "me/settings:write",
        "me/token:read",
        "me/token:write",
    }
)

_FIXED = {
    CredentialKind.SESSION: SESSION_RIGHTS,
    CredentialKind.ACCESS_TOKEN: ACCESS_TOKEN_RIGHTS,
}


def rights(kind: CredentialKind, scopes: Iterable[str]) -> frozenset[str]:
    """The rights of a credential: its kind's, or else its scopes within the user's (TK-12)."""
    return _FIXED.get(kind) or SESSION_RIGHTS.intersection(scopes)


def authorise(
    principal: Principal, *, accepted: frozenset[CredentialKind], scope: str | None
) -> None:
    """Let the principal pass, to an operation that accepts these kinds and needs this scope.

    The kind is judged first: a token can hold a scope for an operation that takes only sessions,
    and must not pass for it (TK-11).

    Raises:
        SessionRequired: Only a session will do.
        CredentialNotAccepted: Not this kind.
        InsufficientScope: The kind will do, its scopes do not.
    """
    if principal.credential.kind not in accepted:
        if accepted == {CredentialKind.SESSION}:
            raise SessionRequired
        raise CredentialNotAccepted
    if scope is not None and scope not in principal.credential.rights:
        raise InsufficientScope(scope)
