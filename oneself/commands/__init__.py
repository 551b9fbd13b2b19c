"""The command line: `python -m oneself`, one module for each group of commands.

What is slow to import is imported by the function of the command that needs it, so that help, a
mistyped option and the start of the service do not wait for what they do not use.
"""

import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from oneself.commands import (
    clients,
    db,
    demo,
    doctor,
    keys,
    mail,
    policies,
    prove,
    serve,
    tenants,
    users,
)
from oneself.commands.failures import explain

__all__ = ["main"]

_PROGRAM = "python -m oneself"
_PROJECT = Path(__file__).parents[2] / "pyproject.toml"

_app = typer.Typer(
    add_completion=False,  # it would complete `python`
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they print local variables, and those can be secrets
    epilog=(
        "Exit status: 0 it was done; 1 it was refused or went wrong, and one sentence on standard"
        " error says why; 2 an option, an argument or an ONESELF_… setting is wrong."
    ),
)
_app.command("serve")(serve.serve)
_app.command("demo")(demo.demo)
_app.command("doctor")(doctor.doctor)
_app.command("prove")(prove.prove)
_app.add_typer(tenants.app, name="tenant")
_app.add_typer(users.app, name="user")
_app.add_typer(clients.app, name="client")
_app.add_typer(keys.app, name="keys")
_app.add_typer(policies.app, name="policy")
_app.add_typer(mail.app, name="mail")
_app.add_typer(db.app, name="db")


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    try:
        _app(prog_name=_PROGRAM)
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        sys.stderr.write(f"{failure}\n")
        sys.exit(failure.status)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 # the value of the option, as Typer gives it
    if wanted:
        sys.stdout.write(tomllib.loads(_PROJECT.read_text())["project"]["version"] + "\n")
        raise typer.Exit


@_app.callback()
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
