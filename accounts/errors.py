"""Refusals of the acts, one class and one stable code each.

The tree, which `handlers.errors` and `oneself.http.request.errors` continue (a kind decides the
status, and only `oneself.http.response` knows statuses)::

    AccountError
    ├── Invalid                      readable, but a field breaks a rule
    │   ├── InvalidRequest           invalid_request
    │   ├── WeakPassword             weak_password
    │   └── UnreadablePicture        unreadable_picture
    ├── Rejected                     well formed, but a claim in it is false
    │   ├── WrongPassword            wrong_password
    │   ├── WrongCode                wrong_code
    │   ├── InvalidClient            invalid_client
    │   ├── InvalidGrant             invalid_grant
    │   ├── UnsupportedGrantType     unsupported_grant_type
    │   ├── InvalidScope             invalid_scope
    │   ├── InvalidTarget            invalid_target
    │   ├── SecretInvalid            secret_invalid
    │   ├── SecretUsed               secret_used
    │   ├── SecretExpired            secret_expired
    │   └── SecretSuperseded         secret_superseded
    ├── Unauthenticated              the caller is unknown
    │   ├── InvalidToken             invalid_token
    │   ├── TokenReused              token_reused
    │   ├── InvalidCredentials       invalid_credentials
    │   ├── ChallengeInvalid         invalid_challenge
    │   └── RecentAuthenticationRequired  recent_authentication_required
    ├── Forbidden                    the caller is known, and may not do this
    │   ├── SessionRequired          session_required
    │   ├── CredentialNotAccepted    credential_not_accepted
    │   ├── InsufficientScope        insufficient_scope
    │   ├── ScopeNotHeld             scope_not_held
    │   ├── NotLocalUser             not_local_user
    │   ├── TenantMismatch           tenant_mismatch
    │   ├── SecondFactorRequired     second_factor_required
    │   ├── PolicyDenied             policy_denied
    │   └── SignupClosed             signup_closed
    ├── NotFound                     not_found
    ├── Conflict
    │   ├── AlreadyEnrolled          already_enrolled
    │   ├── EmailTaken               email_taken
    │   ├── UsernameTaken            username_taken
    │   ├── LimitReached             limit_reached
    │   ├── IdempotencyKeyReused     idempotency_key_reused
    │   ├── AlreadyRotated           already_rotated
    │   └── TokenUnreadable          token_unreadable
    ├── TooManyAttempts              too_many_attempts
    ├── Unavailable                  unavailable
    └── OutcomeUnknown               outcome_unknown

`str(refusal)` is safe to show: it names a field and a rule, never a value. Causes are chained with
`raise … from` and never rendered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks one rule.

    `field` is the path to it, property names and array indices, by the act's own names; empty for
    the input as a whole. `rule` is a sentence that can follow the field's name ("must …").
    Neither contains a value that was sent.
    """

    field: tuple[str | int, ...]
    rule: str


class AccountError(Exception):
    """Base class of all refusals; never raised itself."""

    code: ClassVar[str] = ""
    message: ClassVar[str] = ""

    #: Whether the transaction is committed although the act refused (a counter, a used secret).
    keep_writes: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(self.message)


class Invalid(AccountError):
    """Readable, but at least one field breaks a rule; `violations` lists them."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        super().__init__()
        self.violations: Sequence[Violation] = tuple(violations)

    @classmethod
    def of(cls, field: str, *rules: str) -> Self:
        """Make the refusal of one field by each rule that it breaks."""
        return cls([Violation((field,), rule) for rule in rules])


class InvalidRequest(Invalid):
    """The input does not have the documented shape."""

    code = "invalid_request"
    message = "The request does not have the documented shape."


class WeakPassword(Invalid):
    """The new password breaks the password rules."""

    code = "weak_password"
    message = "The password is too weak."


class UnreadablePicture(Invalid):
    """The uploaded file is not a supported picture."""

    code = "unreadable_picture"
    message = "The picture cannot be read."

    def __init__(self, *field: str) -> None:
        rule = "must be a PNG, JPEG or WebP picture of at most 25 million pixels"
        super().__init__([Violation(field, rule)])


class Rejected(AccountError):
    """Well formed, but a claim in it is false."""


class WrongPassword(Rejected):
    """The password in the request is not the current one."""

    code = "wrong_password"
    message = "The current password is wrong."
    keep_writes = True  # the attempt is recorded as an event


class WrongCode(Rejected):
    """The code is none of the user's second factors, or was used before."""

    code = "wrong_code"
    message = "The code is wrong, or was used before."
    keep_writes = True  # the attempt is counted, and recorded as an event


