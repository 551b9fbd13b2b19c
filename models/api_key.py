"""API keys of ipto."""

from datetime import datetime

from sqlalchemy import JSON, CheckConstraint
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_instant

__all__ = ["ApiKey"]


class ApiKey(SQLModel, table=True):
    """One API key of one user, found by its public prefix."""

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint(
            "dataset_access_mode IN ('all_available', 'allow_list')", name="dataset_access_mode"
        ),
        at_most("name", 200),
    )

    id: str = Field(primary_key=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    name: str = Field(max_length=200)
    # Not unique: the prefix only narrows the search, the digest decides (TK-09).
    prefix: str = Field(index=True, max_length=12)
    key_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    scopes: list[str] = Field(sa_type=JSON, nullable=False)
    dataset_access_mode: str = Field(default="all_available", max_length=16)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    last_used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
