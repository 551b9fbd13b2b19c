"""The command line: `oneself-conformance`."""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from oneself_conformance.commands import offline
from oneself_conformance.commands.offline import UsageError
from oneself_conformance.levels import Level
from oneself_conformance.options import SUITES, VERIFY, build_parser, build_verify_parser

if TYPE_CHECKING:
    from oneself_conformance.actors import Actors, Operator
    from oneself_conformance.reports.folder import RunFolder
    from oneself_conformance.reports.run import RunReport
    from oneself_conformance.suite import Suite
    from oneself_conformance.targets import Deployment

__all__ = ["main"]

_USAGE = 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DEMO = "Create it on the deployment, with: python -m oneself demo --json"


class _InterruptedError(BaseException):
    """A signal ended the run; its number is the argument."""


def main(arguments: Sequence[str] | None = None, *, program: str = "oneself-conformance") -> int:
    """Run the command, and return its exit status."""
    given = sys.argv[1:] if arguments is None else [*arguments]
    try:
        return _run(given, program)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE


def _run(given: list[str], program: str) -> int:
    if given[:1] == [VERIFY]:
        return offline.verify_folder(build_verify_parser(program).parse_args(given[1:]))
    parser = build_parser(program)
    options = parser.parse_args(given)
    if options.url is None and not options.export:
        parser.error("the following arguments are required: --url")
    hold = _check_selection(options)
    if options.export:
        return offline.export_rows(options, hold)
    with tempfile.TemporaryDirectory() as private, ExitStack() as stack:
        run = _prepare(options, hold, Path(private) / "users.json", stack)
        report, folder = _run_suites(run, options)
        with _ignored_signals():
            return _report(report, folder, options)


def _check_selection(options: argparse.Namespace) -> Level:
    """Check the options that name parts of the document, and return the level to hold to."""
    tags = [tag["name"] for tag in offline.read_document(options.document)["tags"]]
    if options.dialect not in {None, *tags}:
        raise UsageError(f"--dialect must be one of {', '.join(tags)}.")
    # Imported now, because it reads the document.
    from oneself_conformance.operations import OPERATIONS  # noqa: PLC0415

    if unknown := {*(options.operation or ())} - OPERATIONS.keys():
        raise UsageError(f"The document has no operation {', '.join(sorted(unknown))}.")
    return _hold(options)


def _prepare(
    options: argparse.Namespace, hold: Level, users_file: Path, stack: ExitStack
) -> "Suite":
    """Check the options, the deployment and its users."""
    # Imported now, because they read the document.
    from oneself_conformance import credentials_file, recipe, suite  # noqa: PLC0415
    from oneself_conformance.commands.reachability import find_connection_problem  # noqa: PLC0415
    from oneself_conformance.traffic import Recorder  # noqa: PLC0415

    try:
        deployment = credentials_file.open_deployment(
            options.url,
            _users(options),
            behind_proxy=options.behind_proxy,
            hold=hold,
            recipe=recipe.read_recipe(options.recipe) if options.recipe else recipe.Recipe(),
            **({"timeout": options.timeout, "is_strict": True} if options.timeout else {}),
        )
    except ValueError as problem:
        raise UsageError(f"{problem}.") from problem
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}. {_DEMO}") from error
    if "GITHUB_ACTIONS" in os.environ:
        deployment.mask.announce_to(_hide_in_actions)
    for name, values in deployment.actors.items():
        deployment.mask.add(name, values)
    if (connection_problem := find_connection_problem(deployment)) is not None:
        raise UsageError(
            f"{deployment.url} cannot be reached: {connection_problem}. Check that the deployment"
            " runs, and that --url is its address."
        )
    # The fuzzer writes what it changes; the file that was given stays as it is.
    credentials_file.write_credentials(users_file, deployment.actors)
    operator = _start_operator(options, stack)
    return suite.Suite(
        deployment,
        users_file,
        operator=operator,
        dialect=options.dialect,
        suites=tuple(options.suite or _suites(hold)),
        examples=options.examples,
        seeds=tuple(options.seed or (1,)),
        operations=frozenset(options.operation) if options.operation else None,
        promise=options.promise,
        actors=_known_users(deployment, operator, options.dialect),
        recorder=Recorder() if options.output else None,
    )


def _hide_in_actions(secret: str) -> None:
    """Let GitHub hide a secret in the log of a job, as a workflow command has it."""
    escaped = secret.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    sys.stderr.write(f"::add-mask::{escaped}\n")


def _hold(options: argparse.Namespace) -> Level:
    if options.hold is None:
        return Level.STANDARD if options.dialect else Level.HOUSE
    hold = Level[options.hold.upper()]
    if hold is not Level.HOUSE and options.dialect is None:
        raise UsageError(f"--hold {options.hold} needs --dialect: a page is about one dialect.")
    return hold


def _suites(hold: Level) -> Sequence[str]:
    """Return the suites that have assertions of these levels."""
    count = {Level.PUBLISHED: 1, Level.STANDARD: 2}.get(hold, len(SUITES))
    return SUITES[:count]


