"""Maps exceptions to refusals, and refusals to their status and headers."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from accounts import errors
from accounts.errors import AccountError, Unavailable
from handlers.dialect import Dialect
from handlers.errors import Malformed, PreconditionFailed
from oneself.database import is_database_unavailable
from oneself.http.request import errors as request_errors
from oneself.http.request.errors import Internal

_log = logging.getLogger("oneself.http.response.error_handler")

_Entry = TypeVar("_Entry")
_UNAUTHORIZED = 401

#: By kind, where the dialect has no status of its own; the nearest ancestor in the table counts.
_STATUSES: Mapping[type[AccountError], int] = {
    Malformed: 400,
    errors.Rejected: 400,
    errors.Unauthenticated: _UNAUTHORIZED,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    request_errors.MethodNotAllowed: 405,
    request_errors.RequestTimeout: 408,
    errors.Conflict: 409,
    PreconditionFailed: 412,
    request_errors.BodyTooLarge: 413,
    request_errors.UnsupportedMediaType: 415,
    request_errors.UnknownHost: 421,
    errors.TooManyAttempts: 429,
    request_errors.Internal: 500,
    errors.Unavailable: 503,
    errors.OutcomeUnknown: 504,
}


def refusal_of(error: Exception) -> AccountError:
    """Return the refusal that answers an exception.

    Any exception but a refusal is logged with its traceback, and the caller learns nothing of it.
    """
    if isinstance(error, AccountError):
        return error
    if is_database_unavailable(error):
        # Locked by another writer, full, read-only or gone: it may be better in a second (DB-05).
        _log.warning("the database does not answer", exc_info=error)
        return Unavailable()
    _log.error("unforeseen", exc_info=error)
    return Internal()


def status_of(refusal: AccountError, dialect: Dialect) -> int:
    """Return the status of a refusal in a dialect.

    Raises:
        TypeError: Its class has no ancestor in the table.
    """
    status = _nearest(refusal, dialect.statuses, _STATUSES)
    if status is None:
        raise TypeError(f"{type(refusal).__name__} is of no kind that has a status")
    return status


def headers_of_refusal(
    refusal: AccountError, dialect: Dialect, *, bearer_was_sent: bool, issuer: str
) -> dict[str, str]:
    """Return the headers of a refusal in a dialect; `issuer` is the public URL."""
    headers_of = _nearest(refusal, _HEADERS)
    if headers_of is None:
        return {}
    return headers_of(_Refused(refusal, status_of(refusal, dialect), bearer_was_sent, issuer))


def _nearest(refusal: AccountError, *tables: Mapping[type[AccountError], _Entry]) -> _Entry | None:
    """Return the entry of the refusal's class or of its nearest ancestor; the first table first."""
    kinds = type(refusal).__mro__
    return next((table[kind] for kind in kinds for table in tables if kind in table), None)


class _Refused(NamedTuple):
    refusal: Any
    status: int
    bearer_was_sent: bool
    issuer: str


def _challenge(refused: _Refused) -> dict[str, str]:
    # With an error only if a token was sent (RFC 6750 section 3.1).
    return _bearer(refused, 'error="invalid_token", ' if refused.bearer_was_sent else "")


def _challenge_age(refused: _Refused) -> dict[str, str]:
    refusal = refused.refusal
    demand = f'max_age="{refusal.max_age}", acr_values="{refusal.acr}"'  # RFC 9470 section 3
    return _bearer(refused, f'error="insufficient_user_authentication", {demand}, ')


def _bearer(refused: _Refused, error: str) -> dict[str, str]:
    # Clients find the authorization server by this URL (RFC 9728 section 5.1).
    metadata = f'resource_metadata="{refused.issuer}/.well-known/oauth-protected-resource"'
    return {"WWW-Authenticate": f'Bearer realm="oneself", {error}{metadata}'}


def _challenge_client(refused: _Refused) -> dict[str, str]:
    # RFC 6749 section 5.2. With another status the client is not the caller, but named in the body.
    is_caller = refused.status == _UNAUTHORIZED
    return {"WWW-Authenticate": 'Basic realm="oneself"'} if is_caller else {}


def _challenge_scope(refused: _Refused) -> dict[str, str]:
    return _bearer(refused, f'error="insufficient_scope", scope="{refused.refusal.scope}", ')


def _allow(refused: _Refused) -> dict[str, str]:
    return {"Allow": ", ".join(refused.refusal.allowed)}


def _rate_limit(refused: _Refused) -> dict[str, str]:
    refusal = refused.refusal
    name, wait = f'"{refusal.policy}"', refusal.retry_after
    return {
        "Retry-After": str(wait),
        # draft-ietf-httpapi-ratelimit-headers-11
        "RateLimit-Policy": f"{name};q={refusal.quota};w={refusal.window}",
        "RateLimit": f"{name};r=0;t={wait}",
    }


def _retry_after(refused: _Refused) -> dict[str, str]:
    return {"Retry-After": str(refused.refusal.retry_after)}


def _close(_refused: _Refused) -> dict[str, str]:
    # The body was not read to its end, so no further request can be read from the connection.
    return {"Connection": "close"}


#: By kind, as the statuses; the other kinds add no header.
_HEADERS: Mapping[type[AccountError], Callable[[_Refused], dict[str, str]]] = {
    errors.InvalidClient: _challenge_client,
    errors.Unauthenticated: _challenge,
    errors.RecentAuthenticationRequired: _challenge_age,
    errors.InsufficientScope: _challenge_scope,
    request_errors.MethodNotAllowed: _allow,
    errors.TooManyAttempts: _rate_limit,
    errors.Unavailable: _retry_after,
    request_errors.MalformedRequest: _close,
    request_errors.RequestTimeout: _close,
    request_errors.BodyTooLarge: _close,
}