class InvalidClient(Rejected):
    """No client of the tenant has this id and secret; `hints` say how a client authenticates."""

    code = "invalid_client"
    message = "The client is unknown or its secret is wrong."
    keep_writes = True  # the attempt is counted

    def __init__(self, *hints: str) -> None:
        Exception.__init__(self, " ".join((self.message, *hints)))


class InvalidGrant(Rejected):
    """The refresh token is unknown, used, expired, revoked, or another client's (RFC 6749)."""

    code = "invalid_grant"
    message = "The refresh token is not valid."
    keep_writes = True  # a second use is refused and ends the token's family


class UnsupportedGrantType(Rejected):
    """The token endpoint does not support this grant (RFC 6749 section 5.2)."""

    code = "unsupported_grant_type"
    message = "This grant type is not supported."


class InvalidScope(Rejected):
    """None of the requested scopes can be granted (RFC 6749 section 5.2)."""

    code = "invalid_scope"
    message = "A requested scope does not exist, or none of them can be granted."


class InvalidTarget(Rejected):
    """The client may not get tokens for this audience (RFC 8693 section 2.2.2)."""

    code = "invalid_target"
    message = "The client may not ask for tokens for this audience."


class SecretInvalid(Rejected):
    """No pending secret matches, or the address was taken in the meantime."""

    code = "secret_invalid"
    message = "The secret is not valid."


class SecretUsed(Rejected):
    """The secret is correct, but was used before."""

    code = "secret_used"
    message = "The secret was used already."


class SecretExpired(Rejected):
    """The secret is correct, but has expired."""

    code = "secret_expired"
    message = "The secret has expired."


class SecretSuperseded(Rejected):
    """The secret is correct, but a later request or change replaced it."""

    code = "secret_superseded"
    message = "A later request replaced this secret."


class Unauthenticated(AccountError):
    """The caller is unknown."""


class InvalidToken(Unauthenticated):
    """The credential is malformed, unknown, revoked or expired, or its owner is disabled."""

    code = "invalid_token"
    message = "The credential is not valid."


class TokenReused(Unauthenticated):
    """A token that was rotated before was presented for another rotation: its family is revoked."""

    code = "token_reused"
    message = "This token was rotated before. All tokens that came from it are revoked now."
    keep_writes = True  # the family is revoked


class InvalidCredentials(Unauthenticated):
    """The login failed; every cause gives the same answer."""

    code = "invalid_credentials"
    message = "The email address or the password is wrong."
    keep_writes = True  # the attempt is counted


class ChallengeInvalid(Unauthenticated):
    """No login waits for a second factor under this id: unknown, used, or out of time or tries."""

    code = "invalid_challenge"
    message = "The login has ended. Log in again."
    keep_writes = True  # the attempt is counted


class RecentAuthenticationRequired(Unauthenticated):
    """The user must authenticate again, with this assurance at least (RFC 9470).

    `max_age` is the largest age of an authentication in seconds, and `acr` its level.
    """

    code = "recent_authentication_required"
    message = "This operation needs a recent authentication."

    def __init__(self, max_age: int, acr: str) -> None:
        super().__init__()
        self.max_age, self.acr = max_age, acr


class Forbidden(AccountError):
    """The caller is known and may not do this; `notices` are the policies' explanations."""

    def __init__(self, notices: Sequence[str] = ()) -> None:
        super().__init__()
        self.notices = tuple(notices)


class SessionRequired(Forbidden):
    """The operation needs a login session; tokens made for programs are not accepted."""

    code = "session_required"
    message = "This operation needs a login session."


class CredentialNotAccepted(Forbidden):
    """The credential is valid, but the operation does not accept its kind."""

    code = "credential_not_accepted"
    message = "This kind of credential is not accepted here."


