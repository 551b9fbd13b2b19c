"""What each kind of credential may be used for."""

from collections.abc import Callable, Mapping

from accounts.errors import (
    CredentialNotAccepted,
    Forbidden,
    InsufficientScope,
    PolicyDenied,
    SessionRequired,
    TenantMismatch,
)
from accounts.services.policies import Decision, Question, Subject
from accounts.services.principal import CredentialKind, Principal
from accounts.services.user_views import UserView
from accounts.values.identifiers import canonical_uuid

__all__ = ["authorise", "require_tenant"]


def authorise(
    principal: Principal,
    decide: Callable[[Question], Decision],
    *,
    action: str,
    accepted: frozenset[CredentialKind],
    scope: str | None,
) -> None:
    """Let the principal pass, to an action that accepts these kinds of credential.

    The kind is judged first: a token can hold a scope for an operation that takes only sessions,
    and must not pass for it (TK-11). All else is for the policies to say.

    Raises:
        SessionRequired: Only a session, or what was made of one for a while, will do.
        CredentialNotAccepted: Not this kind.
        InsufficientScope: The kind will do, its scopes do not.
        Forbidden: A policy forbids it; the class by the policy's `@code`.
    """
    user, credential = principal
    if credential.kind not in accepted:
        if accepted <= {CredentialKind.SESSION, CredentialKind.JWT}:
            raise SessionRequired
        raise CredentialNotAccepted
    decision = decide(
        Question(
            Subject(
                user.user_id,
                user.tenant_id,
                tuple(user.roles),
                user.provider,
                user.is_platform_admin,
            ),
            action,
            credential.kind,
            credential.rights,
            scope,
        )
    )
    # Said here too, so that no policy of an operator's can switch scopes off by a wide permit.
    missing = None if scope in credential.rights else scope
    if decision.allowed and missing is None:
        return
    if missing is not None and decision.code is None:
        raise InsufficientScope(missing)
    raise _FORBIDDEN.get(decision.code or "", PolicyDenied)(decision.notices)


def require_tenant(user: UserView, named: str) -> None:
    """Let a request pass that names the person's own tenant, by its UUID in any case.

    The name gives access to nothing: the tenant is always the credential's (AZ-13).

    Raises:
        TenantMismatch: It names another one.
    """
    if canonical_uuid(named) != user.tenant_uuid:
        raise TenantMismatch


#: What a policy may call its refusal by: whatever needs nothing else to be said.
_FORBIDDEN: Mapping[str, type[Forbidden]] = {
    each.code: each for each in Forbidden.__subclasses__() if each is not InsufficientScope
}
