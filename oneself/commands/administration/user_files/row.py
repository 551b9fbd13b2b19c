"""One entry of an export: a user, or the reason why it will not come."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from accounts.flows.administration.user_imports import ImportedUser

#: Booleans as databases and programs write them.
BOOLEANS: Mapping[str, bool] = {
    **dict.fromkeys(("", "false", "f", "0", "no", "null"), False),
    **dict.fromkeys(("true", "t", "1", "yes"), True),
}
#: Numbers from here on are milliseconds: as seconds they would be in the year 5138.
_MILLISECONDS = 100_000_000_000
_TEXTS = (
    *("email", "name", "password_hash", "first_name", "last_name", "phone", "locale", "username"),
    "external_id",
)


class Row(NamedTuple):
    """An entry at a place such as `line 3`, with a user or with the reason that there is none."""

    place: str
    user: ImportedUser | None
    reason: str = ""


class MalformedFile(Exception):
    """The file is not of its format; the message continues the name of the file."""


def make_row(place: str, **values: Any) -> Row:
    """Return a row from the values that an export has; the name may be absent.

    Empty texts count as absent, and white space around values is removed. A user name that is an
    address counts as absent too: many systems have no others.
    """
    for name in _TEXTS:
        value = values.get(name)
        if value is not None and not isinstance(value, str):
            return Row(place, None, f"{name} must be a text")
        values[name] = (value or "").strip() or None
    if values["email"] is None:
        return Row(place, None, "it has no email address")
    if "@" in (values["username"] or ""):
        values["username"] = None
    full = " ".join(filter(None, (values["first_name"], values["last_name"])))
    values["name"] = (
        values["name"] or full or values["username"] or values["email"].partition("@")[0]
    )
    return Row(place, ImportedUser(**values))


def parse_time(value: object) -> datetime | None:
    """Return a time from ISO 8601, seconds or milliseconds; None if there is none."""
    text = str(value if value is not None else "").strip()
    if not text:
        return None
    try:
        if text.lstrip("-").isdigit():
            number = int(text)
            return datetime.fromtimestamp(
                number / 1000 if number >= _MILLISECONDS else number, tz=UTC
            )
        # PostgreSQL writes +00 in place of +00:00.
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def is_true(value: object) -> bool:
    """Return whether a value of an export is true; unknown words are not."""
    return BOOLEANS.get(str(value if value is not None else "").strip().lower(), False)


def load_json(content: str) -> Any:
    """Return the JSON value of a file.

    Raises:
        MalformedFile: It is not JSON.
    """
    try:
        return json.loads(content)
    except ValueError:
        raise MalformedFile(" is not a JSON file.") from None


def load_objects(content: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object with its place, of a JSON array or of one JSON object in each line.

    Raises:
        MalformedFile: It is neither.
    """
    if content.lstrip().startswith("["):
        for number, each in enumerate(load_json(content), 1):
            if not isinstance(each, dict):
                raise MalformedFile(f", user {number}: it must be a JSON object.")
            yield f"user {number}", each
        return
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            each = json.loads(line)
        except ValueError:
            each = None
        if not isinstance(each, dict):
            raise MalformedFile(f", line {number}: it must be a JSON object.")
        yield f"line {number}", each
