"""`client`: manage clients, the programs that a tenant has registered."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.administration.tenants import TenantId, explain_missing_tenant
from oneself.commands.console.failures import explain_missing
from oneself.commands.console.output import AsJson, Limit, Search, show, show_list
from oneself.commands.console.transactions import open_transaction

if TYPE_CHECKING:
    from accounts.services.database import AccountSession

app = typer.Typer(
    no_args_is_help=True,
    help="Add, list, renew, disable and remove clients, which JWTs and personal access tokens"
    " require.",
)

ClientId = Annotated[
    str, typer.Argument(metavar="CLIENT_ID", help="The client's id, such as cli_0a1b2c3d4e5f.")
]
_LIST = "List a tenant's clients with: python -m oneself client list --tenant TENANT_ID"


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
def list_clients(
    tenant_id: TenantId, *, search: Search = None, limit: Limit = 100, as_json: AsJson = False
) -> None:
    """List the clients of a tenant, oldest first, without their secrets."""
    from accounts.flows.administration import clients
    from accounts.flows.administration.tenants import find_tenant

    with open_transaction(writing=False) as session, explain_missing_tenant(tenant_id):
        tenant = find_tenant(session, tenant_id)
        records = [
            {
                "client_id": client.id,
                "name": client.name,
                "public": client.is_public,
                "scopes": client.scopes,
                "audiences": client.audiences,
                "created_at": client.created_at.isoformat(),
                "disabled": client.disabled_at is not None,
            }
            for client in clients.list_clients(session, tenant.id, search=search, limit=limit)
        ]
    show_list("clients", records, as_json=as_json)


@app.command()
def renew(client_id: ClientId, *, as_json: AsJson = False) -> None:
    """Replace the secret of a client, and print the new one. The old one stops working at once.

    The client's personal access tokens stay valid, and so do its refresh tokens, which then need
    the new secret.
    """
    from accounts.flows.administration import clients

    missing = f"There is no client {client_id} that has a secret. {_LIST}"
    with open_transaction(writing=True) as session, explain_missing(missing):
        client = clients.find_confidential_client(session, client_id)
        record = {
            "client_id": client.id,
            "client_secret": clients.renew_client_secret(session, client),
            "tenant_id": client.tenant_id,
            "name": client.name,
        }
    show(record, as_json=as_json, note="Store the secret now: it cannot be shown again.")


@app.command()
def disable(client_id: ClientId, *, as_json: AsJson = False) -> None:
    """Disable a client, so that it gets no token, and its tokens are rejected at once.

    These are its JWTs, refresh tokens and personal access tokens. They work again after `client
    enable`. A service that checks JWTs by itself accepts one until it expires, within ten minutes.
    """
    from accounts.flows.administration import clients

    with _change(client_id) as session:
        client = clients.disable_client(session, client_id)
        record = {"client_id": client.id, "disabled": client.disabled_at is not None}
    note = (
        "The client and its tokens are rejected from now on. To undo it: python -m oneself client"
        f" enable {client_id}"
    )
    show(record, as_json=as_json, note=note)


@app.command()
def enable(client_id: ClientId, *, as_json: AsJson = False) -> None:
    """Enable a disabled client. Its tokens that have not expired work again at once."""
    from accounts.flows.administration import clients

    with _change(client_id) as session:
        client = clients.enable_client(session, client_id)
        record = {"client_id": client.id, "disabled": client.disabled_at is not None}
    show(record, as_json=as_json, note="The client and its tokens are accepted again.")


@app.command()
def remove(client_id: ClientId, *, as_json: AsJson = False) -> None:
    """Remove a client, and revoke all its tokens. This cannot be undone.

    It prints how many personal access tokens and refresh tokens were still valid.
    """
    from accounts.flows.administration import clients

    with _change(client_id) as session:
        revoked = clients.remove_client(session, client_id)
    record = {"client_id": client_id, "removed": True, "revoked_tokens": revoked}
    show(record, as_json=as_json, note="The client is gone, and so are its tokens.")


@contextmanager
def _change(client_id: str) -> Iterator["AccountSession"]:
    """Open a writing transaction, and explain a client that is not found."""
    missing = f"There is no client {client_id}. {_LIST}"
    with open_transaction(writing=True) as session, explain_missing(missing):
        yield session
