"""`doctor`: check an installation, and say how to fix each problem."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.check_result import CheckResult, ok, problem
from oneself.commands.console.failures import USAGE, Failure, explain
from oneself.commands.console.output import AsJson, show, show_progress
from oneself.commands.doctor.machine import descriptors, disk
from oneself.commands.doctor.server import checks_of_server
from oneself.commands.doctor.unsafe_settings import find_unsafe_settings

if TYPE_CHECKING:
    from accounts.services.database import AccountSession
    from oneself.settings import Settings

_DIGEST_BYTES = 32
_KEY_FILE = "secret.key"
_MAX_OUTBOX_AGE = timedelta(minutes=10)
_GROUP_AND_OTHERS = 0o077
#: Clocks set by NTP differ by less than this.
_CLOCK_TOLERANCE = timedelta(minutes=1)

_Check = Callable[["AccountSession"], CheckResult]


def doctor(
    *,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="Check that this head, taken from an old log line, is still in the chain of"
            " events.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the database, keys, events, clock, policies, mail, disk and settings.

    Nothing is changed. If there is a problem, the exit status is 1, and the output says what to do.
    """
    from oneself.commands.console.session_setup import load_settings, require_file

    expected = None if head is None else _parse_head(head)
    settings = load_settings()
    require_file(settings.location)
    with show_progress("Checking"):
        results = _run_checks(settings, expected)
    skipped = sum(result.skipped for result in results.values())
    problems = sum(not result.ok for result in results.values()) - skipped
    if as_json:
        checks = {name: asdict(result) for name, result in results.items()}
        show({"all_is_well": not problems, "checks": checks}, as_json=True)
    else:
        show({name: str(result) for name, result in results.items()}, as_json=False)
    if problems:
        counts = f"{problems} of {len(results)} checks found a problem"
        if skipped:
            counts += f", {skipped} could not run"
        raise Failure(f"{counts}. The output says what to do.")


def _parse_head(head: str) -> bytes:
    try:
        digest = bytes.fromhex(head)
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST_BYTES:
        raise Failure("--head must be the 64 hex digits of a `head` in the log.", status=USAGE)
    return digest


def _run_checks(settings: "Settings", head: bytes | None) -> dict[str, CheckResult]:
    """Run all checks; those that read rows only if the tables and the keys are usable."""
    from oneself.commands.console.session_setup import using_engine
    from oneself.commands.console.storage_checks import checks_for

    with using_engine(settings.location, read_only=True) as engine:
        checks_of_storage = {**checks_for(engine), **checks_of_server(settings.location)}
        results = {
            name: _run_check(partial(check, engine)) for name, check in checks_of_storage.items()
        }
    results["key_file"] = _run_check(partial(_key_file, settings))
    prerequisites = [results["tables"], results["key_file"]]
    checks: dict[str, _Check] = {
        "root_key": _root_key,
        "event_chain": partial(_event_chain, head=head),
        "outbox": _outbox,
        "signing_key": _signing_key,
        "clock": _clock,
    }
    for name, check in checks.items():
        if all(result.ok for result in prerequisites):
            results[name] = _run_check(partial(_check_database, settings, check))
        else:
            to_do = "Fix the problems above first."
            results[name] = CheckResult(ok=False, found="not checked", to_do=to_do, skipped=True)
        prerequisites.append(results["root_key"])
    environment_checks = {
        "policies": _policies,
        "mail_server": _mail_server,
        "disk": disk,
        "descriptors": descriptors,
        "settings": find_unsafe_settings,
    }
    return results | {
        name: _run_check(partial(check_settings, settings))
        for name, check_settings in environment_checks.items()
    }


def _run_check(check: Callable[[], CheckResult]) -> CheckResult:
    """Run a check, and report an error that an operator can fix as a problem."""
    try:
        return check()
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        return problem(str(failure))


def _key_file(settings: "Settings") -> CheckResult:
    if settings.secret_key:
        return ok("none: the root secret is in ONESELF_SECRET_KEY")
    from oneself.runtime.key_file import stored_roots

    path, location = settings.data_dir / _KEY_FILE, settings.location
    if not path.exists():
        if isinstance(location, Path) and not stored_roots(location):
            return problem(f"{path} is missing", "Start the service, which creates it.")
        return problem(
            f"{path} is missing, and ONESELF_SECRET_KEY is not set",
            "Restore it from your copy, or set the variable: without the root secret no credential"
            " works, and the service does not start.",
        )
    if path.stat().st_mode & _GROUP_AND_OTHERS:
        return problem(f"other users can read {path}", f"Run: chmod 600 {path}")
    return ok(f"{path}, readable by its owner only")


