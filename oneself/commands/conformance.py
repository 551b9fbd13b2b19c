"""Proving a deployment: whether it keeps what the document promises."""

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

__all__ = ["prove"]

_DIALECTS = ("ipto", "hyperclast", "scaikey", "hantera", "jitsudo", "oauth", "status")
_SUITES = ("rows", "probes", "fuzz")


def _one_of(known: tuple[str, ...]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        for each in value if isinstance(value, list) else [value]:
            if each is not None and each not in known:
                raise typer.BadParameter(f"must be one of {', '.join(known)}")
        return value

    return check


def prove(
    *,
    url: Annotated[str, typer.Option(help="The deployment, such as https://account.example.com.")],
    credentials: Annotated[
        Path, typer.Option(help="File of credentials, as `demo --json` prints them.")
    ],
    dialect: Annotated[
        str | None,
        typer.Option(callback=_one_of(_DIALECTS), help="Only the promises of one dialect."),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(callback=_one_of(_SUITES), help="rows, probes or fuzz; all by default."),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=1, help="Requests made up for each operation and credential.")
    ] = 25,
    seed: Annotated[
        list[int] | None, typer.Option(help="Where making up begins; several for several runs.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option(help="A proxy answers in its own name: Server, Via, Connection.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(help="Write the outcome as JUnit XML.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the outcome as a page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hold a running deployment to every promise of the document; exit with 1 if one is broken.

    It opens accounts, changes the people in the file of credentials and keeps that file true, and
    tries to break things: prove a deployment for tests, and not one that people use.
    """
    try:
        from oneself.conformance import credentials_file  # slow, and not everywhere
        from oneself.conformance.reachability import find_connection_problem
        from oneself.conformance.suite import SUITES, Suite
    except ModuleNotFoundError as missing:
        raise Failure(
            f"{missing.name} is not installed, which proving needs."
            " Install it with: pip install --require-hashes -r requirements/prove.txt",
        ) from missing
    try:
        deployment = credentials_file.open_deployment(url, credentials, behind_proxy=behind_proxy)
    except (credentials_file.WrongUrl, credentials_file.WrongCredentials) as problem:
        raise Failure(f"{problem}.", status=USAGE) from problem
    except OSError as trouble:
        raise Failure(
            f"{credentials} cannot be read: {trouble.strerror}. Make it on the deployment, with:"
            " python -m oneself demo --json"
        ) from trouble
    for report in (junit, html):
        # Before the minutes that a proof takes, and not after them.
        if report is not None and not report.parent.is_dir():
            raise Failure(f"There is no folder {report.parent}. Make it, or name another.")
    if (unreached := find_connection_problem(deployment)) is not None:
        raise Failure(
            f"{deployment.url} cannot be reached: {unreached}. See that the deployment runs, and"
            " that --url is where it does."
        )
    proof = Suite(
        deployment,
        credentials,
        dialect=dialect,
        suites=tuple(suite or SUITES),
        examples=examples,
        seeds=tuple(seed or (1,)),
    )
    outcomes = _follow(proof)
    _write(outcomes, deployment.url, junit, html, as_json=as_json)


def _follow(proof: "Suite") -> "list[Outcome]":
    """Take every step of a proof, with a sign of how far it is on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from oneself.conformance.outcomes import Verdict

    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, Any] = {}
        for step in proof.steps():
            if step.suite not in tasks:
                tasks[step.suite] = progress.add_task(step.suite, total=step.count)
            outcomes += step.outcomes
            broken = sum(each.verdict is Verdict.FAILED for each in outcomes)
            progress.update(
                tasks[step.suite],
                completed=step.number,
                description=f"{step.suite} ({broken} broken)" if broken else step.suite,
            )
    return outcomes


def _write(
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
            "outcomes": [asdict(each) for each in outcomes],
        }
        sys.stdout.write(json.dumps(record) + "\n")
    else:
        print_report(outcomes, Console())
    broken = sum(each.verdict is Verdict.FAILED for each in outcomes)
    if broken:
        raise Failure(
            f"{broken} of {len(outcomes)} promises are broken. With each stands where it is"
            " documented, and what repeats it."
        )
    # A proof of nothing proves nothing.
    if all(each.verdict is Verdict.SKIPPED for each in outcomes):
        raise Failure(
            "Nothing could be asked, for the reasons that are given. Make credentials on the"
            " deployment, with: python -m oneself demo --json"
        )
