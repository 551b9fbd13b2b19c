"""Whether this process stays, and the database is one that it can work with."""

from sqlalchemy import text

from accounts.database import AccountSession
from accounts.errors import Unavailable
from accounts.root_keys import unknown_roots
from models.schema import REVISION

__all__ = ["require_ready"]

_PRESENT = text("SELECT version_num FROM alembic_version")


def require_ready(session: AccountSession, *, leaving: bool = False) -> None:
    """Let a ready database pass, for a process that is not `leaving`.

    Raises:
        Unavailable: It is; or the tables are of another version, or rows are stored under a root
            secret that this process does not know, as after a rotation that others were told of
            (TK-07).
        sqlalchemy.exc.OperationalError: It does not answer, or has no tables at all.
    """
    if leaving or session.core.execute(_PRESENT).scalar() != REVISION or unknown_roots(session):
        raise Unavailable(retry_after=5)