def _check_database(settings: "Settings", check: _Check) -> CheckResult:
    """Run a check on the rows, without recording the root secret as `open_database` would."""
    from oneself.database import Database
    from oneself.runtime.key_file import open_keyring

    keys = open_keyring(settings, make=False)
    with (
        closing(
            Database(settings.location, keys=keys, limits=settings.limits, read_only=True)
        ) as database,
        database.transaction(writing=False, snapshot=True) as session,
    ):
        return check(session)


def _root_key(session: "AccountSession") -> CheckResult:
    from accounts.services.root_keys import find_unknown_roots, list_roots
    from oneself.runtime.key_file import UnknownRootKey

    missing = find_unknown_roots(session)
    if missing:
        raise UnknownRootKey(missing)
    if not list_roots(session):
        return problem("the database has none yet", "Start the service once.")
    return ok(f"known, key id {session.keys.key_id}")


def _event_chain(session: "AccountSession", head: bytes | None) -> CheckResult:
    from accounts.jobs.event_chain import contains_head, verify_chain

    report = verify_chain(session)
    problems = list(report.problems)
    if head is not None and not contains_head(session, head):
        problems.insert(0, "--head is not in the chain: events at its end were deleted")
    if not problems:
        return ok(
            f"{report.checked} links, {report.unchained} events not linked yet, head"
            f" {report.head or 'none'}"
        )
    return problem(
        "; ".join(problems),
        "If events have no link, check that the service runs, and what its log says about the"
        " job. Otherwise the event tables were tampered with: keep a copy of the database and of"
        " the logs, and compare it with a backup.",
    )


def _outbox(session: "AccountSession") -> CheckResult:
    from accounts.services.mail.outbox import count_undelivered

    overdue = count_undelivered(session, created_before=session.now - _MAX_OUTBOX_AGE)
    if not overdue:
        return ok("no email has waited for more than ten minutes")
    return problem(
        f"{overdue} emails have waited for more than ten minutes",
        "Check that the service runs, and what its log says about the delivery.",
    )


def _signing_key(session: "AccountSession") -> CheckResult:
    from accounts.services.signing_keys import has_active_key

    if has_active_key(session):
        return ok("one is active")
    return problem("none is active", "Start the service, which creates one.")


def _clock(session: "AccountSession") -> CheckResult:
    """Check that no event is in the future by this machine's clock.

    Otherwise the clock went back, or another replica's clock is ahead, and credentials live longer
    than they should. No time server is queried, since it would have to be trusted.
    """
    from accounts.services.events import latest_event_time

    latest = latest_event_time(session)
    if latest is not None and latest > session.now + _CLOCK_TOLERANCE:
        ahead = (latest - session.now).total_seconds()
        return problem(
            f"the last event is {ahead:,.0f} seconds ahead of this machine's clock",
            "Synchronise the clocks of all replicas with NTP.",
        )
    return ok(f"{session.now:%Y-%m-%d %H:%M:%S} UTC, and no event is later")


def _policies(settings: "Settings") -> CheckResult:
    from accounts.services.policies.policy_set import InvalidPolicies
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


def _mail_server(settings: "Settings") -> CheckResult:
    """Check that the mail server accepts a connection with TLS and the login."""
    from oneself.mail.factory import open_messages
    from oneself.mail.smtp import parse_smtp_url
    from oneself.mail.transport import TransportUnavailable

    open_messages(settings)
    if not settings.smtp_url:
        return ok(f"none: emails are written to {settings.data_dir / 'mail'}")
    url = settings.smtp_url.get_secret_value()
    try:
        server = parse_smtp_url(url, ca_file=settings.smtp_ca_file, seconds=settings.smtp_seconds)
        server.greet()
    except ValueError as error:
        return problem(f"ONESELF_SMTP_URL {error}", "Correct it.")
    except TransportUnavailable as error:
        return problem(
            f"{server.host}, port {server.port}: {error}",
            "Check ONESELF_SMTP_URL, and that the server can be reached from here. Until then,"
            " emails wait in the outbox.",
        )
    return ok(f"{server.host}, port {server.port}, accepts connections")
