"""Where the root secret comes from, with former ones, and whether they are the right ones.

They are in `ONESELF_SECRET_KEY` and, separated by commas, in `ONESELF_SECRET_KEY_FORMER`; or in a
key file with a root a line, the present one first. A word before a former one says more of it:
`next:` that it is known and was not used yet, so that every service knows it before one stores
anything under it; `events:` that it is retired, and verifies links of the chain of events only.
"""

import base64
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from accounts.crypto.keyring import Keyring
from accounts.services.root_keys import remember_root, unknown_roots
from oneself.database import Database
from oneself.runtime.durable_files import make_folder, put, sync, write
from oneself.settings import Settings

__all__ = [
    "BadSecretKey",
    "BadSecretSetting",
    "UnknownRootKey",
    "add_root",
    "added_root",
    "check_root_key",
    "drop_root",
    "open_keyring",
    "use_root",
]

_FILE = "secret.key"
_BYTES = 32
_FORMER, _NEXT, _EVENTS = "", "next", "events"


class BadSecretKey(Exception):
    """The root secret cannot be used; the message says why, and what to do."""


class BadSecretSetting(BadSecretKey):
    """The root secret that cannot be used is in a setting, and in no file."""


class UnknownRootKey(Exception):
    """The database was made with another root secret, or with one more."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(
            "The secret key is not the one that this database was made with, or not all of them:"
            f" rows are stored under {', '.join(missing)}, which is not known here. Start with the"
            " right ONESELF_SECRET_KEY, with the former one in ONESELF_SECRET_KEY_FORMER, or with"
            " the key file that lay beside the database."
        )


class _Entry(NamedTuple):
    """A root secret, and what is said of it."""

    word: str
    root: bytes

    @property
    def key_id(self) -> str:
        return Keyring(self.root).key_id

    @property
    def line(self) -> str:
        written = base64.urlsafe_b64encode(self.root).decode().rstrip("=")
        return f"{self.word}:{written}" if self.word else written


def open_keyring(settings: Settings, *, make: bool = True) -> Keyring:
    """The keys from the environment or, without `ONESELF_SECRET_KEY`, from a key file.

    The file is made once, beside a SQLite file, unless `make` forbids it. There is no secret built
    in (OP-04).

    Raises:
        BadSecretSetting: One in the environment is too short or not base64url, or is left out.
        BadSecretKey: One is too short, not base64url, or others can read their file; or there is
            none, and none may be made: the database is a server, which replicas with other files
            may use, or there are rows already that a new one would not open.
    """
    maker = _maker(settings) if make else _miss
    given = _read_environment(settings)
    present, *others = given or _read_file(_path(settings), maker)
    if present.word:
        raise BadSecretKey(
            f"The first line of {_path(settings)} must be the present root secret: a line that"
            f" begins with {present.word}: stands below it."
        )
    try:
        return Keyring(
            present.root,
            *(entry.root for entry in others if entry.word != _EVENTS),
            events=[entry.root for entry in others if entry.word == _EVENTS],
        )
    except ValueError as refused:
        raise (BadSecretSetting if given else BadSecretKey)(str(refused)) from refused


def check_root_key(database: Database) -> None:
    """Remember the present root; refuse a database that has rows under one not known (PW-17).

    A root that is new to the database is the beginning of a rotation if all others are known, and
    a wrong secret if they are not.

    Raises:
        UnknownRootKey: The database was made with another root secret, or has rows under one more.
    """
    with database.transaction(writing=True) as session:
        # Of two first starts at once with two secrets, one must hear that it has the wrong one.
        session.lock("root keys")
        missing = unknown_roots(session)
        if missing:
            raise UnknownRootKey(missing)
        remember_root(session, session.keys.key_id)


def added_root(settings: Settings) -> str | None:
    """The key id of the root in the key file that is known and not used yet."""
    return next(
        (
            entry.key_id
            for entry in _read_file(_path(settings), _maker(settings))
            if entry.word == _NEXT
        ),
        None,
    )


def add_root(settings: Settings) -> str:
    """Make a root secret, put it into the key file for every service to know, and name it."""
    with _held(settings) as path:
        added = _Entry(_NEXT, secrets.token_bytes(_BYTES))
        _write(path, [*_read_file(path, _maker(settings)), added])
    return added.key_id


def use_root(settings: Settings, key_id: str) -> None:
    """Put a root of the key file first: what starts after this stores under it."""
    with _held(settings) as path:
        entries = _read_file(path, _maker(settings))
        used = [entry._replace(word=_FORMER) for entry in entries if entry.key_id == key_id]
        _write(path, [*used, *(entry for entry in entries if entry.key_id != key_id)])


def drop_root(settings: Settings, key_id: str, *, keep_for_events: bool) -> None:
    """Take a root out of the key file, or keep it for the chain of events only."""
    with _held(settings) as path:
        # Never the present one, whatever another command has done to the file meanwhile.
        present, *others = _read_file(path, _maker(settings))
        kept = [entry for entry in others if entry.key_id != key_id]
        if keep_for_events:
            kept += [entry._replace(word=_EVENTS) for entry in others if entry.key_id == key_id]
        _write(path, [present, *kept])


def _path(settings: Settings) -> Path:
    return settings.data_dir / _FILE


def _read_environment(settings: Settings) -> list[_Entry]:
    present, former = (
        secret.get_secret_value() if secret else ""
        for secret in (settings.secret_key, settings.secret_key_former)
    )
    if not present:
        if former:
            # A key file would be made or used beside it: a forgotten variable, and another key.
            raise BadSecretSetting(
                "ONESELF_SECRET_KEY_FORMER is set, and ONESELF_SECRET_KEY is not. Set both, or"
                " neither: a key file has former root secrets in itself."
            )
        return []
    try:
        return [
            _Entry(_FORMER, _decode(present, "ONESELF_SECRET_KEY")),
            *(
                _parse(text.strip(), "ONESELF_SECRET_KEY_FORMER")
                for text in former.split(",")
                if text.strip()
            ),
        ]
    except BadSecretKey as bad:
        raise BadSecretSetting(str(bad)) from None


def _maker(settings: Settings) -> Callable[[Path], None]:
    return _make if isinstance(settings.location, Path) else _ask_for


def _ask_for(path: Path) -> None:
    raise BadSecretKey(
        f"ONESELF_SECRET_KEY is not set, and there is no {path}. With PostgreSQL every replica has"
        " to have the same one, so none is made by itself. Make one with:"
        " python -c 'import secrets; print(secrets.token_urlsafe(32))'"
    )


def _miss(path: Path) -> None:
    raise BadSecretKey(
        f"ONESELF_SECRET_KEY is not set, and there is no {path}. Put back the one that the database"
        " was made with: without it nothing in it opens."
    )


def _read_file(path: Path, make: Callable[[Path], None]) -> list[_Entry]:
    if not path.exists():
        make(path)
    if path.stat().st_mode & 0o077:
        raise BadSecretKey(f"Others can read {path}. Run: chmod 600 {path}")
    # An empty file has one line too, and it is refused for what is not in it.
    lines = path.read_text(errors="replace").strip().split("\n")
    return [_parse(line.strip(), str(path)) for line in lines]


def _parse(text: str, source: str) -> _Entry:
    word, colon, rest = text.partition(":")
    if colon and word in {_NEXT, _EVENTS}:
        return _Entry(word, _decode(rest, source))
    return _Entry(_FORMER, _decode(text, source))


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


@contextmanager
def _held(settings: Settings) -> Iterator[Path]:
    """The path of the key file, while no other command changes it."""
    folder = os.open(settings.data_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield _path(settings)
    finally:
        os.close(folder)


def _write(path: Path, entries: Sequence[_Entry]) -> None:
    """Put a whole file in the place of the old one: a root that is lost takes its rows with it."""
    part = _write_part(path, "".join(f"{entry.line}\n" for entry in entries))
    # The service may run as somebody else than whoever gives the command, and has to read it.
    owner = path.stat()
    os.chown(part, owner.st_uid, owner.st_gid)
    put(part, path)


def _make(path: Path) -> None:
    """Make the key file, unless another process has made it in this moment."""
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
