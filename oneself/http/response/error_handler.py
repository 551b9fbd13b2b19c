"""From any exception to one refusal, and from a refusal to its status and headers."""

import logging
from collections.abc import Mapping

from accounts import errors
from accounts.errors import AccountError, Internal, Unavailable
from handlers.dialect import Dialect
from oneself.database import does_not_answer
from oneself.http.request.credentials import challenge, client_challenge

__all__ = ["headers_of_refusal", "refusal_of", "status_of"]

_log = logging.getLogger("oneself.http.response.error_handler")

#: The status of each kind, where the dialect has none of its own; of two that fit, the nearest.
_STATUS: Mapping[type[AccountError], int] = {
    errors.Malformed: 400,
    errors.Rejected: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.UnknownHost: 421,
    errors.TooManyAttempts: 429,
    errors.Internal: 500,
    errors.Unavailable: 503,
}

#: After these the body is not read to its end, so nothing that follows could be understood.
_LEAVES_THE_BODY = (errors.MalformedRequest, errors.RequestTimeout, errors.BodyTooLarge)


def refusal_of(error: Exception) -> AccountError:
    """The refusal that an exception comes out as.

    What is not a refusal already is logged here with its traceback, and nothing of it goes out.
    """
    if isinstance(error, AccountError):
        return error
    if does_not_answer(error):
        # Locked by another writer, full, read-only or gone: it may be better in a second (DB-05).
        _log.warning("the database does not answer", exc_info=error)
        return Unavailable()
    _log.error("unforeseen", exc_info=error)
    return Internal()


def status_of(refusal: AccountError, dialect: Dialect) -> int:
    """The status of a refusal in a dialect."""
    for kind in type(refusal).__mro__:
        if kind in dialect.statuses:
            return dialect.statuses[kind]
        if kind in _STATUS:
            return _STATUS[kind]
    message = f"{type(refusal).__name__} is of no kind that has a status"
    raise TypeError(message)


def headers_of_refusal(  # noqa: PLR0911 # one kind after the other
    refusal: AccountError, dialect: Dialect, *, bearer_was_sent: bool
) -> dict[str, str]:
    """The headers that a refusal brings along."""
    if isinstance(refusal, errors.InvalidClient) and errors.InvalidClient in dialect.statuses:
        return {"WWW-Authenticate": client_challenge()}
    if isinstance(refusal, errors.Unauthenticated):
        return {"WWW-Authenticate": challenge(bearer_was_sent=bearer_was_sent)}
    if isinstance(refusal, errors.InsufficientScope):
        scope = f'error="insufficient_scope", scope="{refusal.scope}"'
        return {"WWW-Authenticate": f'Bearer realm="oneself", {scope}'}
    if isinstance(refusal, errors.MethodNotAllowed):
        return {"Allow": ", ".join(refusal.allowed)}
    if isinstance(refusal, errors.TooManyAttempts):
        name, wait = f'"{refusal.policy}"', refusal.retry_after
        return {
            "Retry-After": str(wait),
            # draft-ietf-httpapi-ratelimit-headers-11
            "RateLimit-Policy": f"{name};q={refusal.quota};w={refusal.window}",
            "RateLimit": f"{name};r=0;t={wait}",
        }
    if isinstance(refusal, Unavailable):
        return {"Retry-After": str(refusal.retry_after)}
    if isinstance(refusal, _LEAVES_THE_BODY):
        return {"Connection": "close"}
    return {}