def _users(options: argparse.Namespace) -> Mapping[str, Mapping[str, str]]:
    """Return the users of the file, with the one of the options as `base`."""
    from oneself_conformance.credentials_file import read_credentials  # noqa: PLC0415

    users: Mapping[str, Mapping[str, str]] = {}
    if options.credentials is not None:
        users = read_credentials(options.credentials)
    given = {}
    if options.token:
        names = ("access_token",) if options.dialect == "hyperclast" else ("session_token", "jwt")
        given = dict.fromkeys(names, options.token)
    if options.email:
        given["email"] = options.email
    if options.password_env:
        if options.password_env not in os.environ:
            raise UsageError(f"There is no environment variable {options.password_env}.")
        given["password"] = os.environ[options.password_env]
    if not users and not given:
        raise UsageError(
            "There is no user to test with: give --credentials FILE, --token, or --email with"
            " --password-env."
        )
    return {**users, "base": {**users.get("base", {}), **given}}


def _start_operator(options: argparse.Namespace, stack: ExitStack) -> "Operator | None":
    """Start the operator's command, which ends with the stack."""
    from oneself_conformance.operator_process import OperatorFailed, start_operator  # noqa: PLC0415

    if options.operator is None:
        return None
    try:
        return stack.enter_context(start_operator(options.operator))
    except OperatorFailed as problem:
        raise UsageError(f"{problem}.") from problem


def _known_users(
    deployment: "Deployment", operator: "Operator | None", dialect: str | None
) -> "Actors":
    """Return the users, after a request with the credentials of the first."""
    from oneself_conformance.actors import Actors  # noqa: PLC0415
    from oneself_conformance.commands.preflight import find_user_problem  # noqa: PLC0415

    users = Actors(deployment, operator)
    try:
        problem = find_user_problem(deployment, users, dialect)
    except (OSError, HTTPException) as error:
        problem = f"there is no response ({type(error).__name__})"
    if problem is not None:
        raise UsageError(
            f"The user base is not known to {deployment.url}: {problem}. Give a user of this"
            " deployment; a recipe with log_in can renew its token."
        )
    return users


def _run_suites(run: "Suite", options: argparse.Namespace) -> "tuple[RunReport, RunFolder | None]":
    """Run all steps of the suites, and show the progress on standard error and in the log."""
    from oneself_conformance.outcomes import Verdict  # noqa: PLC0415
    from oneself_conformance.reports.folder import RunFolder  # noqa: PLC0415
    from oneself_conformance.reports.progress import Progress  # noqa: PLC0415
    from oneself_conformance.reports.run import RunReport  # noqa: PLC0415

    report = RunReport(run)
    folder = RunFolder(options.output, report) if options.output else None
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Progress(sys.stderr) as progress:
            for step in run.steps():
                report.add(step)
                if folder:
                    folder.log(step)
                progress.show(step, report.outcomes)
                failed = any(each.verdict is Verdict.FAILED for each in step.outcomes)
                if failed and options.fail_fast:
                    report.ended_by = "--fail-fast"
                    break
    except KeyboardInterrupt:
        report.ended_by, report.signal = "Ctrl-C", signal.SIGINT
    except _InterruptedError:
        report.ended_by, report.signal = "SIGTERM", signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, previous)
    return report, folder


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise _InterruptedError(number)


@contextmanager
def _ignored_signals() -> Iterator[None]:
    """Let the reports be written: a job that is cancelled gets one signal after another."""
    previous = {each: signal.signal(each, signal.SIG_IGN) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)


def _advice(*, is_own: bool) -> str:
    """Return what to set for a deployment whose limits the tests have met."""
    if not is_own:
        return "Raise its rate limits, or test it when it is idle; --timeout sets a longer time.\n"
    from oneself_conformance.targets import RATE_LIMITS  # noqa: PLC0415

    values = " ".join(f"{name}={value}" for name, value in RATE_LIMITS.items())
    return f"Start it with serve --for-conformance, or set its rate limits: export {values}\n"


def _report(report: "RunReport", folder: "RunFolder | None", options: argparse.Namespace) -> int:
    """Write the reports, and return the exit status."""
    from oneself_conformance.reports.html import write_html  # noqa: PLC0415
    from oneself_conformance.reports.junit import write_junit  # noqa: PLC0415
    from oneself_conformance.reports.text import write_json, write_report  # noqa: PLC0415

    report.mask_again()
    if folder:
        folder.finish(options.product, options.product_version)
    if options.junit is not None:
        write_junit(report, options.junit)
    if options.html is not None:
        write_html(report, options.html)
    if options.as_json:
        write_json(report, sys.stdout)
    else:
        write_report(report, sys.stdout)
    sys.stderr.write(f"{report.verdict}\n")
    if report.is_overloaded:
        sys.stderr.write(_advice(is_own=report.is_own))
    return report.status
