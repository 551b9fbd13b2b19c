"""The command line: `oneself-conformance`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from oneself_conformance.document import SOURCE_VARIABLE, load_document

if TYPE_CHECKING:
    from oneself_conformance.outcomes import Outcome
    from oneself_conformance.suite import Suite

__all__ = ["SUITES", "build_parser", "main"]

#: Repeated, so that the help imports nothing slow.
SUITES = ("rows", "probes", "fuzz")
_FAILED, _USAGE = 1, 2


class _UsageError(Exception):
    """The tests cannot begin; the message says why, and what to do."""


def main(arguments: Sequence[str] | None = None, *, program: str = "oneself-conformance") -> int:
    """Run the command, and return its exit status."""
    options = build_parser(program).parse_args(arguments)
    if options.document:
        # Read when the other modules are imported.
        os.environ[SOURCE_VARIABLE] = options.document
    try:
        run = _prepare(options)
    except _UsageError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE
    return _report(_run_suites(run), run.deployment.url, options)


def build_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        program,
        description="Test a running deployment against the OpenAPI document.",
        epilog="Use a test deployment only: the tests create accounts, change the users in the"
        " credentials file, and send hostile input. Exit status: 0 success; 1 a test failed;"
        " 2 the tests cannot begin, with the reason on standard error.",
    )
    add = parser.add_argument
    add("--url", required=True, help="URL of the deployment, such as https://account.example.com")
    add(
        "--credentials",
        required=True,
        type=Path,
        metavar="FILE",
        help="users of the deployment, as printed by `python -m oneself demo --json`",
    )
    add("--document", metavar="URL|FILE", help="another document than that of this package")
    add("--dialect", type=str.lower, help="test only this dialect, such as hyperclast")
    add(
        "--suite",
        action="append",
        type=str.lower,
        choices=SUITES,
        help="run only this suite; can be repeated",
    )
    add(
        "--examples",
        type=_positive,
        default=25,
        metavar="N",
        help="generated requests for each operation and credential (25)",
    )
    add("--seed", action="append", type=int, help="seed of the generator; can be repeated")
    add(
        "--behind-proxy",
        action="store_true",
        help="allow a reverse proxy to set Server, Via and Connection",
    )
    add("--junit", type=_report_file, metavar="FILE", help="write a JUnit XML report")
    add("--html", type=_report_file, metavar="FILE", help="write an HTML report")
    add("--json", action="store_true", dest="as_json", help="print the report as JSON")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _report_file(text: str) -> Path:
    # Checked before the tests, which take minutes.
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _prepare(options: argparse.Namespace) -> "Suite":
    """Check the options, and that the deployment can be reached."""
    try:
        tags = [tag["name"] for tag in load_document()["tags"]]
    except (OSError, ValueError) as error:
        raise _UsageError(f"The document cannot be read: {error}.") from error
    if options.dialect not in {None, *tags}:
        raise _UsageError(f"--dialect must be one of {', '.join(tags)}.")
    # Imported now, because they read the document.
    from oneself_conformance import credentials_file  # noqa: PLC0415
    from oneself_conformance.reachability import find_connection_problem  # noqa: PLC0415
    from oneself_conformance.suite import Suite  # noqa: PLC0415

    try:
        deployment = credentials_file.open_deployment(
            options.url, options.credentials, behind_proxy=options.behind_proxy
        )
    except (credentials_file.WrongUrl, credentials_file.WrongCredentials) as problem:
        raise _UsageError(f"{problem}.") from problem
    except OSError as error:
        raise _UsageError(
            f"{options.credentials} cannot be read: {error.strerror}. Create it on the deployment,"
            " with: python -m oneself demo --json"
        ) from error
    if (connection_problem := find_connection_problem(deployment)) is not None:
        raise _UsageError(
            f"{deployment.url} cannot be reached: {connection_problem}. Check that the deployment"
            " runs, and that --url is its address."
        )
    return Suite(
        deployment,
        options.credentials,
        dialect=options.dialect,
        suites=tuple(options.suite or SUITES),
        examples=options.examples,
        seeds=tuple(options.seed or (1,)),
    )


def _run_suites(run: "Suite") -> "list[Outcome]":
    """Run all steps of the suites, and show the progress on standard error."""
    from oneself_conformance.progress import Progress  # noqa: PLC0415

    outcomes: list[Outcome] = []
    with Progress(sys.stderr) as progress:
        for step in run.steps():
            outcomes += step.outcomes
            progress.show(step, outcomes)
    return outcomes


def _report(outcomes: "list[Outcome]", url: str, options: argparse.Namespace) -> int:
    """Write the reports, and return the exit status."""
    from oneself_conformance.outcomes import Verdict  # noqa: PLC0415
    from oneself_conformance.reports.html import write_html  # noqa: PLC0415
    from oneself_conformance.reports.junit import write_junit  # noqa: PLC0415
    from oneself_conformance.reports.text import counts, write_report  # noqa: PLC0415

    if options.junit is not None:
        write_junit(outcomes, options.junit)
    if options.html is not None:
        write_html(outcomes, options.html, url=url)
    if options.as_json:
        record = {
            "url": url,
            "counts": counts(outcomes),
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        sys.stdout.write(json.dumps(record) + "\n")
    else:
        write_report(outcomes, sys.stdout)
    failed = sum(outcome.verdict is Verdict.FAILED for outcome in outcomes)
    if failed:
        sys.stderr.write(
            f"{failed} of {len(outcomes)} tests failed. The report says where each is documented,"
            " and how to reproduce the failure.\n"
        )
        return _FAILED
    # Success without a single test would be misleading.
    if all(outcome.verdict is Verdict.SKIPPED for outcome in outcomes):
        sys.stderr.write(
            "All tests were skipped, for the reasons in the report. Create credentials on the"
            " deployment, with: python -m oneself demo --json\n"
        )
        return _FAILED
    return 0
