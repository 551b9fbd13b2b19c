"""Addresses that accounts claim, and those that they owned before."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_OWNED = "coalesce(verified_email_canonical, first_email_canonical)"
# Present addresses that are not verified become claims, and the account owns the address that was
# verified last or that it was opened with. Not if another account has that address: only old rows
# can be like this, and none can be moved without taking an address away.
_CLAIM = f"""
    UPDATE "user" SET
        claimed_email = email,
        claimed_email_canonical = email_canonical,
        email = coalesce(verified_email, first_email),
        email_canonical = {_OWNED},
        email_verified_at = CASE WHEN verified_email IS NULL THEN NULL ELSE created_at END
    WHERE email_verified_at IS NULL AND {_OWNED} <> email_canonical
        AND NOT EXISTS (
            SELECT 1 FROM "user" AS other WHERE other.id <> "user".id AND (
                other.email_canonical = coalesce(
                    "user".verified_email_canonical, "user".first_email_canonical
                )
                OR coalesce(other.verified_email_canonical, other.first_email_canonical) = coalesce(
                    "user".verified_email_canonical, "user".first_email_canonical
                )
            )
        )
"""  # noqa: S608 # constants of this module

# Addresses with an undo link that is still valid, in the order in which they were notified.
_FORMER = """
    INSERT INTO former_email (user_id, depth, address_canonical, verified_at, replaced_at)
    SELECT
        secret.user_id,
        row_number() OVER (PARTITION BY secret.user_id ORDER BY min(secret.created_at)) - 1,
        secret.address_canonical,
        CASE WHEN owner.first_email_canonical = secret.address_canonical
            THEN NULL ELSE owner.created_at END,
        max(secret.created_at)
    FROM one_time_secret AS secret JOIN "user" AS owner ON owner.id = secret.user_id
    WHERE secret.purpose = 'email_undo' AND secret.used_at IS NULL
        AND secret.superseded_at IS NULL AND secret.expires_at > CURRENT_TIMESTAMP
        AND secret.address_canonical <> owner.email_canonical
    GROUP BY secret.user_id, secret.address_canonical, owner.first_email_canonical, owner.created_at
"""


def upgrade() -> None:
    """Go forward."""
    for name, length in (("claimed_email", 254), ("claimed_email_canonical", 320)):
        limit = sa.CheckConstraint(
            f"length({name}) <= {length}", name=op.f(f"ck_user_{name}_length")
        )
        op.add_column("user", sa.Column(name, sa.String(length=length), limit, nullable=True))
    op.create_index(
        "ix_user_claimed_email_canonical", "user", ["claimed_email_canonical"], unique=False
    )
    op.create_table(
        "former_email",
        sa.Column("user_id", sa.String(length=16), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("address_canonical", sa.String(length=320), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "length(address_canonical) <= 320",
            name=op.f("ck_former_email_address_canonical_length"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_former_email_user_id_user")
        ),
        sa.PrimaryKeyConstraint("user_id", "depth", name=op.f("pk_former_email")),
    )
    op.execute(_CLAIM)
    op.execute(_FORMER)


def downgrade() -> None:
    """Go back."""
    op.execute(
        """UPDATE "user" SET email = claimed_email, email_canonical = claimed_email_canonical,"""
        " email_verified_at = NULL WHERE claimed_email IS NOT NULL AND NOT EXISTS ("
        """SELECT 1 FROM "user" AS other WHERE other.id <> "user".id AND"""
        """ (other.email_canonical = "user".claimed_email_canonical"""
        """ OR other.claimed_email_canonical = "user".claimed_email_canonical))"""
    )
    op.drop_table("former_email")
    op.drop_index("ix_user_claimed_email_canonical", "user")
    for name in ("claimed_email", "claimed_email_canonical"):
        op.drop_column("user", name)
