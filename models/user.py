"""User accounts, with their password hashes, pictures and settings."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint
from sqlmodel import Field, SQLModel

from models.columns import at_most, instant, optional_index, optional_instant


class User(SQLModel, table=True):
    """A user in a tenant, with the ids of all dialects.

    `email` is the address that the account owns, as entered: the one that was verified last or,
    before that, the one of signup. Users log in with it, and password resets go there.
    `email_canonical` is derived from it in Python, since neither database folds Unicode, and is
    unique over all tenants (UN-01). `email_verified_at` is the time since when it is verified.
    `claimed_email` is an unverified address that the account shows in its place; any number of
    accounts may claim the same one (ADR 32). `provider` says where the password is kept: `local`,
    or an identity provider. Every JWT carries `credential_epoch`; raising it revokes them all.

    `deletion_due_at` is the time at which a deleted account is erased; until then it can be
    restored.

    `verified_email` and `first_email` are written for replicas of earlier releases, and not read.
    """

    __table_args__ = (
        optional_index("user", "deletion_due_at"),
        CheckConstraint("provider IN ('local', 'oidc', 'saml')", name="provider"),
        *at_most(254, "email", "claimed_email", "verified_email", "first_email"),
        *at_most(320, "email_canonical", "claimed_email_canonical"),
        *at_most(320, "verified_email_canonical", "first_email_canonical"),
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
    claimed_email: str | None = Field(default=None, max_length=254)
    claimed_email_canonical: str | None = Field(default=None, index=True, max_length=320)
    verified_email: str | None = Field(default=None, max_length=254)
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
    deletion_due_at: datetime | None = optional_instant()


class FormerEmail(SQLModel, table=True):
    """An address that an account owned before its present one.

    The rows of an account are a stack: `depth` 0 is the address that it owned first. They never
    expire, so that it stays known which address had the account before another (ADR 32).
    `verified_at` is the time since when the address was verified, null if it never was.
    """

    __tablename__ = "former_email"
    __table_args__ = at_most(320, "address_canonical")

    user_id: str = Field(primary_key=True, foreign_key="user.id", max_length=16)
    depth: int = Field(primary_key=True)
    address_canonical: str = Field(max_length=320)
    verified_at: datetime | None = optional_instant()
    replaced_at: datetime = instant()


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