class InsufficientScope(Forbidden):
    """The credential lacks the scope that the operation needs (RFC 6750 section 3.1)."""

    code = "insufficient_scope"
    message = "The credential lacks the scope that this operation needs."

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope


class ScopeNotHeld(Forbidden):
    """A token was requested with more rights than its creator has."""

    code = "scope_not_held"
    message = "A token cannot have more rights than its creator."


class NotLocalUser(Forbidden):
    """The user signs in with another identity provider, which keeps the password."""

    code = "not_local_user"
    message = "The password of this user is kept by another identity provider."


class TenantMismatch(Forbidden):
    """The request names another tenant than the credential's."""

    code = "tenant_mismatch"
    message = "The credential belongs to another tenant."


class SecondFactorRequired(Forbidden):
    """The password is right, and the account has a second factor."""

    code = "second_factor_required"
    message = "This account has a second factor, and the request has no code of it."
    keep_writes = True  # the attempt was no failure


class PolicyDenied(Forbidden):
    """A policy of the deployment forbids it."""

    code = "policy_denied"
    message = "A policy of this deployment forbids it."


class SignupClosed(Forbidden):
    """The operator has closed signup."""

    code = "signup_closed"
    message = "Signup is closed."


class NotFound(AccountError):
    """The resource does not exist, or belongs to another user; the answers are the same.

    `rule` says more about a path.
    """

    code = "not_found"
    message = "Not found."

    def __init__(self, rule: str | None = None) -> None:
        super().__init__()
        if rule is not None:
            self.args = (f"{self.message[:-1]}: {rule}.",)


class Conflict(AccountError):
    """The request conflicts with the current state."""


class AlreadyEnrolled(Conflict):
    """The user has an authenticator app already."""

    code = "already_enrolled"
    message = "There is an authenticator app already."


class EmailTaken(Conflict):
    """Another account has this email address."""

    code = "email_taken"
    message = "Another account has this email address."
    keep_writes = True  # the attempt is counted


class UsernameTaken(Conflict):
    """Another user has this username, or it is reserved."""

    code = "username_taken"
    message = "Another user has this username, or it is reserved."


class LimitReached(Conflict):
    """The account has the maximum number of these."""

    code = "limit_reached"
    message = "The account has reached its limit of these; revoke one first."


class IdempotencyKeyReused(Conflict):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"
    message = "This Idempotency-Key was used for another request."


class AlreadyRotated(Conflict):
    """Another request has just rotated the token, or a newer token has replaced it."""

    code = "already_rotated"
    message = "Another token has replaced this one."


class TokenUnreadable(Conflict):
    """The stored access token cannot be decrypted; regenerating it helps."""

    code = "token_unreadable"
    message = "The access token cannot be shown; regenerate it."


class TooManyAttempts(AccountError):
    """A rate limit is exhausted; `retry_after` is in whole seconds.

    `policy` names the limit: `quota` attempts in `window` seconds.
    """

    code = "too_many_attempts"
    message = "Too many attempts; try again later."

    def __init__(self, policy: str, *, quota: int, window: int, retry_after: int) -> None:
        super().__init__()
        self.policy = policy
        self.quota = quota
        self.window = window
        self.retry_after = retry_after


class Unavailable(AccountError):
    """The service cannot answer now; `retry_after` is in whole seconds.

    `reason` is written to the log and not sent to the caller.
    """

    code = "unavailable"
    message = "The service is unavailable; try again shortly."

    def __init__(self, retry_after: int = 1, *, reason: str | None = None) -> None:
        super().__init__()
        self.retry_after = retry_after
        self.reason = reason


class OutcomeUnknown(AccountError):
    """The database has not confirmed a commit: the change may have been made or not (ADR 37).

    `is_settled` means that this was decided and only cannot be found out: an act that has the same
    effect twice can be begun again. `reason` is written to the log and not sent to the caller.
    """

    code = "outcome_unknown"
    message = (
        "The change may or may not have been made; read the current state before you repeat it."
    )

    def __init__(self, reason: str, *, is_settled: bool = False) -> None:
        super().__init__()
        self.reason = reason
        self.is_settled = is_settled
