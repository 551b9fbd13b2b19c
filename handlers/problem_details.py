"""Refusals as problem details (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

from accounts.errors import Invalid
from handlers.dialect import Dialect, Refusal, listed_notices

MEDIA_TYPE = "application/problem+json"
#: The page of the service that explains all codes, each below its own anchor.
CATALOGUE_PATH = "/errors"


def render_problem(refusal: Refusal) -> Mapping[str, Any]:
    """Render a refusal with its entry in the error catalogue, and with its request as instance."""
    error = refusal.error
    detail = str(error)
    if refusal.violations is not None:
        detail = "; ".join(map(str, refusal.violations))[:2000]
    return {
        "type": f"{refusal.meta.issuer}{CATALOGUE_PATH}#{error.code}",
        "title": error.message,
        "status": refusal.status,
        "detail": detail,
        "code": error.code,
        "instance": f"urn:oneself:request:{refusal.meta.request_id}",
        **listed_notices(refusal),
    }


#: Paths that no operation has are refused in it too.
PROBLEM_DETAILS = Dialect({Invalid: 400}, MEDIA_TYPE, render_problem, published=False)
