"""`db`: migrate the database, check its tables, back it up."""

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show, show_progress
from oneself.commands.storage import backups

app = typer.Typer(no_args_is_help=True, help="Upgrade, check, back up and restore the database.")
app.command()(backups.backup)
app.command()(backups.restore)


@app.command()
def upgrade(*, as_json: AsJson = False) -> None:
    """Migrate the tables to this version, and create a missing database.

    The migration is one transaction. Back up the database first.
    """
    from alembic.util import CommandError

    from oneself.commands.console import session_setup as setup
    from oneself.database import migrations

    settings = setup.load_settings()
    setup.make_file(settings.data_dir, settings.location)
    with setup.using_engine(settings.location) as engine:
        before = migrations.present_revision(engine)
        if before is None:
            setup.require_encoding(engine)
        try:
            with show_progress("Migrating"):
                migrations.upgrade(engine)
        except CommandError as error:
            raise Failure(
                f"The database is at revision {before}, which this version of oneself does not"
                " know. Use the version that created it, or a newer one."
            ) from error
        after = migrations.present_revision(engine)
    show({"revision_before": before, "revision": after}, as_json=as_json)


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Compare the tables with those of this version, and exit with 1 if they differ."""
    from oneself.commands.console.session_setup import load_settings, require_file, using_engine
    from oneself.database import migrations

    location = load_settings().location
    require_file(location)
    with using_engine(location) as engine:
        present = migrations.present_revision(engine)
        differences = migrations.differences(engine)
    ok = present == migrations.REVISION and not differences
    record = {
        "revision": present,
        "expected_revision": migrations.REVISION,
        "differences": differences,
        "up_to_date": ok,
    }
    show(record, as_json=as_json)
    if not ok:
        raise Failure(
            "The tables are not those of this version. Back up the database, then run: python -m"
            " oneself db upgrade"
        )
