"""Files of users: the formats of this and of other systems, which each module reads."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from oneself.commands.administration.user_files import databases, hosted, keycloak, ours
from oneself.commands.administration.user_files.row import MalformedFile, Row

__all__ = ["MalformedFile", "Row", "read_users"]


class Format(StrEnum):
    """The formats of an import; `auto` guesses one from the beginning of the file."""

    AUTO = "auto"
    CSV = "csv"
    NDJSON = "ndjson"
    KEYCLOAK = "keycloak"
    AUTH0 = "auth0"
    COGNITO = "cognito"
    FIREBASE = "firebase"
    SUPABASE = "supabase"
    DJANGO = "django"
    LARAVEL = "laravel"
    LDIF = "ldif"


_READERS: Mapping[Format, Callable[[str], Iterator[Row]]] = {
    Format.CSV: ours.read_lines,
    Format.NDJSON: ours.read_objects,
    Format.KEYCLOAK: keycloak.read,
    Format.AUTH0: hosted.read_auth0,
    Format.COGNITO: hosted.read_cognito,
    Format.SUPABASE: databases.read_gotrue,
    Format.DJANGO: databases.read_django,
    Format.LARAVEL: databases.read_laravel,
    Format.LDIF: databases.read_ldif,
}
#: How a file of a format is recognised, in the order of the attempts.
_SIGNS: tuple[tuple[Format, str], ...] = (
    (Format.LDIF, r"\A(?:version: ?\d+\s+|#[^\n]*\n|\s)*dn:"),
    (Format.DJANGO, r'\A\s*\[\s*\{[^{}]*"model"\s*:'),
    (Format.FIREBASE, r'\A\s*\{\s*"users"\s*:\s*\[\s*\{[^[\]]*"(?:localId|passwordHash)"'),
    (Format.KEYCLOAK, r'\A\s*[{[].*?"(?:realm|users)"\s*:'),
    (Format.AUTH0, r'\A\s*\[?\s*\{.*?"(?:user_id|custom_password_hash|passwordHash)"\s*:'),
    (Format.NDJSON, r'\A\s*\{[^\n]*"email"\s*:'),
    (Format.COGNITO, r"\A[^\n]*\bcognito:username\b"),
    (
        Format.SUPABASE,
        r'\A(?:[^\n]*\bencrypted_password\b[^\n]*\bemail_confirmed_at\b|.*?auth"?\."?users\b)',
    ),
    (
        Format.LARAVEL,
        r"\A(?:[^\n]*\b(?:remember_token|email_verified_at)\b|\s*\[|.*?^(?:COPY|INSERT INTO) )",
    ),
)
#: Where a sign must be; dumps begin with settings, and realms with many properties.
_BEGINNING = 200_000


def guess_format(content: str) -> Format:
    """Return the format that a file looks like; without a sign, it is our CSV."""
    beginning = content[:_BEGINNING]
    for format_, sign in _SIGNS:
        if re.search(sign, beginning, re.DOTALL | re.MULTILINE):
            return format_
    return Format.CSV


def read_users(
    content: str, format_: Format, *, hash_parameters: str | None = None
) -> Iterator[Row]:
    """Yield an entry for each user of a file.

    Raises:
        MalformedFile: The file is not of this format.
    """
    if format_ is Format.AUTO:
        format_ = guess_format(content)
    if format_ is Format.FIREBASE:
        return hosted.read_firebase(content, hash_parameters)
    return _READERS[format_](content)
