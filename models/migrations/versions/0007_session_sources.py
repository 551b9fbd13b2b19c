"""The source that a session was last used from, for rate limits."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.add_column("login_session", sa.Column("source_digest", sa.LargeBinary(), nullable=True))
    op.create_index(
        "ix_login_session_source_digest", "login_session", ["source_digest"], unique=False
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_login_session_source_digest", "login_session")
    op.drop_column("login_session", "source_digest")
