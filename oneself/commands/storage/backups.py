"""Backing a database up while it is used, and restoring it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson, show, waiting

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from oneself.database import Location
    from oneself.settings import Settings

__all__ = ["backup", "restore"]

#: Whoever has a server has the programs of its version; a dump by another version fails.
_DUMP = (
    "pg_dump --format=custom --no-owner --no-privileges --dbname=… --file={file}, with the programs"
    " of the server's version, or with the physical backups of the server (see docs/operations.md)"
)
_LOAD = (
    "pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname=… {file},"
    " into an empty database, and then: python -m oneself doctor"
)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Copy a SQLite database as it is at this moment, while the service goes on.

    The root secret is not in it. Keep that elsewhere: without it nothing in the copy opens.
    """
    from oneself.commands.console.session_setup import load_settings, require_file
    from oneself.commands.storage.sqlite_files import (
        checkpoint,
        copy_database,
        replace_database,
    )

    location = _file_of(load_settings().location, _DUMP.format(file=file))
    require_file(location)
    if file.exists():
        raise Failure(f"{file} is there already. Give another name, or move it away.")
    if not file.parent.is_dir():
        raise Failure(f"There is no folder {file.parent}. Make it, or give a FILE elsewhere.")
    with waiting("Copying"), copy_database(location, file) as part:
        _require_sound(part)
        revision, key_ids = _contents(part)
        if revision is None:
            raise Failure(f"{location} has no tables of oneself: there is nothing to back up.")
        checkpoint(part)
        replace_database(part, file)
    show(
        {
            "backup": str(file),
            "bytes": file.stat().st_size,
            "revision": revision,
            "root_keys": key_ids,
        },
        as_json=as_json,
        note="The root keys that it needs are not in it.",
    )


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `db backup` has made.")],
    *,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Restore where there is a database, which is kept beside under another name.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup where the settings want the database, once it is found to be whole.

    The key file, or ONESELF_SECRET_KEY, has to be there already. What was revoked, burnt or
    delivered since the backup is so no longer: docs/operations.md says what to do about it.
    """
    from oneself.commands.console.session_setup import load_settings
    from oneself.commands.storage.sqlite_files import (
        checkpoint,
        copy_database,
        move_aside,
        occupants,
        replace_database,
    )
    from oneself.runtime.durable_files import make_folder
    from oneself.runtime.key_file import open_keyring

    settings = load_settings()
    location = _file_of(settings.location, _LOAD.format(file=file))
    open_keyring(settings, make=False)
    if not file.exists():
        raise Failure(f"There is no backup at {file}. Give a FILE that `db backup` has made.")
    if occupants(location) and not replace:
        raise Failure(
            f"There is a database at {location}. Give --replace to have it renamed, with every"
            " service stopped, or set ONESELF_DATA_DIR to an empty folder."
        )
    make_folder(location.parent)
    with waiting("Restoring"), copy_database(file, location) as part:
        _require_sound(part)
        revision, _ = _contents(part)
        _require_known(revision, file)
        _require_roots(settings, part)
        if os.geteuid() == 0:
            # Who restores is often somebody else than the service, which has to read the file.
            owner = location.parent.stat()
            os.chown(part, owner.st_uid, owner.st_gid)
        # Whatever can fail is done by now: until the copy has its name, there is no database.
        checkpoint(part, in_use=True)
        with move_aside(location) as former:
            replace_database(part, location)
    show(
        {
            "restored": str(location),
            "former": None if former is None else str(former),
            "revision": revision,
        },
        as_json=as_json,
        note="Run: python -m oneself db upgrade, and then: python -m oneself doctor",
    )


def _file_of(location: "Location", instead: str) -> Path:
    # A wrapper around pg_dump would hide which version of it runs, and the password's way to it.
    if not isinstance(location, Path):
        raise Failure(f"This command is about SQLite. For PostgreSQL use: {instead}.", status=USAGE)
    return location


def _require_sound(copy: Path) -> None:
    """Let a copy pass whose pages and references are whole.

    Raises:
        Failure: Something is wrong with it.
    """
    from oneself.commands.console.storage_checks import checks_of

    with _engine_of(copy) as engine:
        checks = checks_of(engine)
        for name in ("integrity", "foreign_keys"):
            finding = checks[name](engine)
            if not finding.ok:
                found = " ".join(finding.found.split())
                raise Failure(f"The copy is not whole: {found}. It was not kept.")


def _contents(copy: Path) -> tuple[str | None, list[str]]:
    """The revision of its tables, and which root keys its rows are stored under."""
    from oneself.database import migrations

    with _engine_of(copy) as engine:
        revision = migrations.present_revision(engine)
        if revision is None:
            return None, []
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT key_id FROM root_key ORDER BY created_at")
            return revision, [str(row[0]) for row in found]


def _require_known(revision: str | None, file: Path) -> None:
    from oneself.database import migrations

    if revision is None:
        raise Failure(f"{file} is a database, and none of oneself: it has no revision.")
    if not migrations.is_known(revision):
        raise Failure(
            f"{file} is at revision {revision}, which this version of oneself does not know."
            " Use the version that it was made with, or a newer one."
        )


def _require_roots(settings: "Settings", copy: Path) -> None:
    """Let a copy pass that the keys of this place open.

    Raises:
        UnknownRootKey: There are rows in it under another.
    """
    from accounts.services.root_keys import unknown_roots
    from oneself.database import Database
    from oneself.runtime.key_file import UnknownRootKey, open_keyring

    database = Database(copy, keys=open_keyring(settings, make=False), limits=settings.limits)
    try:
        with database.transaction(writing=False) as session:
            missing = unknown_roots(session)
    finally:
        database.close()
    if missing:
        raise UnknownRootKey(missing)


@contextmanager
def _engine_of(copy: Path) -> Iterator["Engine"]:
    from oneself.database import open_engine

    engine = open_engine(copy)
    try:
        yield engine
    finally:
        engine.dispose()
