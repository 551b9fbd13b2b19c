"""The format of this service: CSV, or one JSON object in each line, with the same names."""

import csv
import json
from collections.abc import Iterator, Mapping
from typing import Any

from oneself.commands.administration.user_files.row import (
    BOOLEANS,
    MalformedFile,
    Row,
    load_objects,
    make_row,
    parse_time,
)
from oneself.commands.administration.user_files.tables import read_csv

_REQUIRED = ("email", "name")
_TEXTS = (
    *("password_hash", "first_name", "last_name", "phone", "locale", "username"),
    "external_id",
)
COLUMNS = (*_REQUIRED, *_TEXTS, "email_verified", "roles", "enabled", "created_at")


def read_lines(content: str) -> Iterator[Row]:
    """Yield the users of a CSV file."""
    header = next(iter(content.splitlines()), "")
    _check_columns(next(csv.reader([header]), []))
    for place, row in read_csv(content):
        yield _make(place, {**row, "roles": row.get("roles", "").split()})


def read_objects(content: str) -> Iterator[Row]:
    """Yield the users of a file with one JSON object in each line."""
    for place, each in load_objects(content):
        if unknown := sorted(set(each) - set(COLUMNS)):
            raise MalformedFile(f", {place}: unknown names: {', '.join(unknown)}.")
        yield _make(place, each)


def write(users: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one JSON object for each user, without the values that it has not."""
    for user in users:
        yield json.dumps(
            {name: user[name] for name in COLUMNS if user.get(name) is not None}, ensure_ascii=False
        )


def _check_columns(columns: list[str]) -> None:
    if missing := [name for name in _REQUIRED if name not in columns]:
        raise MalformedFile(f" has no column {' and no '.join(missing)}. Add it.")
    if unknown := sorted(set(columns) - set(COLUMNS)):
        raise MalformedFile(
            f" has unknown columns: {', '.join(unknown)}. Use only: {', '.join(sorted(COLUMNS))}."
        )


def _make(place: str, values: Mapping[str, Any]) -> Row:
    verified = _boolean(place, values, "email_verified", absent="")
    enabled = _boolean(place, values, "enabled", absent="true")
    created_at = values.get("created_at") or ""
    if created_at and parse_time(created_at) is None:
        raise MalformedFile(f", {place}: created_at must be a time in ISO 8601.")
    return make_row(
        place,
        email=values.get("email"),
        name=values.get("name"),
        is_verified=verified,
        is_enabled=enabled,
        created_at=parse_time(created_at),
        roles=tuple(values.get("roles") or ("member",)),
        **{name: values.get(name) for name in _TEXTS},
    )


def _boolean(place: str, values: Mapping[str, Any], name: str, *, absent: str) -> bool:
    text = values.get(name)
    value = BOOLEANS.get(str(absent if text is None else text).strip().lower() or absent)
    if value is None:
        raise MalformedFile(f", {place}: {name} must be true or false.")
    return value
