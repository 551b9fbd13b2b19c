"""Access log: one line per request."""

import logging
from datetime import UTC, datetime

from oneself.document import METHODS
from oneself.http.guard import RequestContext
from oneself.logging import write_line

_log = logging.getLogger("oneself.requests")
#: Other methods are text chosen by the client, and are not logged.
_METHODS = frozenset(method.upper() for method in METHODS)


def log_request(method: str, request_context: RequestContext, seconds: float) -> None:
    """Log a finished request, without its path: a secret may have been pasted into it.

    A refused attempt at a password or a client secret has the client address and a digest of the
    account as well; no other line names either. A request that the service could not answer has
    the reason, in our own words.
    """
    if not _log.isEnabledFor(logging.INFO):
        return
    parent, attempt = request_context.parent, request_context.attempt
    write_line(
        datetime.now(UTC),
        _log.name,
        "request",
        {
            "request_id": request_context.request_id,
            "trace_id": None if parent is None else parent.trace_id,
            "method": method if method in _METHODS else None,
            "operation": request_context.operation_id,
            "status": request_context.status,
            "code": request_context.code,
            "credential": request_context.credential_kind,
            "milliseconds": round(seconds * 1000, 3),
            **({} if request_context.reason is None else {"reason": request_context.reason}),
            **({} if attempt is None else attempt._asdict()),
        },
    )
