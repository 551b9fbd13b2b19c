"""`db backup` and `db restore`: copy a database in use, and restore it."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson, show, show_progress

if TYPE_CHECKING:
    from oneself.database import Location
    from oneself.settings import Settings

#: A dump by programs of another version than the server's can fail.
_DUMP = (
    "pg_dump --format=custom --no-owner --no-privileges --dbname=… --file={file}, in the server's"
    " version, or physical backups of the server (see docs/operations.md)"
)
_LOAD = (
    "pg_restore --exit-on-error --single-transaction --no-owner --no-privileges --dbname=… {file},"
    " into an empty database, and then: python -m oneself doctor"
)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to create.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Back up the SQLite database, while the service runs.

    Its SHA-256 is written to FILE.sha256, which `db restore` and `sha256sum --check` compare. The
    backup does not contain the root secret; keep it separately. Without it the backup is
    useless.
    """
    from oneself.commands.console.session_setup import load_settings, require_file
    from oneself.commands.storage import sqlite_files
    from oneself.commands.storage.checksums import sha256_of, write_checksum

    location = _require_sqlite(load_settings().location, _DUMP.format(file=file))
    require_file(location)
    if file.exists():
        raise Failure(f"{file} already exists. Give another name, or move it away.")
    if not file.parent.is_dir():
        raise Failure(f"There is no folder {file.parent}. Create it, or give another FILE.")
    with show_progress("Copying"), sqlite_files.copy_database(location, file) as part:
        _require_intact(part)
        revision, key_ids = _read_versions(part)
        if revision is None:
            raise Failure(
                f"{location} has no tables of oneself. Check that the settings name the right"
                " database."
            )
        sqlite_files.checkpoint(part)
        digest = sha256_of(part)
        sqlite_files.replace_database(part, file)
        write_checksum(file, digest)
    record = {
        "backup": str(file),
        "sha256": digest,
        "bytes": file.stat().st_size,
        "revision": revision,
        "root_keys": key_ids,
    }
    note = "The backup does not contain the root secret; keep it separately."
    show(record, as_json=as_json, note=note)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup made by `db backup`.")],
    *,
    without_checksum: Annotated[
        bool, typer.Option("--without-checksum", help="Restore a backup that has no FILE.sha256.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace an existing database, which is renamed and kept."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify a backup, and restore it to where the settings expect the database.

    The key file, or ONESELF_SECRET_KEY, must be in place first. Revocations, used one-time secrets
    and deliveries since the backup are undone: docs/operations.md says what to do about it.
    """
    from oneself.commands.console.session_setup import load_settings
    from oneself.commands.storage import sqlite_files
    from oneself.commands.storage.checksums import require_checksum
    from oneself.runtime.durable_files import make_folder
    from oneself.runtime.key_file import open_keyring

    settings = load_settings()
    location = _require_sqlite(settings.location, _LOAD.format(file=file))
    open_keyring(settings, make=False)
    if not file.exists():
        raise Failure(f"There is no backup at {file}. Give a FILE made by `db backup`.")
    if sqlite_files.existing_files(location) and not replace:
        raise Failure(
            f"There is a database at {location}. Stop every service and give --replace to rename"
            " it, or set ONESELF_DATA_DIR to an empty folder."
        )
    with show_progress("Verifying"):
        require_checksum(file, required=not without_checksum)
    make_folder(location.parent)
    with show_progress("Restoring"), sqlite_files.copy_database(file, location) as part:
        _require_intact(part)
        revision, _ = _read_versions(part)
        _require_known_revision(revision, file)
        _require_root_keys(settings, part)
        if os.geteuid() == 0:
            # The operator is root, but the service must be able to read the file.
            owner = location.parent.stat()
            os.chown(part, owner.st_uid, owner.st_gid)
        # Everything that can fail comes before this: until the rename there is no database.
        sqlite_files.checkpoint(part, in_use=True)
        with sqlite_files.move_aside(location) as former:
            sqlite_files.replace_database(part, location)
    record = {
        "restored": str(location),
        "former": None if former is None else str(former),
        "revision": revision,
    }
    note = "Run: python -m oneself db upgrade, and then: python -m oneself doctor"
    show(record, as_json=as_json, note=note)


def _require_sqlite(location: "Location", instead: str) -> Path:
    # Wrapping pg_dump would hide its version, and how the password reaches it.
    if not isinstance(location, Path):
        raise Failure(f"This command is for SQLite. For PostgreSQL use: {instead}.", status=USAGE)
    return location


def _require_intact(copy: Path) -> None:
    """Check that the pages and the references of a copy are intact."""
    from oneself.commands.console.session_setup import using_engine
    from oneself.commands.console.storage_checks import checks_for

    with using_engine(copy) as engine:
        checks = checks_for(engine)
        for name in ("integrity", "foreign_keys"):
            result = checks[name](engine)
            if not result.ok:
                problem = " ".join(result.found.split())
                raise Failure(
                    f"The copy is damaged: {problem}. It was deleted; check the original."
                )


def _read_versions(copy: Path) -> tuple[str | None, list[str]]:
    """Return the revision of the tables, and the ids of the root keys of its rows."""
    from oneself.commands.console.session_setup import using_engine
    from oneself.database import migrations

    with using_engine(copy) as engine:
        revision = migrations.present_revision(engine)
        if revision is None:
            return None, []
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT key_id FROM root_key ORDER BY created_at")
            return revision, [str(row[0]) for row in rows]


def _require_known_revision(revision: str | None, file: Path) -> None:
    from oneself.database import migrations

    if revision is None:
        raise Failure(f"{file} is not a database of oneself. Give a FILE made by `db backup`.")
    if not migrations.is_known(revision):
        raise Failure(
            f"{file} is at revision {revision}, which this version of oneself does not know."
            " Use the version that created it, or a newer one."
        )


def _require_root_keys(settings: "Settings", copy: Path) -> None:
    """Check that the configured root keys open every row of a copy."""
    from accounts.services.root_keys import find_unknown_roots
    from oneself.database import Database
    from oneself.runtime.key_file import UnknownRootKey, open_keyring

    keys = open_keyring(settings, make=False)
    with (
        closing(Database(copy, keys=keys, limits=settings.limits)) as database,
        database.transaction(writing=False) as session,
    ):
        missing = find_unknown_roots(session)
    if missing:
        raise UnknownRootKey(missing)
