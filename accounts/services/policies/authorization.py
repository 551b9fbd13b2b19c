"""Authorizing operations by credential kind, scope and policies."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from accounts.errors import (
    CredentialNotAccepted,
    Forbidden,
    InsufficientScope,
    PolicyDenied,
    SessionRequired,
    TenantMismatch,
)
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import AccountSession
from accounts.services.policies.policy_set import ANONYMOUS, Decision, Question, Subject
from accounts.services.principal import Authentication, CredentialKind, Principal
from accounts.services.user_views import UserView
from accounts.values.authentication_methods import AuthenticationLevel, level_of
from accounts.values.identifiers import canonical_uuid

#: Decides a question; the second argument returns the address of the client, and the third is the
#: age of the person's authentication in seconds.
Decide = Callable[[Question, Callable[[], str | None], int | None], Decision]

_SECOND = timedelta(seconds=1)


def authorise(
    principal: Principal,
    decide: Decide,
    *,
    action: str,
    accepted: frozenset[CredentialKind],
    scope: str | None,
    read_address: Callable[[], str | None],
    now: datetime,
) -> None:
    """Check that the principal may perform an action, which accepts these kinds of credential.

    The kind is checked first: a token can have the scope of an operation that only sessions may
    perform, and must not get through by it (TK-11). The policies decide everything else.

    Raises:
        SessionRequired: The action needs a session, or a JWT made from one.
        CredentialNotAccepted: The action does not accept this kind.
        InsufficientScope: The kind is accepted, but the credential lacks the scope.
        Forbidden: A policy forbids it; the policy's `@code` selects the class.
    """
    user, credential = principal
    if credential.kind not in accepted:
        if accepted <= {CredentialKind.SESSION, CredentialKind.JWT}:
            raise SessionRequired
        raise CredentialNotAccepted
    level, age = _assurance(credential.authentication, now)
    question = Question(_subject(user), action, credential.kind, credential.rights, scope, level)
    decision = decide(question, read_address, age)
    # Checked here too, so that an operator's broad permit cannot switch scopes off.
    missing = None if scope in credential.rights else scope
    if decision.allowed and missing is None:
        return
    if missing is not None and decision.code is None:
        raise InsufficientScope(missing)
    raise _refusal(decision)


def govern(session: AccountSession, decide: Decide, action: str) -> None:
    """Let the policies decide the public acts of a session, as this action.

    Outside a request nothing is decided: what operators and background jobs do is not governed.
    """

    def authorise_public(
        user: UserView | None, credential: str, authentication: Authentication | None = None
    ) -> None:
        subject, rights = ANONYMOUS, frozenset[str]()
        if user is not None:
            subject, rights = _subject(user), SESSION_RIGHTS
        level, age = _assurance(authentication, session.now)
        question = Question(subject, action, credential, rights, None, level)
        decision = decide(question, lambda: session.origin.address, age)
        if not decision.allowed:
            raise _refusal(decision)

    session.authorise_public = authorise_public


def _assurance(
    authentication: Authentication | None, now: datetime
) -> tuple[AuthenticationLevel, int | None]:
    """Return the level of an authentication and its age in whole seconds."""
    if authentication is None:
        return AuthenticationLevel.NONE, None
    # Not negative, if it was recorded by a host whose clock is ahead.
    return level_of(authentication.amr), max(0, (now - authentication.at) // _SECOND)


def _subject(user: UserView) -> Subject:
    return Subject(
        user.user_id,
        user.tenant_id,
        user.tenant_uuid,
        tuple(user.roles),
        user.provider,
        user.is_platform_admin,
        user.email_verified_at is not None,
    )


def _refusal(decision: Decision) -> Forbidden:
    return _FORBIDDEN.get(decision.code or "", PolicyDenied)(decision.notices)


def require_tenant(user: UserView, named: str) -> None:
    """Check that a request names the user's own tenant, by its UUID in any letter case.

    The name grants nothing: the tenant is always that of the credential (AZ-13).

    Raises:
        TenantMismatch: It names another tenant.
    """
    if canonical_uuid(named) != user.tenant_uuid:
        raise TenantMismatch


#: Refusals that a policy can select by `@code`: those that need no further data.
_FORBIDDEN: Mapping[str, type[Forbidden]] = {
    refusal.code: refusal
    for refusal in Forbidden.__subclasses__()
    if refusal is not InsufficientScope
}
