"""The command line: `python -m oneself`, one module for each group of commands.

What is slow to import is imported by the function of the command that needs it, so that help, a
mistyped option and the start of the service do not wait for what they do not use.
"""

import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from oneself.commands import conformance as prove
from oneself.commands import demo, keys, mail, policies, serve
from oneself.commands.administration import clients, tenants, users
from oneself.commands.console.failures import explain
from oneself.commands.doctor.command import doctor
from oneself.commands.storage import db

__all__ = ["main"]

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
#: `bin/oneself`, which shells know by this name; they would complete `python` otherwise.
_NAME = "oneself"


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    has_name = Path(sys.argv[0]).name == _NAME
    try:
        _build(completes=has_name)(prog_name=_NAME if has_name else "python -m oneself")
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        sys.stderr.write(f"{failure}\n")
        sys.exit(failure.status)


def _build(*, completes: bool) -> typer.Typer:
    app = typer.Typer(
        add_completion=completes,
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # they print local variables, and those can be secrets
        epilog=(
            "Exit status: 0 it was done; 1 it was refused or went wrong, and one sentence on"
            " standard error says why; 2 an option, an argument or an ONESELF_… setting is wrong;"
            " 130 Ctrl-C ended it."
        ),
    )
    app.callback()(_root)
    app.command("serve")(serve.serve)
    app.command("demo")(demo.demo)
    app.command("doctor")(doctor)
    app.command("prove")(prove.prove)
    app.add_typer(tenants.app, name="tenant")
    app.add_typer(users.app, name="user")
    app.add_typer(clients.app, name="client")
    app.add_typer(keys.app, name="keys")
    app.add_typer(policies.app, name="policy")
    app.add_typer(mail.app, name="mail")
    app.add_typer(db.app, name="db")
    return app


def _print_version(wanted: bool) -> None:  # noqa: FBT001 # the value of the option, as Typer gives it
    if wanted:
        sys.stdout.write(tomllib.loads(_PROJECT.read_text())["project"]["version"] + "\n")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and exit."
        ),
    ] = False,
) -> None:
    """One account, every "me" API: serve it, and look after its tenants, users and clients.

    Settings are ONESELF_… environment variables; the README lists them.
    """
