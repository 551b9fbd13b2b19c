"""`policy`: check the policies before a service loads them."""

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show

app = typer.Typer(no_args_is_help=True, help="Check the policies.")


_OLD_SET = (
    "No policy mentions acts without a login, so they are decided as before there were policies for"
    " them: sign-up and reset requests are allowed, and other acts, such as login and reset, are"
    " treated like those of a session, and allowed unless a policy forbids them. To decide all of"
    " them, mention one of the values in policies/README.md, Acts without a login."
)
_CLOSED = (
    "An ordinary user cannot do this, because a policy forbids it or none permits it: {}. Check"
    " that this is intended."
)


@app.callback()
def _policies() -> None:
    # Without a callback, Typer would merge `check`, the only command, into `policy`.
    pass


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Validate the policies as the service does, and print one line for each problem.

    The exit status is 1 if they are invalid. A running service picks up valid changes within
    seconds, and keeps the last valid set otherwise. Of valid policies, the output says which acts
    without a login, such as login itself, they close to an ordinary user.
    """
    from accounts.services.policies.policy_set import InvalidPolicies
    from oneself.commands.console.session_setup import load_settings
    from oneself.document import load_document
    from oneself.runtime.policy_store import NoPolicyFolder, closed_acts, read_policies

    folder = load_settings().policy_dir
    document = load_document()
    try:
        policies = read_policies(folder, document)
    except NoPolicyFolder:
        raise
    except InvalidPolicies as invalid:
        if as_json:
            show({"valid": False, "problems": list(invalid.problems)}, as_json=True)
        next_step = f"Correct it in {folder}, or set ONESELF_POLICY_DIR, and run the command again."
        raise Failure("\n".join([*invalid.problems, next_step])) from invalid
    closed = list(closed_acts(policies, document))
    record = {
        "valid": True,
        "folder": str(folder),
        "count": len(policies.ids),
        "ids": list(policies.ids),
        "digest": policies.digest,
        "governs_public_acts": policies.governs_public,
        "closed_public_acts": closed,
    }
    notes = []
    if not policies.governs_public:
        notes.append(_OLD_SET)
    if closed:
        notes.append(_CLOSED.format(", ".join(closed)))
    show(record, as_json=as_json, note="\n".join(notes) or None)
