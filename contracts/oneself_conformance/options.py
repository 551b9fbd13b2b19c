"""The options of the command line."""

import argparse
from pathlib import Path

from oneself_conformance.levels import Level

__all__ = ["SUITES", "VERIFY", "build_parser", "build_verify_parser"]

#: Repeated, so that the help imports nothing slow.
SUITES = ("rows", "probes", "fuzz")
#: The word that begins the command to check the folder of a run.
VERIFY = "verify"


def build_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        program,
        description="Test a running deployment against the OpenAPI document.",
        epilog="Use a test deployment only: the tests create accounts, change the users that they"
        " are given, and send hostile input. Exit status: 0 success; 1 a test failed; 2 the tests"
        " cannot begin, with the reason on standard error; 3 incomplete, because an operation was"
        " never seen to succeed, or to have the effect that its page names; 130 or 143 interrupted,"
        " with a report of what is known. `verify DIR` checks the folder of a run instead.",
    )
    parser.add_argument("--url", help="URL of the deployment, such as https://account.example.com")
    _add_users(parser.add_argument_group("users", "a file, or one user"))
    _add_scope(parser.add_argument_group("what to test"))
    _add_reports(parser.add_argument_group("reports"))
    return parser


def _add_users(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="users, as printed by `python -m oneself demo --json`; the file is not changed",
    )
    group.add_argument("--token", help="a token of a user, sent as Authorization: Bearer")
    group.add_argument("--email", help="the email address of a user")
    group.add_argument(
        "--password-env", metavar="NAME", help="environment variable with the user's password"
    )
    group.add_argument(
        "--operator",
        metavar="COMMAND",
        help="command that acts outside HTTP, such as `python -m oneself demo-operator`",
    )
    group.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="how the deployment signs up and logs in, and how it takes credentials",
    )


def _add_scope(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--document", metavar="URL|FILE", help="another document than that of this package")
    add("--dialect", type=str.lower, help="test only this dialect, such as hyperclast")
    add(
        "--hold",
        type=str.lower,
        choices=[level.title for level in Level],
        help="the last level of assertions to check: published (the page of the dialect), standard"
        " (RFCs as well) or house (our own rules as well); by default house, with --dialect"
        " standard",
    )
    add(
        "--suite",
        action="append",
        type=str.lower,
        choices=SUITES,
        help="run only this suite; can be repeated",
    )
    add(
        "--operation",
        action="append",
        metavar="ID",
        help="test only this operation; can be repeated",
    )
    add("--promise", metavar="TEXT", help="test only promises with this text")
    add("--fail-fast", action="store_true", help="stop at the first failure")
    add(
        "--timeout",
        type=_positive_seconds,
        metavar="SECONDS",
        help="how long to wait for an answer; by default 30, and longer if answers are slow",
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


def _add_reports(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--junit", type=_report_file, metavar="FILE", help="write a JUnit XML report")
    add("--html", type=_report_file, metavar="FILE", help="write an HTML report")
    add(
        "--output",
        type=_new_folder,
        metavar="DIR",
        help="write all reports, a log, an HTTP archive and a badge to a new folder, which"
        " `verify DIR` checks",
    )
    add(
        "--export",
        nargs=2,
        metavar=("hurl", "DIR"),
        help="write each selected row as a Hurl file to a new folder, and run nothing",
    )
    add("--product", default="", metavar="NAME", help="name of the product, for --output")
    add("--product-version", default="", metavar="VERSION", help="version of the product")
    add("--json", action="store_true", dest="as_json", help="print the report as JSON")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _positive_seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3600:  # noqa: PLR2004 # an hour
        raise argparse.ArgumentTypeError("must be more than 0 and less than 3600")
    return seconds


def build_verify_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of `verify`."""
    parser = argparse.ArgumentParser(
        f"{program} {VERIFY}",
        description="Check the folder of a run, without trust in it: made by these tests for this"
        " document, each test present once, and a verdict that follows from them.",
        epilog="Exit status: 0 whole, consistent and passed; 1 otherwise, with the reasons.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="written by --output")
    parser.add_argument("--document", metavar="URL|FILE", help="the document of the run")
    return parser


def _new_folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise argparse.ArgumentTypeError(f"{path} exists and is not an empty folder")
    return path


def _report_file(text: str) -> Path:
    # Checked before the tests, which take minutes.
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {path.parent}")
    return path
