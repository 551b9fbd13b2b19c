"""Clients: programs that a tenant knows."""

from typing import Annotated

import typer

from oneself.commands.output import AsJson, show
from oneself.commands.tenants import TenantId, require_tenant

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="Add clients, which JWTs and personal access tokens need."
)


@app.callback()
def _clients() -> None:
    # With a callback, Typer keeps `add` a command of its own although it is the only one.
    pass


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    tenant_id: TenantId,
    scopes: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="What its tokens may be used for, such as me/profile:read; once for each.",
        ),
    ],
    audiences: Annotated[
        list[str] | None,
        typer.Option(
            "--audience",
            metavar="URL",
            help="Whom its JWTs may be for besides this service; once for each.",
        ),
    ] = None,
    *,
    public: Annotated[
        bool, typer.Option("--public", help="It cannot keep a secret, and gets none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a client, and print its secret, which cannot be shown again."""
    from accounts.clients import add_client  # noqa: PLC0415 # slow
    from oneself.commands.opening import load_settings, open_database  # noqa: PLC0415

    with (
        open_database(load_settings()) as database,
        database.transaction(writing=True) as session,
    ):
        tenant = require_tenant(session, tenant_id)
        client, secret = add_client(
            session,
            tenant,
            name=name,
            scopes=scopes,
            audiences=audiences or (),
            public=public,
        )
        record = {
            "client_id": client.id,
            "client_secret": secret,
            "tenant_id": client.tenant_id,
            "name": client.name,
            "scopes": client.scopes,
            "audiences": client.audiences,
        }
    note = None if public else "Keep the secret now: it cannot be shown again."
    show(record, as_json=as_json, note=note)
