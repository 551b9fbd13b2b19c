"""`client`: manage clients, the programs that a tenant has registered."""

from typing import Annotated

import typer

from oneself.commands.administration.tenants import TenantId, explain_missing_tenant
from oneself.commands.console.failures import explain_missing
from oneself.commands.console.output import AsJson, show, show_list
from oneself.commands.console.transactions import open_transaction

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list and renew clients, which JWTs and personal access tokens require.",
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to show.")],
    tenant_id: TenantId,
    scopes: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="A scope of its tokens, such as me/profile:read. Repeat for each scope.",
        ),
    ],
    audiences: Annotated[
        list[str] | None,
        typer.Option(
            "--audience",
            metavar="URL",
            help="An audience of its JWTs besides this service. Repeat for each audience.",
        ),
    ] = None,
    *,
    public: Annotated[
        bool, typer.Option("--public", help="Create a public client, which has no secret.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add a client and print its secret, which cannot be shown again."""
    from accounts.flows.administration.clients import add_client
    from accounts.flows.administration.tenants import find_tenant

    with open_transaction(writing=True) as session, explain_missing_tenant(tenant_id):
        client, secret = add_client(
            session,
            find_tenant(session, tenant_id),
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
    note = None if public else "Store the secret now: it cannot be shown again."
    show(record, as_json=as_json, note=note)


@app.command("list")
def list_clients(tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """List the clients of a tenant, oldest first, without their secrets."""
    from accounts.flows.administration import clients
    from accounts.flows.administration.tenants import find_tenant

    with open_transaction(writing=False) as session, explain_missing_tenant(tenant_id):
        records = [
            {
                "client_id": client.id,
                "name": client.name,
                "public": client.is_public,
                "scopes": client.scopes,
                "audiences": client.audiences,
                "created_at": client.created_at.isoformat(),
            }
            for client in clients.list_clients(session, find_tenant(session, tenant_id).id)
        ]
    show_list("clients", records, as_json=as_json)


@app.command()
def renew(
    client_id: Annotated[
        str, typer.Argument(metavar="CLIENT_ID", help="The client's id, such as cli_0a1b2c3d4e5f.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Replace the secret of a client, and print the new one. The old one stops working at once.

    The client's personal access tokens stay valid, and so do its refresh tokens, which then need
    the new secret.
    """
    from accounts.flows.administration import clients

    missing = (
        f"There is no client {client_id} that has a secret. List a tenant's clients with: python -m"
        " oneself client list --tenant TENANT_ID"
    )
    with open_transaction(writing=True) as session, explain_missing(missing):
        client = clients.find_confidential_client(session, client_id)
        record = {
            "client_id": client.id,
            "client_secret": clients.renew_client_secret(session, client),
            "tenant_id": client.tenant_id,
            "name": client.name,
        }
    show(record, as_json=as_json, note="Store the secret now: it cannot be shown again.")
