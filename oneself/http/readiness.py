"""What the log is told of readiness: once why there is none, and once that it is there again.

An orchestrator asks every few seconds, and whoever is sent to the log by it has to find the reason
there, and not a line for each time that it asked.
"""

import logging
from http import HTTPStatus

from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import AccountError, Unavailable
from oneself.http.guard import RequestContext

__all__ = ["ReadinessLog"]

_log = logging.getLogger("oneself.http.readiness")

_BUSY = "too many others are using the database"


class ReadinessLog:
    """The operation that tells readiness, whose answers it compares with the one before.

    Each worker has its own, and each is asked from its event loop alone.
    """

    def __init__(self, operation: ASGIApp) -> None:
        """A service that starts is taken to be ready: at its start it has looked for itself."""
        self._operation = operation
        self._reason: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and tell the log if it is another answer than before."""
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
    """Why a failure is no readiness; None for one of who asks, which says nothing about it."""
    if isinstance(error, Unavailable):
        return error.reason or _BUSY
    if isinstance(error, AccountError):
        return None
    if isinstance(error, DBAPIError):
        # The driver's words alone: SQLAlchemy's have the statement and its values as well.
        return f"the database answers: {' '.join(str(error.orig).split())}"
    return f"{type(error).__name__}, of which there is a traceback in the log"
