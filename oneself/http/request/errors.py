"""Refusals of requests that never reach an act.

The tree, below those of `accounts.errors` and `handlers.errors`::

    AccountError
    ├── Malformed
    │   ├── MalformedRequest         malformed_request
    │   ├── MalformedBody            malformed_body
    │   ├── UnexpectedBody           unexpected_body
    │   └── MultipleCredentials      multiple_credentials
    ├── Unauthenticated
    │   └── NotAuthenticated         not_authenticated
    ├── MethodNotAllowed             method_not_allowed
    ├── RequestTimeout               request_timeout
    ├── BodyTooLarge                 body_too_large
    ├── UnsupportedMediaType         unsupported_media_type
    ├── UnknownHost                  unknown_host
    └── Internal                     internal_error
"""

from collections.abc import Sequence

from accounts.errors import AccountError, Unauthenticated
from handlers.errors import Malformed


class MalformedRequest(Malformed):
    """The head of the request is ambiguous or broken; `rule` says how."""

    code = "malformed_request"
    message = "The request is malformed."


class MalformedBody(Malformed):
    """The body is not one JSON text (RFC 8259, I-JSON of RFC 7493); `rule` says how."""

    code = "malformed_body"
    message = "The body is not valid JSON."


class UnexpectedBody(Malformed):
    """The request has a body, and the operation takes none."""

    code = "unexpected_body"
    message = "This operation takes no body."


class MultipleCredentials(Malformed):
    """The request has more than one credential (RFC 6750 section 2)."""

    code = "multiple_credentials"
    message = "Send exactly one credential."


class NotAuthenticated(Unauthenticated):
    """The request has no credential."""

    code = "not_authenticated"
    message = "Authentication is required."


class MethodNotAllowed(AccountError):
    """The path exists, the method does not; `allowed` lists the methods of the path."""

    code = "method_not_allowed"
    message = "The method is not allowed here."

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__()
        self.allowed = tuple(allowed)


class RequestTimeout(AccountError):
    """The body did not arrive in time."""

    code = "request_timeout"
    message = "The body did not arrive in time."


class BodyTooLarge(AccountError):
    """The body has more bytes than the service reads."""

    code = "body_too_large"
    message = "The body is too large."


class UnsupportedMediaType(AccountError):
    """The body has no content type, or one that the operation does not read.

    `example` is a content type that it reads.
    """

    code = "unsupported_media_type"
    message = "The body must be of a content type that is supported here, and not compressed."

    def __init__(self, example: str) -> None:
        super().__init__()
        self.args = (self.message.replace("here,", f"here, such as {example},"),)


class UnknownHost(AccountError):
    """The request is for a host that this service does not serve (RFC 9110 section 15.5.20)."""

    code = "unknown_host"
    message = "This service does not answer for that host."


class Internal(AccountError):
    """An unexpected failure; the caller gets the request id and nothing else."""

    code = "internal_error"
    message = "Something went wrong on our side."
