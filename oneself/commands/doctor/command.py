"""Looking whether all is well with an installation, and what to do where it is not."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.check_result import CheckResult, ok, problem
from oneself.commands.console.failures import REFUSED, USAGE, Failure, explain
from oneself.commands.console.output import AsJson, show, waiting
from oneself.commands.doctor.environment import clock, disk, mail_server
from oneself.commands.doctor.unsafe_settings import find_unsafe_settings

if TYPE_CHECKING:
    from accounts.services.database import AccountSession
    from oneself.settings import Settings

__all__ = ["doctor"]

_DIGEST_BYTES = 32
_KEY_FILE = "secret.key"
_PATIENCE = timedelta(minutes=10)

_NOT_YET = problem("not checked", "Put right what is wrong above first.")
_Check = Callable[["AccountSession"], CheckResult]


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
    """Check database, keys, chain of events, clock, policies, mail, disk and settings.

    Nothing is repaired or written. It exits with 1 if anything is wrong, and says what to do.
    """
    from oneself.commands.console.session_setup import load_settings, require_file

    expected = None if head is None else _parse(head)
    settings = load_settings()
    require_file(settings.location)
    with waiting("Checking"):
        findings = _examine(settings, expected)
    problems = sum(not finding.ok for finding in findings.values())
    record: dict[str, Any] = {name: str(finding) for name, finding in findings.items()}
    if as_json:
        checks = {name: asdict(finding) for name, finding in findings.items()}
        record = {"all_is_well": not problems, "checks": checks}
    show(record, as_json=as_json)
    if problems:
        raise Failure(
            f"{problems} of {len(findings)} checks found something wrong. Each says what to do.",
            status=REFUSED,
        )


def _parse(head: str) -> bytes:
    try:
        digest = bytes.fromhex(head)
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise Failure("--head must be the 64 hex digits that the log has as head.", status=USAGE)
    return digest


def _examine(settings: "Settings", head: bytes | None) -> dict[str, CheckResult]:
    """Do each check; those that need the tables and the keys only where these are there."""
    from oneself.commands.console.storage_checks import checks_of
    from oneself.database import open_engine

    findings = {}
    engine = open_engine(settings.location, as_found=True)
    for name, look in checks_of(engine).items():
        findings[name] = _try(partial(look, engine))
    engine.dispose()
    findings["key_file"] = _try(partial(_key_file, settings))
    needed = [findings["tables"], findings["key_file"]]
    checks: dict[str, _Check] = {
        "root_key": _root_key,
        "event_chain": partial(_event_chain, head=head),
        "outbox": _outbox,
        "signing_key": _signing_key,
        "clock": clock,
    }
    for name, check in checks.items():
        unchecked = not all(finding.ok for finding in needed)
        findings[name] = _NOT_YET if unchecked else _try(partial(_read, settings, check))
        needed.append(findings["root_key"])
    around = {
        "policies": _policies,
        "mail_server": mail_server,
        "disk": disk,
        "settings": find_unsafe_settings,
    }
    for name, regard in around.items():
        findings[name] = _try(partial(regard, settings))
    return findings


def _try(check: Callable[[], CheckResult]) -> CheckResult:
    """Do a check; what an operator can do something about is a finding, and a defect is not."""
    try:
        return check()
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        return problem(str(failure))


def _key_file(settings: "Settings") -> CheckResult:
    if settings.secret_key is not None and settings.secret_key.get_secret_value():
        return ok("none: the root secret is in ONESELF_SECRET_KEY")
    path = settings.data_dir / _KEY_FILE
    # Looked for before anything opens the keys, which would make a new one.
    if not path.exists():
        return problem(
            f"{path} is not there",
            "Put it back from where it is kept: without it no credential is good any more."
            " If the database was never used, start the service, which makes one.",
        )
    if path.stat().st_mode & 0o077:
        return problem(f"others can read {path}", f"Run: chmod 600 {path}")
    return ok(f"{path}, which nobody else can read")


def _read(settings: "Settings", check: _Check) -> CheckResult:
    """Do a check. What opens the database for other commands would note the root secret in it."""
    from oneself.database import Database
    from oneself.runtime.key_file import open_keyring

    database = Database(
        settings.location, keys=open_keyring(settings), limits=settings.limits, as_found=True
    )
    try:
        with database.transaction(writing=False, snapshot=True) as session:
            return check(session)
    finally:
        database.close()


def _root_key(session: "AccountSession") -> CheckResult:
    from accounts.services.root_keys import list_roots, unknown_roots
    from oneself.runtime.key_file import UnknownRootKey

    missing = unknown_roots(session)
    if missing:
        raise UnknownRootKey(missing)
    if not list_roots(session):
        return problem("there is none in the database yet", "Start the service once.")
    return ok(f"known, key id {session.keys.key_id}")


def _event_chain(session: "AccountSession", head: bytes | None) -> CheckResult:
    from accounts.jobs.event_chain import holds_head, verify_chain

    report = verify_chain(session)
    problems = list(report.problems)
    if head is not None and not holds_head(session, head):
        problems.insert(0, "the head that was given is not in the chain: its end was cut off")
    if not problems:
        return ok(
            f"{report.checked} links, {report.unchained} events still without one, head"
            f" {report.head or 'none'}",
        )
    return problem(
        "; ".join(problems),
        "Where events have no link, see that the service runs and what its log says of the"
        " job. Otherwise somebody has changed the tables of events: keep a copy of the database"
        " and of the logs, and compare it with a backup.",
    )


def _outbox(session: "AccountSession") -> CheckResult:
    from accounts.services.outbox import count_undelivered

    late = count_undelivered(session, created_before=session.now - _PATIENCE)
    if not late:
        return ok("no message waits for longer than ten minutes")
    return problem(
        f"{late} messages have waited for longer than ten minutes",
        "See that the service runs, and what its log says of the delivery.",
    )


def _signing_key(session: "AccountSession") -> CheckResult:
    from accounts.services.signing_keys import has_active_key

    if has_active_key(session):
        return ok("one is active")
    return problem("none is active", "Start the service, which makes one.")


def _policies(settings: "Settings") -> CheckResult:
    from accounts.services.policies import InvalidPolicies
    from oneself.document import load_document
    from oneself.runtime.policy_store import read_policies

    try:
        read_policies(settings.policy_dir, load_document())
    except InvalidPolicies as invalid:
        return problem(
            "; ".join(invalid.problems),
            f"Correct it in {settings.policy_dir}, then run: python -m oneself policy check",
        )
    return ok(f"valid, from {settings.policy_dir}")
