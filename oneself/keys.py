"""Where the root secret comes from, and whether it is the right one."""

import base64
import os
import secrets
from pathlib import Path

from sqlmodel import select

from accounts.keyring import Keyring
from models import RootKey
from oneself.settings import Settings
from oneself.transactions import Database

__all__ = ["BadSecretKey", "UnknownRootKey", "check_root_key", "open_keyring"]

_FILE = "secret.key"
_BYTES = 32


class BadSecretKey(Exception):
    """The root secret cannot be used; the message says why, and what to do."""


class UnknownRootKey(Exception):
    """The database was made with another root secret."""

    def __init__(self) -> None:
        super().__init__(
            "The secret key is not the one that this database was made with. Start with the right"
            " ONESELF_SECRET_KEY, or with the key file that lay beside the database."
        )


def open_keyring(settings: Settings) -> Keyring:
    """The keys from `ONESELF_SECRET_KEY` or, without one, from a key file that is made once.

    There is no secret built in (OP-04).

    Raises:
        BadSecretKey: It is too short, not base64url, or others can read its file.
    """
    given = settings.secret_key.get_secret_value() if settings.secret_key else ""
    if given:
        return Keyring(_decode(given, "ONESELF_SECRET_KEY"))
    path = settings.data_dir / _FILE
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise BadSecretKey(f"Others can read {path}. Run: chmod 600 {path}")
    return Keyring(_decode(path.read_text(errors="replace").strip(), str(path)))


def check_root_key(database: Database) -> None:
    """Remember the root secret in a new database; in another, see that it is the same (PW-17).

    Raises:
        UnknownRootKey: It is not.
    """
    with database.transaction(writing=True) as session:
        known = session.exec(select(RootKey)).all()
        keys = session.keys
        if not known:
            session.add(
                RootKey(key_id=keys.key_id, check_value=keys.check_value(), created_at=session.now)
            )
        elif all(secrets.compare_digest(row.check_value, keys.check_value()) for row in known):
            return
        else:
            raise UnknownRootKey


def _decode(text: str, source: str) -> bytes:
    try:
        # Strictly: the lenient reader drops what it does not know, and gives another key.
        root = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except ValueError:
        root = b""
    if len(root) < _BYTES:
        raise BadSecretKey(
            f"{source} must be at least {_BYTES} bytes in base64url. Make one with:"
            " python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return root


def _make(path: Path) -> None:
    """Make the key file, unless another process has made it in this moment."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.unlink(missing_ok=True)  # from a crash; in a container every start has the same id
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass
    finally:
        part.unlink()
