"""More rows for an account and its tenant, copied from existing rows."""

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Table, UniqueConstraint, insert, select

from accounts.values.identifiers import new_uuid
from models import metadata

__all__ = ["multiply"]

_UUID_LENGTH = 36


def multiply(connection: Connection, *, user_id: str, tenant_id: str, times: int) -> None:
    """Add rows for a user and their tenant to each table that can have several."""
    copies: dict[str, list[dict[str, Any]]] = {}
    for table in metadata.sorted_tables:
        for name, value in (("user_id", user_id), ("tenant_id", tenant_id)):
            column = table.columns.get(name)
            if column is None or column.primary_key:
                continue
            template = connection.execute(select(table).limit(1)).mappings().one()
            unique = _unique_columns(table)
            # A row that is part of another, such as a device of a session, belongs to its copy.
            references = [
                (item, [row[key.column.name] for row in copies[key.column.table.name]])
                for item in table.primary_key.columns
                for key in item.foreign_keys
            ]
            rows = [
                {
                    **template,
                    **{item.name: _new_value(item, template) for item in unique},
                    **{item.name: parents[number] for item, parents in references},
                    name: value,
                }
                for number in range(times)
            ]
            connection.execute(insert(table), rows)
            copies[table.name] = rows


def _unique_columns(table: Table) -> list[Column[Any]]:
    """Return the columns that must be unique."""
    constraints = [item for item in table.constraints if isinstance(item, UniqueConstraint)]
    return [
        *table.primary_key.columns,
        *(column for item in constraints for column in item.columns),
    ]


def _new_value(column: Column[Any], template: Mapping[str, Any]) -> str | bytes:
    if isinstance(column.type, LargeBinary):
        return secrets.token_bytes(32)
    value: str = template[column.name]
    if len(value) == _UUID_LENGTH:
        return new_uuid()
    prefix, separator, _ = value.partition("_")
    return f"{prefix}_{secrets.token_hex(6)}" if separator else secrets.token_hex(5)
