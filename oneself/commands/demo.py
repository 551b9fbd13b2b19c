"""`demo`: create demo data, and print curl commands to try the service."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.output import AsJson, show, show_progress

if TYPE_CHECKING:
    from oneself.commands.demo_data import Account
    from oneself.database import Database
    from oneself.settings import Settings

#: The file in the data folder that keeps the credentials of the demo users.
_FILE = "demo.json"


def demo(
    *,
    curl: Annotated[
        bool, typer.Option("--curl", help="Print a curl command for each kind of credential.")
    ] = False,
    renew: Annotated[
        bool, typer.Option("--renew", help="Revoke all demo credentials, and make new ones.")
    ] = False,
    spares: Annotated[
        int,
        typer.Option(
            min=0, max=1000, help="Also create so many spare users, for the conformance tests."
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Create two tenants with users and credentials for trying the service.

    The file demo.json in the data folder keeps them, so that a second run prints the same as long
    as they work. Do not use it on a database with real users.
    """
    from oneself.commands.console.session_setup import load_settings, open_database

    settings = load_settings()
    with open_database(settings, make=True) as database:
        accounts = create_demo(database, settings, renew=renew, spares=spares)
    if curl and not as_json:
        _print_curl(accounts["base"], settings.public_origin)
    else:
        show(accounts, as_json=as_json)


def has_demo(settings: "Settings") -> bool:
    """Return whether the data folder has the credentials of demo users."""
    return (settings.data_dir / _FILE).exists()


def create_demo(
    database: "Database", settings: "Settings", *, renew: bool = False, spares: int = 0
) -> dict[str, "Account"]:
    """Create the demo data, or keep that of the data folder where it still works."""
    from oneself.commands.demo_data import make_demo
    from oneself.commands.demo_spares import make_spares

    path = settings.data_dir / _FILE
    former = {} if renew else _read(path)
    spares = max(spares, sum(name.startswith("spare_") for name in former))
    with show_progress("Creating the demo data"):
        accounts = {**make_demo(database, former), **make_spares(database, spares, former)}
    write_accounts(path, accounts)
    return accounts


def write_accounts(path: Path, accounts: Mapping[str, "Account"]) -> None:
    """Write a credentials file, which only its owner can read."""
    from oneself.runtime.durable_files import put, write

    part = path.with_name(f"{path.name}.part")
    write(part, json.dumps(accounts, indent=1).encode() + b"\n")
    put(part, path)


def _read(path: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the accounts in a file; none if it is missing or malformed."""
    try:
        accounts = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    is_well_formed = isinstance(accounts, dict) and all(
        isinstance(fields, dict) and all(isinstance(value, str) for value in fields.values())
        for fields in accounts.values()
    )
    return accounts if is_well_formed else {}


def print_banner(owner: "Account", settings: "Settings") -> None:
    """Print where the service is, the demo user, its folders, and how to stop it."""
    origin, location = settings.public_origin, settings.location
    rows = (
        ("Open", f"{origin}/", f"API reference: {origin}/docs" if settings.docs else ""),
        ("Log in as", owner["email"], f"password: {owner['password']}"),
        (
            "Data",
            # A URL could have a password.
            location.parent.resolve() if isinstance(location, Path) else location.database,
            f"curl commands: {_curl_command(settings)}",
        ),
        (
            "Mail",
            "sent by the server in ONESELF_SMTP_URL"
            if settings.smtp_url
            else f"{settings.data_dir.resolve() / 'mail'}",
            "",
        ),
        ("Stop", "Ctrl-C", ""),
    )
    for name, text, more in rows:
        sys.stdout.write(f"{name:10} {text}   {more}".rstrip() + "\n")
    # A forked worker would print the rest of the buffer again.
    sys.stdout.flush()


def _curl_command(settings: "Settings") -> str:
    """Return the command that prints curl commands, with the settings that it needs."""
    words = []
    if "data_dir" in settings.model_fields_set:
        words.append(f"ONESELF_DATA_DIR={shlex.quote(str(settings.data_dir.resolve()))}")
    if settings.public_url != type(settings).model_fields["public_url"].default:
        words.append(f"ONESELF_PUBLIC_URL={settings.public_origin}")
    return " ".join((*words, "python -m oneself demo --curl"))


def _print_curl(owner: "Account", origin: str) -> None:
    # Each on one line, even in a narrow terminal, so that it can be pasted.
    for heading, line in curl_lines(owner, origin):
        sys.stdout.write(f"# {heading}\n{line}\n\n")
    sys.stdout.write(f"# variables for the examples in the README\n{export_line(owner)}\n")


def curl_lines(owner: "Account", origin: str) -> Iterator[tuple[str, str]]:
    """Yield a heading and a curl command for the login and for each kind of credential."""
    from handlers.exchange import COOKIE_NAME

    login = json.dumps({"email": owner["email"], "password": owner["password"]})
    log_in = _curl(f"{origin}/v1/auth/login", "Content-Type: application/json")
    yield "log in", f"{log_in} -d {shlex.quote(login)}"
    for heading, path, header in (
        ("session", "/v1/me", f"Authorization: Bearer {owner['session_token']}"),
        ("session as a cookie", "/v1/me", f"Cookie: {COOKIE_NAME}={owner['session_token']}"),
        ("API key", "/api/v1/me", f"X-API-Key: {owner['api_key']}"),
        ("access token", "/api/users/me/", f"Authorization: Bearer {owner['access_token']}"),
        ("personal access token", "/resources/me/profile", f"Authorization: Bearer {owner['pat']}"),
    ):
        yield heading, _curl(f"{origin}{path}", header)
    yield "JWT, exchanged for the session", _curl_with_jwt(owner, origin)


def export_line(owner: "Account") -> str:
    """Return the `export` command that the examples in the README need."""
    values = {
        "SESSION": owner["session_token"],
        "ACCESS_TOKEN": owner["access_token"],
        "API_KEY": owner["api_key"],
        "PAT": owner["pat"],
        "TENANT_UUID": owner["tenant_uuid"],
        "CLIENT_ID": owner["client_id"],
        "CLIENT_SECRET": owner["client_secret"],
    }
    return f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in values.items())}"


def _curl_with_jwt(owner: "Account", origin: str) -> str:
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": owner["session_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    exchange = ["curl", "-s", f"{origin}/oauth/token"]
    exchange += ["-u", f"{owner['client_id']}:{owner['client_secret']}"]
    for name, value in fields.items():
        exchange += ["-d", f"{name}={value}"]
    read = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])'"
    header = f'"Authorization: Bearer $({shlex.join(exchange)} | {read})"'
    return f"curl {shlex.quote(f'{origin}/resources/me/profile')} -H {header}"


def _curl(url: str, header: str) -> str:
    # A browser would require https for a cookie of this name; curl does not.
    return f"curl {shlex.quote(url)} -H {shlex.quote(header)}"
