"""`events`: archive old security events, and verify archives."""

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show, show_progress

if TYPE_CHECKING:
    from accounts.jobs.event_archive import ArchiveReport, Part
    from accounts.jobs.event_seals import Seal
    from oneself.database import Database

app = typer.Typer(
    no_args_is_help=True, help="Archive security events to a file, and verify such files."
)


@app.command()
def archive(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to create.")],
    *,
    older_than: Annotated[
        int, typer.Option(min=1, metavar="DAYS", help="Archive events older than this.")
    ] = 365,
    as_json: AsJson = False,
) -> None:
    """Write old events to a sealed file, verify it, and delete them, while the service runs.

    Users no longer see archived events. Keep the files: the database keeps only their seals. On
    PostgreSQL run it as the role that owns the tables. If it was interrupted, run it again.
    """
    from accounts.jobs.event_archive import BrokenChain
    from oneself.commands.console.session_setup import load_settings, open_database

    settings = load_settings()
    if file.exists():
        raise Failure(f"{file} already exists. Give another name, or move it away.")
    if not file.parent.is_dir():
        raise Failure(f"There is no folder {file.parent}. Create it, or give another FILE.")
    try:
        with open_database(settings) as database, show_progress("Archiving"):
            _require_owner(database)
            _finish(database)
            seal = _archive(database, file, timedelta(days=older_than))
    except BrokenChain as broken:
        raise Failure(
            f"Nothing was archived: {broken}. Run: python -m oneself doctor --full"
        ) from broken
    record: dict[str, Any] = {"archive": None, "events": 0}
    if seal is not None:
        record = {"archive": str(file), "events": seal.last - seal.first + 1} | _record(seal)
    show(record, as_json=as_json)


@app.command()
def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Archives, the oldest first.")
    ],
    *,
    head: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Check that this head, from an old log line, is in them."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify archives, and that each continues the one before. Needs the root secret only.

    The first file need not be the first archive; `first` says which link it begins with.
    """
    from oneself.commands.console.session_setup import load_settings
    from oneself.commands.doctor.event_chain import parse_head
    from oneself.runtime.key_file import open_keyring

    expected = None if head is None else parse_head(head)
    keys = open_keyring(load_settings(), make=False)
    records, problems, has_head = [], [], expected is None
    last: Seal | None = None
    for file in files:
        report = _verify(file, keys, head=expected)
        problems += [f"{file}: {problem}" for problem in report.problems]
        has_head = has_head or report.has_head
        if report.seal is None:
            continue
        if last is not None and (report.seal.first, report.seal.before) != (
            last.last + 1,
            last.head,
        ):
            problems.append(f"{file} does not continue the file before it")
        last = report.seal
        records.append({"archive": str(file)} | _record(report.seal))
    if not has_head:
        problems.append("--head is not in the files")
    if as_json:
        show({"archives": records, "problems": problems}, as_json=True)
    else:
        show({record["archive"]: record for record in records}, as_json=False)
    if problems:
        raise Failure("; ".join(problems) + ". Compare the files with another copy.")


def _archive(database: "Database", file: Path, age: timedelta) -> "Seal | None":
    """Write, verify and seal a file, and then delete its events; None if there are none."""
    from accounts.jobs.event_archive import BrokenChain, archive_lines, find_part, seal_part
    from oneself.runtime.durable_files import put, write_lines
    from oneself.runtime.jobs import run_act

    unfinished = file.with_name(f"{file.name}.part")
    with database.transaction(writing=False, snapshot=True) as session:
        keys, part = session.keys, find_part(session, chained_before=session.now - age)
        if part is None:
            return None
        with closing(archive_lines(session, part)) as lines:
            write_lines(unfinished, lines)
    report = _verify(unfinished, keys)
    if report.seal is None or report.problems:
        raise BrokenChain(f"{unfinished} was not written as it should be")
    put(unfinished, file)
    seal = report.seal
    try:
        run_act(database, lambda session: seal_part(session, seal))
    except BrokenChain:
        file.unlink()
        raise
    _delete(database, part)
    return seal


def _finish(database: "Database") -> None:
    """Delete what an earlier run has sealed and not deleted."""
    from accounts.jobs.event_archive import find_rest

    with database.transaction(writing=False, snapshot=True) as session:
        rest = find_rest(session)
    _delete(database, rest)


def _delete(database: "Database", part: "Part | None") -> None:
    """Delete a sealed part, in transactions that no writer waits long for."""
    import time
    from functools import partial

    from accounts.jobs.event_archive import delete_sealed
    from oneself.runtime.jobs import PAUSE, run_act

    while part is not None:
        part = run_act(database, partial(delete_sealed, part=part))
        time.sleep(PAUSE)


def _verify(file: Path, keys: Any, *, head: bytes | None = None) -> "ArchiveReport":
    from accounts.jobs.event_archive import verify_archive

    with file.open("rb") as lines:
        return verify_archive(lines, keys, head=head)


def _require_owner(database: "Database") -> None:
    """Check before the work that this role may seal; on SQLite every role may."""
    with database.transaction(writing=False) as session:
        if session.core.dialect.name == "sqlite":
            return
        may_seal = session.core.exec_driver_sql(
            "SELECT has_table_privilege('event_seal', 'INSERT')"
        ).scalar()
    if not may_seal:
        raise Failure(
            "This role may not delete events. Set ONESELF_DATABASE_URL to that of the role that"
            " owns the tables (oneself_owner)."
        )


def _record(seal: "Seal") -> dict[str, Any]:
    return {
        "first": seal.first,
        "last": seal.last,
        "sealed_at": seal.sealed_at,
        "head": seal.head.hex(),
    }
