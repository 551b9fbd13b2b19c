"""Readiness of this process and its database."""

from sqlalchemy import text

from accounts.errors import Unavailable
from accounts.services.database import AccountSession
from accounts.services.root_keys import find_unknown_roots
from models.schema import REVISION

_PRESENT = text("SELECT version_num FROM alembic_version")


def require_ready(
    session: AccountSession, *, leaving: bool = False, unready_reason: str | None = None
) -> None:
    """Check that the process is not `leaving`, and that it can work with the database.

    Raises:
        Unavailable: The process is shutting down, no change can be stored for `unready_reason`, the
            tables are of another version, or rows are stored under a root secret that this process
            does not have, as after a rotation on other replicas (TK-07). The reason is for the log.
        sqlalchemy.exc.OperationalError: The database does not respond, or has no tables.
    """
    leaving_reason = "this process is about to end" if leaving else None
    reason = leaving_reason or unready_reason or _problem(session)
    if reason is not None:
        raise Unavailable(retry_after=5, reason=reason)


def _problem(session: AccountSession) -> str | None:
    present = session.core.execute(_PRESENT).scalar()
    if present != REVISION:
        return f"the tables are of revision {present}, and this version works with {REVISION}"
    if unknown := find_unknown_roots(session):
        return f"rows are stored under {', '.join(unknown)}, a root secret that is not known here"
    return None
