"""What nearly every command begins with: the settings, and the database that they name."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Engine

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import waiting
from oneself.database import Database, Location, open_engine
from oneself.database.migrations import REVISION, present_revision, upgrade
from oneself.runtime.durable_files import make_folder
from oneself.runtime.key_file import check_root_key, open_keyring
from oneself.settings import Settings

__all__ = ["load_settings", "make_file", "open_database", "require_encoding", "require_file"]

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
    location = settings.location
    if not make:
        require_file(location)
    keys = open_keyring(settings)
    make_file(settings.data_dir, location)
    _require_tables(location, make=make or isinstance(location, Path))
    database = Database(location, keys=keys, limits=settings.limits)
    try:
        check_root_key(database)
        yield database
    finally:
        database.close()


def require_file(location: Location) -> None:
    """Let a path pass where there is a file; a server is asked when it is first needed.

    Raises:
        Failure: There is none.
    """
    if isinstance(location, Path) and not location.exists():
        # Where the one is set the other has no effect.
        setting = "ONESELF_DATABASE_URL" if load_settings().database_url else "ONESELF_DATA_DIR"
        raise Failure(
            f"There is no database at {location}. Set {setting} to where it is, or make one with:"
            " python -m oneself db upgrade"
        )


def require_encoding(engine: Engine) -> None:
    """Let a database pass that can hold every name, before there are tables in it.

    Raises:
        Failure: It is on a server, and in another encoding than UTF-8.
    """
    from oneself.commands.console.storage_checks import checks_of

    look = checks_of(engine).get("encoding")
    finding = None if look is None else look(engine)
    if finding is not None and not finding.ok:
        raise Failure(f"The encoding of the database is {finding.found}. {finding.to_do}")


def make_file(folder: Path, location: Location) -> None:
    """Make the data folder and an empty SQLite file, which nobody else can read."""
    make_folder(folder)
    if isinstance(location, Path):
        # Before SQLite does, which would let the umask decide; its WAL takes the mode of this file.
        with suppress(FileExistsError):
            os.close(os.open(location, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _require_tables(location: Location, *, make: bool) -> None:
    engine = open_engine(location)
    try:
        present = present_revision(engine)
        if present is None and not make:
            raise Failure(
                "The database has no tables yet. Make them with: python -m oneself db upgrade"
            )
        if present is None:
            require_encoding(engine)
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
