"""More of what an account and its tenant have, by copies of rows that are there."""

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Table, UniqueConstraint, insert, select

from accounts.values.identifiers import new_uuid
from models import metadata

__all__ = ["multiply"]

_UUID_LENGTH = 36


def multiply(connection: Connection, *, user_id: str, tenant_id: str, times: int) -> None:
    """Give a user and their tenant so many rows more of each kind that one can have several of."""
    for table in metadata.sorted_tables:
        for name, value in (("user_id", user_id), ("tenant_id", tenant_id)):
            column = table.columns.get(name)
            if column is None or column.primary_key:
                continue
            template = connection.execute(select(table).limit(1)).mappings().one()
            own = _own_columns(table)
            rows = [
                {**template, **{each.name: _another(each, template) for each in own}, name: value}
                for _ in range(times)
            ]
            connection.execute(insert(table), rows)


def _own_columns(table: Table) -> list[Column[Any]]:
    """Those in which no two rows are the same."""
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return [*table.primary_key.columns, *(column for each in unique for column in each.columns)]


def _another(column: Column[Any], template: Mapping[str, Any]) -> str | bytes:
    if isinstance(column.type, LargeBinary):
        return secrets.token_bytes(32)
    was: str = template[column.name]
    if len(was) == _UUID_LENGTH:
        return new_uuid()
    prefix, found, _ = was.partition("_")
    return f"{prefix}_{secrets.token_hex(6)}" if found else secrets.token_hex(5)
