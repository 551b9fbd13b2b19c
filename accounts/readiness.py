"""Whether the database has the tables that this version works with."""

from sqlalchemy import text

from accounts.database import AccountSession
from accounts.errors import Unavailable
from models.schema import REVISION

__all__ = ["require_ready"]

_PRESENT = text("SELECT version_num FROM alembic_version")


def require_ready(session: AccountSession) -> None:
    """Let a ready database pass.

    Raises:
        Unavailable: Its tables are of another version.
        sqlalchemy.exc.OperationalError: It does not answer, or has no tables at all.
    """
    if session.core.execute(_PRESENT).scalar() != REVISION:
        raise Unavailable(retry_after=5)
