"""The line that each request leaves in the log."""

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from oneself.document import METHODS
from oneself.logging import write_line

if TYPE_CHECKING:
    from oneself.http.guard import Passage

__all__ = ["note_request"]

_log = logging.getLogger("oneself.requests")
#: Any other is the caller's own word, and not for the log.
_METHODS = frozenset(method.upper() for method in METHODS)


def note_request(method: str, passage: "Passage", seconds: float) -> None:
    """Write down a request that is over. No path: somebody may have pasted a secret into it."""
    if not _log.isEnabledFor(logging.INFO):
        return
    parent = passage.parent
    write_line(
        datetime.now(UTC),
        _log.name,
        "request",
        {
            "request_id": passage.request_id,
            "trace_id": None if parent is None else parent.trace_id,
            "method": method if method in _METHODS else None,
            "operation": passage.operation_id,
            "status": passage.status,
            "code": passage.code,
            "credential": passage.credential_kind,
            "milliseconds": round(seconds * 1000, 3),
        },
    )
