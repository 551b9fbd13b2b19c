"""Logs changes of readiness.

An orchestrator probes every few seconds. The log has one line with the reason when readiness is
lost and one when it is back, not one for each probe.
"""

import logging
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import AccountError, Unavailable
from oneself.http.guard import RequestContext

_log = logging.getLogger("oneself.http.readiness")

_BUSY = "too many others are using the database"


class ReadinessLog:
    """Wraps the readiness operation and compares each answer with the one before.

    Each worker has one, which runs in the worker's event loop only.
    """

    def __init__(self, operation: ASGIApp) -> None:
        """Start as ready: the service has checked its database before it serves."""
        self._operation = operation
        self._reason: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and log a change of readiness."""
        request_context: RequestContext = scope["oneself.request_context"]
        try:
            await self._operation(scope, receive, send)
        except Exception as error:
            reason = _reason_of(error)
            if reason is not None:
                self._note(reason)
            raise
        if request_context.status == HTTPStatus.OK:
            self._note(None)
        elif request_context.status == HTTPStatus.SERVICE_UNAVAILABLE:
            self._note(request_context.reason or _BUSY)

    def _note(self, reason: str | None) -> None:
        if reason == self._reason:
            return
        self._reason = reason
        if reason is None:
            _log.info("ready again")
        else:
            _log.warning("not ready: %s", reason)


def _reason_of(error: Exception) -> str | None:
    """Return the reason to log for a failure; None for a refused request."""
    if isinstance(error, Unavailable):
        return error.reason or _BUSY
    if isinstance(error, AccountError):
        return None
    if isinstance(error, DBAPIError):
        # The driver's message only: SQLAlchemy's contains the statement and its values.
        return f"the database answers: {' '.join(str(error.orig).split())}"
    return f"{type(error).__name__}, of which there is a traceback in the log"
