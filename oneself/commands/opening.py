"""What nearly every command begins with: the settings, and the database that they name."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from models.schema import REVISION
from oneself.commands.failures import USAGE, Failure
from oneself.commands.output import waiting
from oneself.keys import check_root_key, open_keyring
from oneself.migrations import present_revision, upgrade
from oneself.settings import Settings
from oneself.transactions import Database, open_engine

__all__ = ["load_settings", "make_file", "open_database", "require_file"]

#: How Pydantic begins its rules, where ours begin with "must".
_SUBJECT = re.compile(r"^(?:Value error, |(?:Input|String|URL) should )")


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        Failure: One breaks a rule; the sentence names each that does, its rule, and no value.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        broken = [
            f"ONESELF_{str(error['loc'][0]).upper()} {_rule(error['msg'])}"
            for error in invalid.errors(include_input=False, include_context=False)
        ]
    raise Failure("; ".join(broken) + ". The README lists the settings.", status=USAGE)


@contextmanager
def open_database(settings: Settings, *, make: bool = False) -> Iterator[Database]:
    """The database, of this version's tables and with the right key; closed at the end.

    Where `make` allows it, one that is not there is made. One that is there and older is left as
    it is, since a migration is better begun by somebody who has a copy.

    Raises:
        Failure: It is not there, or of another version.
        BadSecretKey, UnknownRootKey: The root secret cannot be used, or is not the database's.
    """
    path = settings.sqlite_path
    if not make:
        require_file(path)
    keys = open_keyring(settings)
    make_file(settings.data_dir, path)
    _require_tables(path)
    database = Database(path, keys=keys, rules=settings.rules)
    try:
        check_root_key(database)
        yield database
    finally:
        database.close()


def require_file(path: Path) -> None:
    """Let a path pass where there is a file.

    Raises:
        Failure: There is none.
    """
    if not path.exists():
        raise Failure(
            f"There is no database at {path}. Set ONESELF_DATA_DIR to where it is, or make one"
            " with: python -m oneself db upgrade"
        )


def make_file(folder: Path, path: Path) -> None:
    """Make the data folder and an empty database file, which nobody else can read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before SQLite does, which would let the umask decide; its WAL takes the mode of this file.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _require_tables(path: Path) -> None:
    engine = open_engine(path)
    try:
        present = present_revision(engine)
        if present is None:
            with waiting("Making the tables"):
                upgrade(engine)
        elif present != REVISION:
            raise Failure(
                f"The database is at revision {present}, and this version works with {REVISION}."
                " Copy it, then run: python -m oneself db upgrade"
            )
    finally:
        engine.dispose()


def _rule(message: str) -> str:
    return _SUBJECT.sub(lambda found: "" if found[0].startswith("Value") else "must ", message)
