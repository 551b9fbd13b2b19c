"""`policy`: check the policies before a service loads them."""

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show

app = typer.Typer(no_args_is_help=True, help="Check the policies.")


@app.callback()
def _policies() -> None:
    # Without a callback, Typer would merge `check`, the only command, into `policy`.
    pass


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Validate the policies as the service does, and print one line for each problem.

    The exit status is 1 if they are invalid. A running service picks up valid changes within
    seconds, and keeps the last valid set otherwise.
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
