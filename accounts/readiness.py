"""Whether the database is one that this process can work with."""

from sqlalchemy import text

from accounts.database import AccountSession
from accounts.errors import Unavailable
from accounts.rekeying import unknown_roots
from models.schema import REVISION

__all__ = ["require_ready"]

_PRESENT = text("SELECT version_num FROM alembic_version")


def require_ready(session: AccountSession) -> None:
    """Let a ready database pass.

    Raises:
        Unavailable: Its tables are of another version, or rows in it are stored under a root secret
            that this process does not know, as after a rotation that others were told of (TK-07).
        sqlalchemy.exc.OperationalError: It does not answer, or has no tables at all.
    """
    if session.core.execute(_PRESENT).scalar() != REVISION or unknown_roots(session):
        raise Unavailable(retry_after=5)
