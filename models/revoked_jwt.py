"""Revoked JWT access tokens."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["RevokedJwt"]


class RevokedJwt(SQLModel, table=True):
    """The `jti` of a revoked JWT, kept until the token has expired."""

    __tablename__ = "revoked_jwt"

    jti: str = Field(primary_key=True, max_length=36)
    expires_at: datetime = instant(index=True)
