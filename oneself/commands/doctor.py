"""Looking whether all is well with an installation, and what to do where it is not."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.failures import REFUSED, USAGE, Failure, explain
from oneself.commands.output import AsJson, show, waiting

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from accounts.database import AccountSession
    from oneself.settings import Settings

__all__ = ["doctor"]

_DIGEST_BYTES = 32
_KEY_FILE = "secret.key"
_PATIENCE = timedelta(minutes=10)
_MOST_TOLD = 5

# Where a reset of the WAL no longer corrupts the file (https://sqlite.org/wal.html#walresetbug).
_FIXED = (3, 51, 3)
_BACKPORTS = ((3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one check found; `to_do` says how to put it right, unless `found` does already."""

    ok: bool
    found: str
    to_do: str | None = None

    def __str__(self) -> str:
        if self.ok:
            return f"ok: {self.found}"
        return f"PROBLEM: {self.found}" + (f"\n{self.to_do}" if self.to_do else "")


def _good(found: str) -> _Finding:
    return _Finding(ok=True, found=found)


def _wrong(found: str, to_do: str | None = None) -> _Finding:
    return _Finding(ok=False, found=found, to_do=to_do)


def doctor(
    *,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="A head of the chain of events, as the log had it, which must still be in it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the database, the keys, the chain of events, the mail and the policies.

    Nothing is repaired or written. It exits with 1 if anything is wrong, and says what to do.
    """
    from oneself.commands.opening import load_settings, require_file  # noqa: PLC0415 # slow

    expected = _parse(head)
    settings = load_settings()
    require_file(settings.sqlite_path)
    with waiting("Checking"):
        findings = dict(_examine(settings, expected))
    wrong = sum(not finding.ok for finding in findings.values())
    record: dict[str, Any] = {name: str(finding) for name, finding in findings.items()}
    if as_json:
        checks = {name: asdict(finding) for name, finding in findings.items()}
        record = {"all_is_well": not wrong, "checks": checks}
    show(record, as_json=as_json)
    if wrong:
        raise Failure(
            f"{wrong} of {len(findings)} checks found something wrong, and say what to do.",
            status=REFUSED,
        )


def _parse(head: str | None) -> bytes | None:
    if head is None:
        return None
    try:
        digest = bytes.fromhex(head)
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise Failure(
            f"--head must be the {_DIGEST_BYTES * 2} hex digits that the log has as head.",
            status=USAGE,
        )
    return digest


def _examine(settings: "Settings", head: bytes | None) -> Iterator[tuple[str, _Finding]]:
    """Do each check; those that need the tables or the keys only where these are there."""
    from oneself.transactions import open_engine  # noqa: PLC0415 # slow

    yield "sqlite_library", _library()
    engine = open_engine(settings.sqlite_path)
    try:
        yield "journal_mode", _try(lambda: _journal_mode(engine))
        yield "integrity", _try(lambda: _integrity(engine))
        yield "foreign_keys", _try(lambda: _foreign_keys(engine))
        yield "tables", (tables := _try(lambda: _tables(engine)))
    finally:
        engine.dispose()
    yield "key_file", (key_file := _try(lambda: _key_file(settings)))
    unchecked = _wrong("not checked", "Put right what is wrong above first.")
    readable = tables.ok and key_file.ok
    root_key = _try(lambda: _read(settings, _root_key)) if readable else unchecked
    yield "root_key", root_key
    checks = {
        "event_chain": partial(_event_chain, head=head),
        "outbox": _outbox,
        "signing_key": _signing_key,
    }
    for name, check in checks.items():
        yield name, _try(partial(_read, settings, check)) if root_key.ok else unchecked
    yield "policies", _try(lambda: _policies(settings))


def _try(check: Callable[[], _Finding]) -> _Finding:
    """Do a check; what an operator can do something about is a finding, and a defect is not."""
    try:
        return check()
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        return _wrong(str(failure))


def _library() -> _Finding:
    from oneself.transactions import sqlite_driver  # noqa: PLC0415 # slow

    driver = sqlite_driver()
    version = tuple(map(int, driver.sqlite_version.split(".")))
    fixed = version >= _FIXED or any(
        version[:2] == backport[:2] and version >= backport for backport in _BACKPORTS
    )
    found = f"SQLite {driver.sqlite_version} of {driver.__name__.partition('.')[0]}"
    if fixed:
        return _good(found)
    return _wrong(
        f"{found}, in which a reset of the WAL can corrupt the database",
        "Install pysqlite3 0.6.1 or newer, or a Python with SQLite 3.51.3 or newer.",
    )


def _journal_mode(engine: "Engine") -> _Finding:
    with engine.connect() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    if mode == "wal":
        return _good("WAL")
    return _wrong(f"{mode}, not WAL", "Put the database on a local disk, where WAL is possible.")


def _integrity(engine: "Engine") -> _Finding:
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
    if found == ["ok"]:
        return _good("the file is whole")
    return _wrong(
        "; ".join(map(str, found[:_MOST_TOLD])),
        "Stop the service, keep a copy of the file, and restore the last backup.",
    )


def _foreign_keys(engine: "Engine") -> _Finding:
    with engine.connect() as connection:
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if not broken:
        return _good("every row refers to rows that are there")
    tables = ", ".join(sorted({row[0] for row in broken}))
    return _wrong(
        f"{len(broken)} rows refer to rows that are not there, in: {tables}",
        "Something else has written to the database. Compare it with the last backup.",
    )


def _tables(engine: "Engine") -> _Finding:
    from models.schema import REVISION  # noqa: PLC0415 # slow
    from oneself import migrations  # noqa: PLC0415

    present = migrations.present_revision(engine)
    differences = migrations.differences(engine)
    if present == REVISION and not differences:
        return _good(f"revision {present}")
    found = f"revision {present}, and this version works with {REVISION}"
    if present == REVISION:
        found = f"revision {present}, with differences: {', '.join(differences)}"
    return _wrong(found, "Copy the database, then run: python -m oneself db upgrade")


def _key_file(settings: "Settings") -> _Finding:
    if settings.secret_key is not None and settings.secret_key.get_secret_value():
        return _good("none: the root secret is in ONESELF_SECRET_KEY")
    path = settings.data_dir / _KEY_FILE
    # Looked for before anything opens the keys, which would make a new one.
    if not path.exists():
        return _wrong(
            f"{path} is not there",
            "Put it back from where it is kept: without it no credential is good any more."
            " If the database was never used, start the service, which makes one.",
        )
    if path.stat().st_mode & 0o077:
        return _wrong(f"others can read {path}", f"Run: chmod 600 {path}")
    return _good(f"{path}, which nobody else can read")


def _read(settings: "Settings", check: Callable[["AccountSession"], _Finding]) -> _Finding:
    """Do a check in a transaction that only reads.

    What opens the database for other commands also writes down which root secret is in use.
    """
    from oneself.keys import open_keyring  # noqa: PLC0415 # slow
    from oneself.transactions import Database  # noqa: PLC0415

    database = Database(settings.sqlite_path, keys=open_keyring(settings), rules=settings.rules)
    try:
        with database.transaction(writing=False) as session:
            return check(session)
    finally:
        database.close()


def _root_key(session: "AccountSession") -> _Finding:
    from sqlmodel import select  # noqa: PLC0415 # slow

    from accounts.rekeying import unknown_roots  # noqa: PLC0415
    from models import RootKey  # noqa: PLC0415
    from oneself.keys import UnknownRootKey  # noqa: PLC0415

    missing = unknown_roots(session)
    if missing:
        raise UnknownRootKey(missing)
    if session.exec(select(RootKey)).first() is None:
        return _wrong(
            "the database has not been used with a root secret yet",
            "Start the service once.",
        )
    return _good(f"known, key id {session.keys.key_id}")


def _event_chain(session: "AccountSession", head: bytes | None) -> _Finding:
    from accounts.event_chain import holds_head, verify_chain  # noqa: PLC0415 # slow

    report = verify_chain(session)
    problems = list(report.problems)
    if head is not None and not holds_head(session, head):
        problems.insert(0, "the head that was given is not in the chain: its end was cut off")
    if not problems:
        return _good(
            f"{report.checked} links, {report.unchained} events still without one, head"
            f" {report.head or 'none'}",
        )
    return _wrong(
        "; ".join(problems),
        "Where events have no link, see that the service runs and what its log says of the"
        " job. Otherwise somebody has changed the tables of events: keep a copy of the database"
        " and of the logs, and compare it with a backup.",
    )


def _outbox(session: "AccountSession") -> _Finding:
    from sqlalchemy import func  # noqa: PLC0415 # slow
    from sqlmodel import col, select  # noqa: PLC0415

    from models import OutboxMessage  # noqa: PLC0415

    waiting_too_long = session.exec(
        select(func.count())
        .select_from(OutboxMessage)
        .where(
            col(OutboxMessage.delivered_at).is_(None),
            col(OutboxMessage.created_at) < session.now - _PATIENCE,
        )
    ).one()
    if not waiting_too_long:
        return _good("no message waits for longer than ten minutes")
    return _wrong(
        f"{waiting_too_long} messages have waited for longer than ten minutes",
        "See that the service runs, and what its log says of the delivery.",
    )


def _signing_key(session: "AccountSession") -> _Finding:
    from sqlmodel import col, select  # noqa: PLC0415 # slow

    from models import SigningKey  # noqa: PLC0415

    retires_at = col(SigningKey.retires_at)
    kid = session.exec(
        select(col(SigningKey.kid)).where(
            col(SigningKey.active_from) <= session.now,
            retires_at.is_(None) | (retires_at > session.now),
        )
    ).first()
    if kid is not None:
        return _good("one is active")
    return _wrong("none is active", "Start the service, which makes one.")


def _policies(settings: "Settings") -> _Finding:
    from accounts.policy import InvalidPolicies  # noqa: PLC0415 # slow
    from oneself.document import load_document  # noqa: PLC0415
    from oneself.policies import read_policies  # noqa: PLC0415

    try:
        read_policies(settings.policy_dir, load_document())
    except InvalidPolicies as invalid:
        return _wrong(
            "; ".join(invalid.problems),
            f"Correct it in {settings.policy_dir}, then run: python -m oneself policy check",
        )
    return _good(f"valid, from {settings.policy_dir}")
