"""`prove`: test a running deployment against the OpenAPI document."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson

if TYPE_CHECKING:
    from oneself.conformance.outcomes import Outcome
    from oneself.conformance.suite import Suite

_SUITES = ("rows", "probes", "fuzz")


def _tags() -> tuple[str, ...]:
    from oneself.document import load_document  # slow, and not needed by --help

    return tuple(tag["name"] for tag in load_document()["tags"])


def _one_of(choices_of: Callable[[], tuple[str, ...]]) -> Callable[[Any], Any]:
    """Return a callback that accepts these values in upper or lower case."""

    def normalize(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, list):
            return [normalize(item) for item in value]
        choice, choices = value.lower(), choices_of()
        if choice not in choices:
            raise typer.BadParameter(f"must be one of {', '.join(choices)}")
        return choice

    return normalize


def prove(
    *,
    url: Annotated[
        str, typer.Option(help="URL of the deployment, such as https://account.example.com.")
    ],
    credentials: Annotated[
        Path, typer.Option(help="Credentials file, as printed by `demo --json`.")
    ],
    dialect: Annotated[
        str | None,
        typer.Option(
            callback=_one_of(_tags),
            help="Test only this dialect: ipto, hyperclast, scaikey, hantera, jitsudo, oauth or"
            " status.",
        ),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            callback=_one_of(lambda: _SUITES),
            help="Run only this suite: rows, probes or fuzz. Can be repeated.",
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Generated requests for each operation and credential.")
    ] = 25,
    seed: Annotated[
        list[int] | None, typer.Option(help="Seed of the generator. Repeat for several runs.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option(help="Allow a reverse proxy to set Server, Via and Connection.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit XML report.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write an HTML report.")] = None,
    as_json: AsJson = False,
) -> None:
    """Test a running deployment against the OpenAPI document, and exit with 1 on a failure.

    Use a test deployment only: the tests create accounts, change the users in the credentials file
    (which is updated), and send hostile input.
    """
    try:
        from oneself.conformance import credentials_file  # slow imports, not installed everywhere
        from oneself.conformance.reachability import find_connection_problem
        from oneself.conformance.suite import SUITES, Suite
    except ModuleNotFoundError as missing:
        raise Failure(
            f"{missing.name}, which `prove` needs, is not installed."
            " Install it with: pip install --require-hashes -r requirements/prove.txt"
        ) from missing
    try:
        deployment = credentials_file.open_deployment(url, credentials, behind_proxy=behind_proxy)
    except (credentials_file.WrongUrl, credentials_file.WrongCredentials) as problem:
        raise Failure(f"{problem}.", status=USAGE) from problem
    except OSError as error:
        raise Failure(
            f"{credentials} cannot be read: {error.strerror}. Create it on the deployment, with:"
            " python -m oneself demo --json"
        ) from error
    for report in (junit, html):
        # Checked before the tests, which take minutes.
        if report is not None and not report.parent.is_dir():
            raise Failure(f"There is no folder {report.parent}. Create it, or give another one.")
    if (connection_problem := find_connection_problem(deployment)) is not None:
        raise Failure(
            f"{deployment.url} cannot be reached: {connection_problem}. Check that the deployment"
            " runs, and that --url is its address."
        )
    run = Suite(
        deployment,
        credentials,
        dialect=dialect,
        suites=tuple(suite or SUITES),
        examples=examples,
        seeds=tuple(seed or (1,)),
    )
    outcomes = _run_suites(run)
    _report(outcomes, deployment.url, junit, html, as_json=as_json)


def _run_suites(run: "Suite") -> "list[Outcome]":
    """Run all steps of the suites, and show the progress on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from oneself.conformance.outcomes import Verdict

    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}
        for step in run.steps():
            if step.suite not in tasks:
                tasks[step.suite] = progress.add_task(step.suite, total=step.count)
            outcomes += step.outcomes
            failed = sum(outcome.verdict is Verdict.FAILED for outcome in outcomes)
            progress.update(
                tasks[step.suite],
                completed=step.number,
                description=f"{step.suite} ({failed} failed)" if failed else step.suite,
            )
    return outcomes


def _report(
    outcomes: "list[Outcome]", url: str, junit: Path | None, html: Path | None, *, as_json: bool
) -> None:
    from rich.console import Console

    from oneself.conformance.outcomes import Verdict
    from oneself.conformance.reports.html import write_html
    from oneself.conformance.reports.junit import write_junit
    from oneself.conformance.reports.text import counts, print_report

    if junit is not None:
        write_junit(outcomes, junit)
    if html is not None:
        write_html(outcomes, html, url=url)
    if as_json:
        record = {
            "url": url,
            "counts": counts(outcomes),
            "outcomes": [asdict(outcome) for outcome in outcomes],
        }
        sys.stdout.write(json.dumps(record) + "\n")
    else:
        print_report(outcomes, Console())
    failed = sum(outcome.verdict is Verdict.FAILED for outcome in outcomes)
    if failed:
        raise Failure(
            f"{failed} of {len(outcomes)} tests failed. The report says where each is"
            " documented, and how to reproduce the failure."
        )
    # Success without a single test would be misleading.
    if all(outcome.verdict is Verdict.SKIPPED for outcome in outcomes):
        raise Failure(
            "All tests were skipped, for the reasons in the report. Create credentials on the"
            " deployment, with: python -m oneself demo --json"
        )
