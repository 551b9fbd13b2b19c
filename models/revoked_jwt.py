"""Access tokens that were revoked before their time."""

from datetime import datetime

from sqlmodel import Field, SQLModel

from models.columns import instant

__all__ = ["RevokedJwt"]


class RevokedJwt(SQLModel, table=True):
    """The `jti` of one revoked JWT, kept until the token has expired by itself."""

    __tablename__ = "revoked_jwt"

    jti: str = Field(primary_key=True, max_length=36)
    expires_at: datetime = instant(index=True)
