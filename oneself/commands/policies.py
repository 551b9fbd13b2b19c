"""Policies: checking them before a service takes them."""

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Check the policies.")


@app.callback()
def _policies() -> None:
    # With a callback, Typer keeps `check` a command of its own although it is the only one.
    pass


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Read the policies as the service does; exit with 1 and a line for each problem.

    A running service takes a set that is valid within seconds, and keeps its last good one until.
    """
    from accounts.services.policies import InvalidPolicies
    from oneself.commands.console.session_setup import load_settings
    from oneself.document import load_document
    from oneself.runtime.policy_store import NoPolicyFolder, read_policies

    folder = load_settings().policy_dir
    try:
        policies = read_policies(folder, load_document())
    except NoPolicyFolder:
        raise
    except InvalidPolicies as invalid:
        if as_json:
            show({"valid": False, "problems": list(invalid.problems)}, as_json=True)
        next_step = f"Correct it in {folder}, or set ONESELF_POLICY_DIR, and run the command again."
        raise Failure("\n".join([*invalid.problems, next_step])) from invalid
    record = {
        "valid": True,
        "folder": str(folder),
        "count": len(policies.ids),
        "ids": list(policies.ids),
        "digest": policies.digest,
    }
    show(record, as_json=as_json)
