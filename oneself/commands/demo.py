"""`demo`: create demo data, and print curl commands to try the service."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oneself.commands.console.output import AsJson, show, show_progress

if TYPE_CHECKING:
    from oneself.commands.demo_data import Account
    from oneself.database import Database
    from oneself.settings import Settings

_UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # compared, not listened on


def demo(*, as_json: AsJson = False) -> None:
    """Create two tenants with users and credentials for trying the service.

    A second run gives the same users new passwords and credentials, and revokes those of the run
    before. Do not use it on a database with real users.
    """
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.commands.demo_data import make_demo

    with (
        open_database(load_settings(), make=True) as database,
        show_progress("Creating the demo data"),
    ):
        accounts = make_demo(database)
    show(accounts, as_json=as_json)


def print_demo(database: "Database", settings: "Settings", *, address: str, port: int) -> None:
    """Create the demo data, and print a curl command for each kind of credential."""
    from rich.console import Console

    from oneself.commands.demo_data import make_demo

    address = _UNSPECIFIED.get(address, address)
    origin = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    if "public_url" not in settings.model_fields_set:
        # The workers read the environment themselves, and reject pages of another origin.
        os.environ["ONESELF_PUBLIC_URL"] = origin
    with show_progress("Creating the demo data"):
        owner = make_demo(database)["base"]
    console = Console()
    for heading, line in curl_lines(owner, origin):
        console.print(f"\n# {heading}", style="dim", markup=False, highlight=False)
        # On one line, even in a narrow terminal, so that it can be pasted.
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    console.print("\n# variables for the examples in the README", style="dim", markup=False)
    console.print(export_line(owner), soft_wrap=True, markup=False, highlight=False)
    console.print()
    # A forked worker would print the rest of the buffer again.
    sys.stdout.flush()


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
