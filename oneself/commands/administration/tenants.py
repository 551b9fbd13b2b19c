"""`tenant`: manage tenants, the organisations that users and clients belong to."""

from contextlib import AbstractContextManager
from typing import Annotated

import typer

from oneself.commands.console.failures import explain_missing
from oneself.commands.console.output import AsJson, Limit, Search, show, show_list
from oneself.commands.console.transactions import open_transaction

app = typer.Typer(no_args_is_help=True, help="Add, list, disable and enable tenants.")

TenantId = Annotated[str, typer.Option("--tenant", metavar="TENANT_ID", help="The tenant's id.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to show.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add a tenant. Names need not be unique; a name that exists is mentioned."""
    from accounts.flows.administration.tenants import find_namesakes
    from accounts.services.users import open_tenant

    with open_transaction(writing=True, make=True) as session:
        namesakes = find_namesakes(session, name)
        tenant = open_tenant(session, name)
        record = {
            "tenant_id": tenant.id,
            "tenant_uuid": tenant.uuid,
            "display_name": tenant.display_name,
        }
    note = f"Add a user to it with: python -m oneself user add --tenant {record['tenant_id']}"
    if namesakes:
        note = f"Another tenant already has this name: {', '.join(namesakes)}.\n{note}"
    show(record, as_json=as_json, note=note)


@app.command("list")
def list_tenants(*, search: Search = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List tenants, newest first, including the one created by each signup."""
    from accounts.flows.administration import tenants

    with open_transaction(writing=False) as session:
        records = [
            {
                "tenant_id": tenant.id,
                "tenant_uuid": tenant.uuid,
                "display_name": tenant.display_name,
                "created_at": tenant.created_at.isoformat(),
                "disabled": tenant.disabled_at is not None,
            }
            for tenant in tenants.list_tenants(session, search=search, limit=limit)
        ]
    show_list("tenants", records, as_json=as_json)


@app.command()
def disable(
    tenant_id: Annotated[str, typer.Argument(metavar="TENANT_ID", help="The tenant's id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Disable a tenant. All credentials of its users stop working at once."""
    from accounts.flows.administration import tenants

    with open_transaction(writing=True) as session, explain_missing_tenant(tenant_id):
        tenant = tenants.disable_tenant(session, tenant_id)
        record = {"tenant_id": tenant.id, "disabled": tenant.disabled_at is not None}
    note = (
        "Its users and clients are rejected from now on. To undo it: python -m oneself tenant"
        f" enable {tenant_id}"
    )
    show(record, as_json=as_json, note=note)


@app.command()
def enable(
    tenant_id: Annotated[str, typer.Argument(metavar="TENANT_ID", help="The tenant's id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Enable a disabled tenant. Credentials that have not ended since work again at once."""
    from accounts.flows.administration import tenants

    with open_transaction(writing=True) as session, explain_missing_tenant(tenant_id):
        tenant = tenants.enable_tenant(session, tenant_id)
        record = {"tenant_id": tenant.id, "disabled": tenant.disabled_at is not None}
    show(record, as_json=as_json, note="Its users and clients are accepted again.")


def explain_missing_tenant(tenant_id: str) -> AbstractContextManager[None]:
    """Explain a tenant that is not found to the operator who named it."""
    return explain_missing(
        f"There is no tenant {tenant_id}. List them with: python -m oneself tenant list, or add one"
        " with: python -m oneself tenant add NAME"
    )
