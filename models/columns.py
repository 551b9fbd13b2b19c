"""Column types and constraint names that the tables share."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Dialect, TypeDecorator
from sqlmodel import Field, SQLModel

__all__ = ["UtcDateTime", "at_most", "digest", "instant", "optional_instant"]

# Alembic can only alter or drop a constraint that has a name; SQLite gives none by itself.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


_WITHOUT_OFFSET = len("2026-04-05 10:00:00.000000")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, also on SQLite, which would forget the offset (DB-18)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """On SQLite as text, at once: its own way there takes ten times as long."""
        return _as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        """On SQLite from that text, at once as well."""
        if dialect.name == "sqlite":
            return _from_text
        return super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # SQLite has a way of its own
        """Refuse a naive moment, and give the database UTC."""
        return None if value is None else _in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # as above
        """Give back what was stored, which PostgreSQL gives in the time zone of the connection."""
        return None if value is None else value.astimezone(UTC)


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        message = "a moment without an offset cannot be stored"
        raise ValueError(message)
    return value.astimezone(UTC)


def _as_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    utc = value if value.tzinfo is UTC else _in_utc(value)
    return utc.isoformat(" ", "microseconds")[:_WITHOUT_OFFSET]


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def at_most(column: str, length: int) -> CheckConstraint:
    """The limit of a text column as a constraint: SQLite ignores a VARCHAR's length (DB-14)."""
    return CheckConstraint(f"length({column}) <= {length}", name=f"{column}_length")


def instant(*, index: bool = False) -> Any:
    """A required moment."""
    return Field(sa_type=UtcDateTime, nullable=False, index=index)


def optional_instant(*, index: bool = False) -> Any:
    """A moment that may not have come."""
    return Field(default=None, sa_type=UtcDateTime, nullable=True, index=index)


def digest(*, unique: bool = True, primary_key: bool = False) -> Any:
    """The HMAC-SHA-256 of a secret: 32 bytes, by which it is found."""
    return Field(unique=unique, primary_key=primary_key, nullable=False)
