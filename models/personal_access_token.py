"""Personal access tokens of Hantera."""

from datetime import datetime

from sqlalchemy import JSON
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_instant

__all__ = ["PersonalAccessToken"]


class PersonalAccessToken(SQLModel, table=True):
    """A personal access token of a user, created with a client."""

    __tablename__ = "personal_access_token"
    __table_args__ = (at_most("name", 200),)

    id: str = Field(primary_key=True, max_length=36)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    client_id: str = Field(foreign_key="client.id", index=True, max_length=16)
    name: str = Field(max_length=200)
    token_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    scopes: list[str] = Field(sa_type=JSON, nullable=False)
    created_at: datetime = instant()
    expires_at: datetime = instant()
    last_used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
