"""`user`: manage users."""

import sys
from typing import Annotated, Literal

import typer

from oneself.commands.administration import deletions, incidents
from oneself.commands.administration.tenants import TenantId, explain_missing_tenant
from oneself.commands.administration.user_exports import export_users
from oneself.commands.administration.user_imports import import_users
from oneself.commands.administration.user_names import UserName, change_user
from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson, Limit, Search, show, show_list, show_progress
from oneself.commands.console.transactions import open_transaction

app = typer.Typer(
    no_args_is_help=True,
    help="Add, import, export, list, show, disable, enable, delete and restore users, change their"
    " roles, end their sessions, mail them a reset link and remove their second factors.",
)
app.command("import")(import_users)
app.command("export")(export_users)
app.command("show")(incidents.show_user)
app.command("logout")(incidents.logout)
app.command("reset")(incidents.reset)
app.command("reset-factors")(incidents.reset_factors)
app.command("digest")(incidents.digest)
app.command("delete")(deletions.delete)
app.command("restore")(deletions.restore)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The user's email address.")]


@app.command()
def add(
    email: Email,
    tenant_id: TenantId,
    name: Annotated[str, typer.Option("--name", help="The name to show.")],
    *,
    roles: Annotated[
        list[str] | None,
        typer.Option(
            "--role", metavar="ROLE", help="A role. Repeat for each role. Default: member."
        ),
    ] = None,
    provider: Annotated[
        Literal["local", "oidc", "saml"],
        typer.Option(
            help="Where the password is checked: in this service, or by an identity provider."
        ),
    ] = "local",
    admin: Annotated[bool, typer.Option("--admin", help="Make the user a platform admin.")] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a user, and prompt for the password of a local one."""
    from accounts.crypto import password_hashing
    from accounts.errors import EmailTaken
    from accounts.flows.administration.tenants import find_tenant
    from accounts.flows.administration.users import describe
    from accounts.services import users
    from accounts.values import email_address, password_strength
    from oneself.commands.console.session_setup import load_settings, open_database

    if password_stdin and provider != "local":
        raise Failure(
            f"A user of an {provider} provider has no password here. Omit --password-stdin.",
            status=USAGE,
        )
    with open_database(load_settings()) as database:
        # Checked before the prompt; no transaction is open while the operator types or bcrypt runs.
        with database.transaction(writing=False) as session:
            with explain_missing_tenant(tenant_id):
                tenant = find_tenant(session, tenant_id)
            address = email_address.parse_address(email, "EMAIL")
            if users.is_taken(session, address.canonical):
                raise EmailTaken
            keys, limits = session.keys, session.limits
        record = None
        if provider == "local":
            password = password_strength.validate(
                _read_password(from_stdin=password_stdin),
                limits=limits,
                own_words=(address.canonical, name, tenant.display_name),
                field="the password",
            )
            with show_progress("Hashing the password"):
                record = password_hashing.hash_password(password, keys, limits)
        with database.transaction(writing=True) as session:
            user = users.open_user(
                session,
                tenant,
                email=email,
                display_name=name,
                record=record,
                provider=provider,
                roles=roles or ("member",),
            )
            user.is_platform_admin = admin
            summary = describe(user)
    show(summary._asdict(), as_json=as_json)


@app.command("list")
def list_users(*, search: Search = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List users, newest first.

    --search takes a part of an address, of a name, or of the id of a user or tenant.
    """
    from accounts.flows.administration import users

    with open_transaction(writing=False) as session:
        records = [user._asdict() for user in users.list_users(session, search=search, limit=limit)]
    show_list("users", records, as_json=as_json)


@app.command()
def disable(name: UserName, *, as_json: AsJson = False) -> None:
    """Disable a user. All their credentials stop working at once."""
    from accounts.flows.administration.users import describe, disable_user, find_user

    with change_user(name) as session:
        user = find_user(session, name)
        disable_user(session, user)
        summary = describe(user)
    note = (
        "All credentials of the user are rejected from now on. To undo it: python -m oneself user"
        f" enable {summary.user_id}"
    )
    show(summary._asdict(), as_json=as_json, note=note)


@app.command()
def enable(name: UserName, *, as_json: AsJson = False) -> None:
    """Enable a disabled user. Credentials that have not ended since work again at once."""
    from accounts.flows.administration.users import describe, enable_user, find_user

    with change_user(name) as session:
        user = find_user(session, name)
        enable_user(session, user)
        summary = describe(user)
    show(summary._asdict(), as_json=as_json, note="The user can log in again.")


@app.command()
def role(
    name: UserName,
    *,
    added: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="ROLE", help="A role to add. Can be repeated."),
    ] = None,
    removed: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="ROLE", help="A role to remove. Can be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add and remove roles of a user, effective from the next request on."""
    from accounts.flows.administration.users import change_roles, describe, find_user

    if not added and not removed:
        raise Failure("Nothing would change. Give --add ROLE or --remove ROLE.", status=USAGE)
    with change_user(name) as session:
        user = find_user(session, name)
        change_roles(session, user, add=added or (), remove=removed or ())
        summary = describe(user)
    note = f"The user's roles are now: {', '.join(summary.roles) or 'none'}."
    show(summary._asdict(), as_json=as_json, note=note)


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        raise Failure(
            "There is no terminal to prompt for the password. Pipe it in with --password-stdin.",
            status=USAGE,
        )
    # On standard error, since a program may read standard output.
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password
