"""Looking whether all is well with an installation, and what to do where it is not."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.failures import REFUSED, USAGE, Failure, explain
from oneself.commands.output import AsJson, show, waiting

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row

    from accounts.database import AccountSession
    from oneself.settings import Settings

__all__ = ["doctor"]

_DIGEST_BYTES = 32
_KEY_FILE = "secret.key"
_PATIENCE = timedelta(minutes=10)
_MOST_TOLD = 5

# From and before which version a reset of the WAL does not corrupt the file; the first two are
# backports (https://sqlite.org/wal.html#walresetbug).
_FIXED = (((3, 44, 6), (3, 45)), ((3, 50, 7), (3, 51)), ((3, 51, 3), (99,)))

#: They refuse to change or delete an event (LO-04), and no comparison of tables looks at them.
_EVENT_TABLES = ("security_event", "event_link")
_TRIGGERS = {f"{table}_no_{verb}" for table in _EVENT_TABLES for verb in ("update", "delete")}


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one check found; `to_do` says how to put it right, unless `found` does already."""

    ok: bool
    found: str
    to_do: str | None = None

    def __str__(self) -> str:
        said = f"ok: {self.found}" if self.ok else f"PROBLEM: {self.found}"
        return said if self.to_do is None else f"{said}\n{self.to_do}"


def _good(found: str) -> _Finding:
    return _Finding(ok=True, found=found)


def _wrong(found: str, to_do: str | None = None) -> _Finding:
    return _Finding(ok=False, found=found, to_do=to_do)


_NOT_YET = _wrong("not checked", "Put right what is wrong above first.")
_Check = Callable[["AccountSession"], _Finding]


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

    expected = None if head is None else _parse(head)
    settings = load_settings()
    require_file(settings.sqlite_path)
    with waiting("Checking"):
        findings = _examine(settings, expected)
    wrong = sum(not finding.ok for finding in findings.values())
    record: dict[str, Any] = {name: str(finding) for name, finding in findings.items()}
    if as_json:
        checks = {name: asdict(finding) for name, finding in findings.items()}
        record = {"all_is_well": not wrong, "checks": checks}
    show(record, as_json=as_json)
    if wrong:
        raise Failure(f"{wrong} of {len(findings)} checks found something wrong.", status=REFUSED)


def _parse(head: str) -> bytes:
    try:
        digest = bytes.fromhex(head)
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise Failure("--head must be the 64 hex digits that the log has as head.", status=USAGE)
    return digest


def _examine(settings: "Settings", head: bytes | None) -> dict[str, _Finding]:
    """Do each check; those that need the tables and the keys only where these are there."""
    from oneself.transactions import open_engine  # noqa: PLC0415 # slow

    findings = {"sqlite_library": _library()}
    engine = open_engine(settings.sqlite_path)
    for name, look in {
        "journal_mode": _journal_mode,
        "integrity": _integrity,
        "foreign_keys": _foreign_keys,
        "tables": _tables,
    }.items():
        findings[name] = _try(partial(look, engine))
    engine.dispose()
    findings["key_file"] = _try(partial(_key_file, settings))
    needed = [findings["tables"], findings["key_file"]]
    checks: dict[str, _Check] = {
        "root_key": _root_key,
        "event_chain": partial(_event_chain, head=head),
        "outbox": _outbox,
        "signing_key": _signing_key,
    }
    for name, check in checks.items():
        unchecked = not all(finding.ok for finding in needed)
        findings[name] = _NOT_YET if unchecked else _try(partial(_read, settings, check))
        needed.append(findings["root_key"])
    findings["policies"] = _try(partial(_policies, settings))
    return findings


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
    found = f"SQLite {driver.sqlite_version} of {driver.__name__.partition('.')[0]}"
    if any(first <= version < end for first, end in _FIXED):
        return _good(found)
    return _wrong(
        f"{found}, in which a reset of the WAL can corrupt the database",
        "Install pysqlite3 0.6.1 or newer, or a Python with SQLite 3.51.3 or newer.",
    )


def _ask(engine: "Engine", question: str) -> "Sequence[Row[Any]]":
    with engine.connect() as connection:
        return connection.exec_driver_sql(question).all()


def _journal_mode(engine: "Engine") -> _Finding:
    ((mode,),) = _ask(engine, "PRAGMA journal_mode")
    if mode == "wal":
        return _good("WAL")
    return _wrong(f"{mode}, not WAL", "Put the database on a local disk, where WAL is possible.")


def _integrity(engine: "Engine") -> _Finding:
    found = [str(row[0]) for row in _ask(engine, "PRAGMA integrity_check")]
    if found == ["ok"]:
        return _good("the file is whole")
    return _wrong(
        "; ".join(found[:_MOST_TOLD]),
        "Stop the service, keep a copy of the file, and restore the last backup.",
    )


def _foreign_keys(engine: "Engine") -> _Finding:
    broken = _ask(engine, "PRAGMA foreign_key_check")
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
    if present != REVISION:
        found = f"revision {present}, and this version works with {REVISION}"
        return _wrong(found, "Copy the database, then run: python -m oneself db upgrade")
    triggers = _ask(engine, "SELECT name FROM sqlite_master WHERE type = 'trigger'")
    missing = _TRIGGERS - {row[0] for row in triggers}
    wrong = migrations.differences(engine) + [f"no trigger {name}" for name in sorted(missing)]
    if wrong:
        return _wrong(
            f"revision {present}, with differences: {', '.join(wrong)}",
            "Something else has changed the tables. Compare them with those of the last backup.",
        )
    return _good(f"revision {present}")


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


def _read(settings: "Settings", check: _Check) -> _Finding:
    """Do a check. What opens the database for other commands would note the root secret in it."""
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
        return _wrong("there is none in the database yet", "Start the service once.")
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

    waits = col(OutboxMessage.delivered_at).is_(None) & col(OutboxMessage.gave_up_at).is_(None)
    too_long = col(OutboxMessage.created_at) < session.now - _PATIENCE
    late = session.exec(select(func.count(col(OutboxMessage.id))).where(waits, too_long)).one()
    if not late:
        return _good("no message waits for longer than ten minutes")
    return _wrong(
        f"{late} messages have waited for longer than ten minutes",
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
