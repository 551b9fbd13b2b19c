"""The root secrets: read from settings or a key file, and checked against the database.

They are in `ONESELF_SECRET_KEY` and, separated by commas, in `ONESELF_SECRET_KEY_FORMER`; or in a
key file with one root per line, the current one first. A former one can have a prefix. `next:`
marks a root that was not used yet: every service learns it before one stores anything under it.
`events:` marks a retired root, which only verifies links of the event chain.
"""

import base64
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import sqlalchemy

from accounts.crypto.keyring import Keyring
from accounts.services.root_keys import find_unknown_roots, remember_root
from oneself.database import Database, open_engine
from oneself.runtime.durable_files import make_folder, put, sync, write
from oneself.settings import Settings

_FILE = "secret.key"
_BYTES = 32
_FORMER, _NEXT, _EVENTS = "", "next", "events"
_MAKE_ONE = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


class BadSecretKey(Exception):
    """The root secret is unusable; the message says why, and what to do."""


class BadSecretSetting(BadSecretKey):
    """An unusable root secret from a setting, not from a file."""


class UnknownRootKey(Exception):
    """The database was made with another root secret, or with one more."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(
            "The root secret is not the one that this database was made with, or a former one is"
            f" missing: rows are stored under {', '.join(missing)}, which is unknown. Set the right"
            " ONESELF_SECRET_KEY, add the missing one to ONESELF_SECRET_KEY_FORMER, or put back the"
            " key file that belongs to the database."
        )


class _Root(NamedTuple):
    """A root secret and its label."""

    label: str
    secret: bytes

    @property
    def key_id(self) -> str:
        return Keyring(self.secret).key_id

    @property
    def line(self) -> str:
        text = base64.urlsafe_b64encode(self.secret).decode().rstrip("=")
        return f"{self.label}:{text}" if self.label else text


def open_keyring(settings: Settings, *, make: bool = True) -> Keyring:
    """Return the keys from `ONESELF_SECRET_KEY` or, if it is unset, from a key file.

    With `make`, the file is created beside a SQLite file in which no row is stored under a secret
    yet. There is no built-in secret (OP-04).

    Raises:
        BadSecretSetting: One in the environment is too short or not base64url, or is missing.
        BadSecretKey: One is too short or not base64url, or its file is readable by other users; or
            there is none, and none may be created: the database is a server, which replicas with
            other files may use, or it has rows already, which a new secret would not open.
    """
    from_settings = _read_environment(settings)
    current, *former = from_settings or _read_file(settings, make=make)
    if current.label:
        raise BadSecretKey(
            f"The first line of {_path(settings)} must be the current root secret. Move the line"
            f" that begins with {current.label}: below it."
        )
    try:
        return Keyring(
            current.secret,
            *(root.secret for root in former if root.label != _EVENTS),
            events=[root.secret for root in former if root.label == _EVENTS],
        )
    except ValueError as error:
        raise (BadSecretSetting if from_settings else BadSecretKey)(str(error)) from error


def check_root_key(database: Database) -> None:
    """Record the current root; reject a database with rows under an unknown one (PW-17).

    A root that is new to the database begins a rotation if all others are known, and is a wrong
    secret if they are not.

    Raises:
        UnknownRootKey: The database was made with another root secret, or has rows under one more.
    """
    with database.transaction(writing=True) as session:
        # Of two concurrent first starts with two secrets, one must fail.
        session.lock("root keys")
        missing = find_unknown_roots(session)
        if missing:
            raise UnknownRootKey(missing)
        remember_root(session, session.keys.key_id)


def added_root(settings: Settings) -> str | None:
    """Return the key id of the root in the key file that is not used yet."""
    return next((root.key_id for root in _read_file(settings) if root.label == _NEXT), None)


def add_root(settings: Settings) -> str:
    """Add a new root secret to the key file, unused until every service knows it; return its id."""
    with _locked(settings) as path:
        added = _Root(_NEXT, secrets.token_bytes(_BYTES))
        _write(path, [*_read_file(settings), added])
    return added.key_id


def use_root(settings: Settings, key_id: str) -> None:
    """Make a root of the key file the current one, which processes started later store under."""
    with _locked(settings) as path:
        entries = _read_file(settings)
        current = [root._replace(label=_FORMER) for root in entries if root.key_id == key_id]
        _write(path, [*current, *(root for root in entries if root.key_id != key_id)])


def drop_root(settings: Settings, key_id: str, *, keep_for_events: bool) -> None:
    """Remove a root from the key file, or keep it for the event chain only."""
    with _locked(settings) as path:
        # Never the current one, even if another command has changed the file meanwhile.
        current, *former = _read_file(settings)
        kept = [root for root in former if root.key_id != key_id]
        if keep_for_events:
            kept += [root._replace(label=_EVENTS) for root in former if root.key_id == key_id]
        _write(path, [current, *kept])


def _path(settings: Settings) -> Path:
    return settings.data_dir / _FILE


def _read_environment(settings: Settings) -> list[_Root]:
    current, former = (
        secret.get_secret_value() if secret else ""
        for secret in (settings.secret_key, settings.secret_key_former)
    )
    if not current:
        if former:
            # A variable was probably forgotten: a key file would be created or used, with another
            # key.
            raise BadSecretSetting(
                "ONESELF_SECRET_KEY_FORMER is set, and ONESELF_SECRET_KEY is not. Set both, or"
                " neither: a key file contains former root secrets too."
            )
        return []
    texts = [text.strip() for text in former.split(",") if text.strip()]
    try:
        return [
            _Root(_FORMER, _decode(current, "ONESELF_SECRET_KEY")),
            *(_parse(text, "ONESELF_SECRET_KEY_FORMER") for text in texts),
        ]
    except BadSecretKey as bad:
        raise BadSecretSetting(str(bad)) from None


def _read_file(settings: Settings, *, make: bool = True) -> list[_Root]:
    path = _path(settings)
    if not path.exists():
        _require_new(settings, path, make=make)
        if make:
            _create(path)
    if path.stat().st_mode & 0o077:
        raise BadSecretKey(f"Other users can read {path}. Run: chmod 600 {path}")
    # An empty file yields one empty line, which is rejected as too short.
    lines = path.read_text(errors="replace").strip().split("\n")
    return [_parse(line.strip(), str(path)) for line in lines]


def _require_new(settings: Settings, path: Path, *, make: bool) -> None:
    """Check that a key file may be created: a new secret opens no row of a database in use.

    Raises:
        BadSecretKey: The file is lost, or must not be created.
    """
    missing = f"ONESELF_SECRET_KEY is not set, and there is no {path}."
    if not isinstance(settings.location, Path):
        raise BadSecretKey(
            f"{missing} If the database is in use, put back the one that it was made with. With"
            " PostgreSQL every replica needs the same one, so none is created automatically."
            f" {_MAKE_ONE}"
        )
    roots = stored_roots(settings.location)
    # A concurrent first start creates the file before it stores anything under it.
    if not path.exists() and (roots or not make):
        stored = f" Rows are stored under {', '.join(roots)}." if roots else ""
        raise BadSecretKey(
            f"{missing} Put back the one that the database was made with: nothing in it can be"
            f" decrypted without it.{stored}"
        )


def stored_roots(location: Path) -> list[str]:
    """Return the ids of the root secrets that rows of a SQLite file are stored under."""
    if not location.exists():
        return []
    engine = open_engine(location, read_only=True)
    try:
        with engine.connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("root_key"):
                return []
            roots = connection.exec_driver_sql("SELECT key_id FROM root_key ORDER BY created_at")
            return [key_id for (key_id,) in roots]
    finally:
        engine.dispose()


def _parse(text: str, source: str) -> _Root:
    label, colon, rest = text.partition(":")
    if colon and label in {_NEXT, _EVENTS}:
        return _Root(label, _decode(rest, source))
    return _Root(_FORMER, _decode(text, source))


def _decode(text: str, source: str) -> bytes:
    try:
        # Strictly: the lenient decoder drops unknown characters, and returns another key.
        root = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except ValueError:
        root = b""
    if len(root) < _BYTES:
        raise BadSecretKey(f"{source} must be at least {_BYTES} bytes in base64url. {_MAKE_ONE}")
    return root


@contextmanager
def _locked(settings: Settings) -> Iterator[Path]:
    """Yield the path of the key file, locked against other commands."""
    folder = os.open(settings.data_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield _path(settings)
    finally:
        os.close(folder)


def _write(path: Path, entries: Sequence[_Root]) -> None:
    """Replace the file atomically: a lost root loses the rows stored under it."""
    part = _write_part(path, "".join(f"{root.line}\n" for root in entries))
    # The service may run as another user than the command, and has to read the file.
    owner = path.stat()
    os.chown(part, owner.st_uid, owner.st_gid)
    put(part, path)


def _create(path: Path) -> None:
    """Create the key file, unless another process has just done so."""
    make_folder(path.parent)
    part = _write_part(path, secrets.token_urlsafe(_BYTES) + "\n")
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass
    finally:
        part.unlink()
    sync(path.parent)


def _write_part(path: Path, content: str) -> Path:
    part = path.with_suffix(f".{os.getpid()}")
    write(part, content.encode())
    return part
