"""Refusals as problem details (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import Invalid
from handlers.dialect import Dialect, Refusal, listed_notices

MEDIA_TYPE = "application/problem+json"


def render_problem(refusal: Refusal) -> Mapping[str, Any]:
    """Render a refusal with a stable type, and with its request as the instance."""
    error = refusal.error
    detail = str(error)
    if refusal.violations is not None:
        detail = "; ".join(map(str, refusal.violations))[:2000]
    return {
        "type": f"urn:oneself:problem:{error.code}",
        "title": error.message,
        "status": refusal.status,
        "detail": detail,
        "code": error.code,
        "instance": f"urn:oneself:request:{refusal.meta.request_id}",
        **listed_notices(refusal),
    }


#: Paths that no operation has are refused in it too.
PROBLEM_DETAILS = Dialect({Invalid: 400}, MEDIA_TYPE, render_problem, published=False)
