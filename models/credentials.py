"""Credentials of users: sessions, tokens and keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint
from sqlmodel import Field, SQLModel

from models.columns import at_most, digest, instant, optional_index, optional_instant

#: The longest list of authentication methods, separated by spaces.
_AMR_LENGTH = 100


class LoginSession(SQLModel, table=True):
    """A session of a user; not called Session, which is SQLAlchemy's word."""

    __tablename__ = "login_session"
    __table_args__ = (optional_index("login_session", "revoked_at"), *at_most(200, "user_agent"))

    id: str = Field(primary_key=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    token_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    user_agent: str | None = Field(default=None, max_length=200)
    created_at: datetime = instant()
    expires_at: datetime = instant(index=True)
    last_used_at: datetime | None = optional_instant()
    # When and how the user last authenticated. Absent from rows of earlier releases: at the login,
    # by password.
    authenticated_at: datetime | None = optional_instant()
    amr: str | None = Field(default=None, max_length=_AMR_LENGTH)
    # Of the user and the source that it was last used from, as in the rate limits.
    source_digest: bytes | None = Field(default=None, index=True)
    revoked_at: datetime | None = optional_instant()


class Device(SQLModel, table=True):
    """The device that a session belongs to, as an application describes it.

    The row ends with its session, which is the device's only access. `client_id` is the device's
    own, and of the live sessions of a user one at most has it.
    """

    __table_args__ = (*at_most(64, "client_id"), *at_most(200, "name", "os", "app_version"))

    session_id: str = Field(
        primary_key=True, foreign_key="login_session.id", ondelete="CASCADE", max_length=16
    )
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    client_id: str = Field(max_length=64)
    name: str = Field(max_length=200)
    os: str = Field(max_length=200)
    app_version: str = Field(max_length=200)
    details: dict[str, Any] = Field(sa_type=JSON, nullable=False)


class AccessToken(SQLModel, table=True):
    """A user's access token: sealed to be shown, and a digest to find it by without unsealing."""

    __tablename__ = "access_token"

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    token_digest: bytes = digest()
    token_sealed: bytes
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()


class ApiKey(SQLModel, table=True):
    """One API key of one user, found by its public prefix."""

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint(
            "dataset_access_mode IN ('all_available', 'allow_list')", name="dataset_access_mode"
        ),
        optional_index("api_key", "revoked_at"),
        *at_most(200, "name"),
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
    expires_at: datetime = instant(index=True)
    last_used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
    # How many days before the expiry its owner was last told of it; absent before the first mail.
    expiry_notice_days: int | None = Field(default=None)


class PersonalAccessToken(SQLModel, table=True):
    """A personal access token of a user, created with a client."""

    __tablename__ = "personal_access_token"
    __table_args__ = (optional_index("personal_access_token", "revoked_at"), *at_most(200, "name"))

    id: str = Field(primary_key=True, max_length=36)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    client_id: str = Field(foreign_key="client.id", index=True, max_length=16)
    name: str = Field(max_length=200)
    token_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    scopes: list[str] = Field(sa_type=JSON, nullable=False)
    created_at: datetime = instant()
    expires_at: datetime = instant(index=True)
    last_used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
    # Tokens that replaced each other have the id of the first one; absent from a first one.
    family_id: str | None = Field(default=None, index=True, max_length=36)
    # When another token replaced this one, whose expiry is then the end of the grace.
    rotated_at: datetime | None = optional_instant()
    # How many days before the expiry its owner was last told of it; absent before the first mail.
    expiry_notice_days: int | None = Field(default=None)


class RefreshToken(SQLModel, table=True):
    """A refresh token: good for one exchange, which issues the next token of its family.

    A used row is kept with its family, so that reuse can be distinguished from a wrong token
    (RFC 9700 section 4.14.2). The family ends with the session that it was exchanged for.
    """

    __tablename__ = "refresh_token"
    __table_args__ = (optional_index("refresh_token", "revoked_at"), *at_most(2048, "audience"))

    id: str = Field(primary_key=True, max_length=16)
    family_id: str = Field(index=True, max_length=16)
    session_id: str = Field(foreign_key="login_session.id", index=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    client_id: str = Field(foreign_key="client.id", index=True, max_length=16)
    scopes: list[str] = Field(sa_type=JSON, nullable=False)
    audience: str = Field(max_length=2048)
    token_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    expires_at: datetime = instant(index=True)
    used_at: datetime | None = optional_instant()
    revoked_at: datetime | None = optional_instant()
    # The session's when the family began, equal in all of its JWTs (RFC 9068 section 2.2.1).
    authenticated_at: datetime | None = optional_instant()
    amr: str | None = Field(default=None, max_length=_AMR_LENGTH)


class RevokedJwt(SQLModel, table=True):
    """The `jti` of a revoked JWT, kept until the token has expired."""

    __tablename__ = "revoked_jwt"

    jti: str = Field(primary_key=True, max_length=36)
    expires_at: datetime = instant(index=True)
