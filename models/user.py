"""User accounts, with their password hashes, pictures and settings."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint
from sqlmodel import Field, SQLModel

from models.columns import at_most, instant, optional_instant


class User(SQLModel, table=True):
    """A user in a tenant, with the ids of all dialects.

    `email` is the address as entered, to which mail is sent; `email_canonical` is derived from it
    in Python, since neither database folds Unicode, and is unique over all tenants (UN-01).
    `provider` says where the password is kept: `local`, or an identity provider. `verified_email`
    is the last verified address, which a new one replaces only once it is verified. `first_email`
    is the address of signup, until it is verified. Every JWT carries `credential_epoch`; raising it
    revokes them all.
    """

    __table_args__ = (
        CheckConstraint("provider IN ('local', 'oidc', 'saml')", name="provider"),
        *at_most(254, "email", "verified_email", "first_email"),
        *at_most(320, "email_canonical", "verified_email_canonical", "first_email_canonical"),
        *at_most(64, "username", "timezone"),
        *at_most(200, "first_name", "last_name", "display_name"),
        *at_most(32, "phone"),
        *at_most(2048, "picture"),
        *at_most(35, "locale"),
    )

    id: str = Field(primary_key=True, max_length=16)
    uuid: str = Field(unique=True, max_length=36)
    external_id: str = Field(unique=True, max_length=10)
    tenant_id: str = Field(foreign_key="tenant.id", index=True, max_length=16)

    email: str = Field(max_length=254)
    email_canonical: str = Field(unique=True, max_length=320)
    email_verified_at: datetime | None = optional_instant()
    verified_email: str | None = Field(default=None, max_length=254)
    # Not unique: it is mostly the same as the current address.
    verified_email_canonical: str | None = Field(default=None, index=True, max_length=320)
    first_email: str | None = Field(default=None, max_length=254)
    first_email_canonical: str | None = Field(default=None, index=True, max_length=320)

    username: str = Field(unique=True, max_length=64)
    first_name: str | None = Field(default=None, max_length=200)
    last_name: str | None = Field(default=None, max_length=200)
    display_name: str | None = Field(default=None, max_length=200)
    phone: str | None = Field(default=None, max_length=32)
    picture: str | None = Field(default=None, max_length=2048)
    locale: str | None = Field(default=None, max_length=35)
    timezone: str | None = Field(default=None, max_length=64)

    provider: str = Field(default="local", max_length=8)
    roles: list[str] = Field(sa_type=JSON, nullable=False)
    is_platform_admin: bool = Field(default=False)
    credential_epoch: int = Field(default=0)

    created_at: datetime = instant()
    disabled_at: datetime | None = optional_instant()


class PasswordRecord(SQLModel, table=True):
    """The hash of a user's password, with its scheme and the id of its pepper."""

    __tablename__ = "password_record"

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    record: str = Field(max_length=200)
    changed_at: datetime = instant()


class Picture(SQLModel, table=True):
    """A user's re-encoded picture, stored in a row so that one statement replaces it.

    `media_type` is that of `content`; `tag` is a digest of `content` and the strong ETag.
    """

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    media_type: str = Field(max_length=32)
    content: bytes
    tag: str = Field(max_length=64)
    changed_at: datetime = instant()


class UserSettings(SQLModel, table=True):
    """A user's settings, a JSON object defined by the applications; no row is an empty object."""

    __tablename__ = "user_settings"

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    document: dict[str, Any] = Field(sa_type=JSON, nullable=False)
    changed_at: datetime = instant()
