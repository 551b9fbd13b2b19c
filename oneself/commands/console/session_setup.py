"""Setup shared by the commands: read the settings, and open the database they name."""

import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Engine

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import show_progress
from oneself.database import Database, Location, open_engine
from oneself.database.migrations import REVISION, present_revision, upgrade
from oneself.runtime.durable_files import make_folder
from oneself.runtime.key_file import check_root_key, open_keyring
from oneself.settings import Settings

#: The beginning of a rule in the words of Pydantic; ours begin with "must".
_SUBJECT = re.compile(r"^(?:Value error, |(?:Input|String|URL) should )")


def load_settings() -> Settings:
    """Read the settings; the failure names each invalid one with its rule, and no value."""
    try:
        return Settings()
    except ValidationError as invalid:
        problems = [
            f"ONESELF_{str(error['loc'][0]).upper()} {_rule(error['msg'])}"
            for error in invalid.errors(include_input=False, include_context=False)
        ]
    raise Failure("; ".join(problems) + ". docs/settings.md lists the settings.", status=USAGE)


@contextmanager
def open_database(settings: Settings, *, make: bool = False) -> Iterator[Database]:
    """Open the database, with the tables of this version and the right key.

    With `make`, a missing database is created. An older one is never migrated here, since an
    operator should back it up first.

    Raises:
        Failure: The database is missing, or of another version.
        BadSecretKey, UnknownRootKey: The root secret is malformed, or not the database's.
    """
    location = settings.location
    if not make:
        require_file(location)
    keys = open_keyring(settings)
    make_file(settings.data_dir, location)
    _require_tables(location, make=make or isinstance(location, Path))
    with closing(Database(location, keys=keys, limits=settings.limits)) as database:
        check_root_key(database)
        yield database


@contextmanager
def using_engine(location: Location, *, read_only: bool = False) -> Iterator[Engine]:
    """Open an engine for a database, and dispose of it at the end."""
    engine = open_engine(location, read_only=read_only)
    try:
        yield engine
    finally:
        engine.dispose()


def require_file(location: Location) -> None:
    """Check that a SQLite file exists; a server is only contacted when it is first needed."""
    if isinstance(location, Path) and not location.exists():
        # If the URL is set, the folder has no effect.
        setting = "ONESELF_DATABASE_URL" if load_settings().database_url else "ONESELF_DATA_DIR"
        raise Failure(
            f"There is no database at {location}. Set {setting} to where it is, or create one"
            " with: python -m oneself db upgrade"
        )


def require_encoding(engine: Engine) -> None:
    """Check, before the tables are created, that the database can store every name."""
    from oneself.commands.console.storage_checks import checks_for

    check = checks_for(engine).get("encoding")
    result = check(engine) if check else None
    if result and not result.ok:
        raise Failure(f"The encoding of the database is {result.found}. {result.to_do}")


def make_file(folder: Path, location: Location) -> None:
    """Create the data folder and an empty SQLite file, readable by their owner only."""
    make_folder(folder)
    if isinstance(location, Path):
        # SQLite would create it with the umask's mode; its WAL inherits the mode of this file.
        with suppress(FileExistsError):
            os.close(os.open(location, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _require_tables(location: Location, *, make: bool) -> None:
    with using_engine(location) as engine:
        present = present_revision(engine)
        if present is None and not make:
            raise Failure(
                "The database has no tables yet. Create them with: python -m oneself db upgrade"
            )
        if present is None:
            require_encoding(engine)
            with show_progress("Creating the tables"):
                upgrade(engine)
        elif present != REVISION:
            raise Failure(
                f"The database is at revision {present}; this version needs {REVISION}. Back it"
                " up, then run: python -m oneself db upgrade"
            )


def _rule(message: str) -> str:
    return _SUBJECT.sub(lambda match: "" if match[0].startswith("Value") else "must ", message)
