"""Shared column types and constraint names."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Dialect, Index, TypeDecorator, text
from sqlmodel import Field, SQLModel

# Alembic can only alter or drop a named constraint, and SQLite does not name them.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


_WITHOUT_OFFSET = len("2026-04-05 10:00:00.000000")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC, also on SQLite, which does not store the offset (DB-18)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Write text directly on SQLite: SQLAlchemy's own conversion takes ten times as long."""
        return _as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[Any], datetime | None] | None:
        """Read that text directly on SQLite, for the same reason."""
        if dialect.name == "sqlite":
            return _from_text
        return super().result_processor(dialect, coltype)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # SQLite does not use it
        """Reject a naive time, and convert an aware one to UTC."""
        return None if value is None else _in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 # as above
        """Convert to UTC: PostgreSQL answers in the time zone of the connection."""
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


def at_most(length: int, *columns: str) -> tuple[CheckConstraint, ...]:
    """Return constraints on texts' lengths: SQLite ignores the length of a VARCHAR (DB-14)."""
    return tuple(
        CheckConstraint(f"length({column}) <= {length}", name=f"{column}_length")
        for column in columns
    )


def instant(*, index: bool = False) -> Any:
    """Return a required time column."""
    return Field(sa_type=UtcDateTime, nullable=False, index=index)


def optional_instant(*, index: bool = False) -> Any:
    """Return an optional time column."""
    return Field(default=None, sa_type=UtcDateTime, nullable=True, index=index)


def optional_index(table: str, column: str) -> Index:
    """Return an index of the rows in which an optional column is set."""
    is_set = text(f"{column} IS NOT NULL")
    return Index(f"ix_{table}_{column}", column, sqlite_where=is_set, postgresql_where=is_set)


def digest() -> Any:
    """Return a column for the HMAC-SHA-256 of a secret: 32 bytes, by which the secret is found."""
    return Field(unique=True, nullable=False)
