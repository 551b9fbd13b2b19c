"""The command line: `python -m oneself`, one module for each group of commands.

Slow imports are inside the functions that need them, so that `--help`, usage errors and the start
of the service stay fast.
"""

import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from oneself.commands import demo, document, events, keys, mail, policies, prove, serve, tokens
from oneself.commands.administration import clients, tenants, users
from oneself.commands.conformance.operator import demo_operator
from oneself.commands.console.failures import explain
from oneself.commands.doctor.command import doctor
from oneself.commands.storage import db

__all__ = ["main"]

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
#: The name of `bin/oneself`, needed for completion: a shell completes `python -m` as `python`.
_NAME = "oneself"


def main() -> None:
    """Run the command named on the command line, and exit with its status."""
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
        pretty_exceptions_enable=False,  # they print local variables, which can be secrets
        epilog=(
            "Exit status: 0 success; 1 refused or failed, with the reason on standard error;"
            " 2 invalid option, argument or ONESELF_… setting; 130 interrupted by Ctrl-C."
        ),
    )
    app.callback()(_root)
    app.command("serve")(serve.serve)
    app.command("demo")(demo.demo)
    app.command("demo-operator", hidden=True)(demo_operator)
    app.command("doctor")(doctor)
    # Its options, and the help about them, are those of the other command.
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command("prove", add_help_option=False, context_settings=passed_on)(prove.prove)
    app.add_typer(tenants.app, name="tenant")
    app.add_typer(users.app, name="user")
    app.add_typer(clients.app, name="client")
    app.add_typer(keys.app, name="keys")
    app.add_typer(policies.app, name="policy")
    app.add_typer(tokens.app, name="token")
    app.add_typer(mail.app, name="mail")
    app.add_typer(events.app, name="events")
    app.add_typer(document.app, name="document")
    app.add_typer(db.app, name="db")
    return app


def _print_version(show: bool) -> None:  # noqa: FBT001 # Typer passes it by position
    if show:
        sys.stdout.write(tomllib.loads(_PROJECT.read_text())["project"]["version"] + "\n")
        raise typer.Exit


def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Serve the account API, and manage its tenants, users, clients, keys and database.

    Settings are ONESELF_… environment variables; docs/settings.md lists them.
    """
