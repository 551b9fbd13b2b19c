"""`tenant`: manage tenants, the organisations that users and clients belong to."""

from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show, show_list

if TYPE_CHECKING:
    from accounts.services.database import AccountSession
    from models import Tenant

__all__ = ["TenantId", "app", "require_tenant"]

app = typer.Typer(no_args_is_help=True, help="Add, list and disable tenants.")

TenantId = Annotated[str, typer.Option("--tenant", metavar="TENANT_ID", help="The tenant's id.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name to show.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Add a tenant."""
    from accounts.flows.tenants import open_tenant
    from oneself.commands.console.session_setup import load_settings, open_database

    with (
        open_database(load_settings(), make=True) as database,
        database.transaction(writing=True) as session,
    ):
        tenant = open_tenant(session, name, called="NAME")
        record = {
            "tenant_id": tenant.id,
            "tenant_uuid": tenant.uuid,
            "display_name": tenant.display_name,
        }
    show(record, as_json=as_json)


@app.command("list")
def list_tenants(
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Maximum number of tenants to list.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """List tenants, newest first, including the one created by each signup."""
    from sqlmodel import col, select

    from models import Tenant
    from oneself.commands.console.session_setup import load_settings, open_database

    with (
        open_database(load_settings()) as database,
        database.transaction(writing=False) as session,
    ):
        records = [
            {
                "tenant_id": tenant.id,
                "tenant_uuid": tenant.uuid,
                "display_name": tenant.display_name,
                "created_at": tenant.created_at.isoformat(),
                "disabled": tenant.disabled_at is not None,
            }
            for tenant in session.exec(
                select(Tenant)
                .order_by(col(Tenant.created_at).desc(), col(Tenant.id).desc())
                .limit(limit)
            )
        ]
    show_list("tenants", records, as_json=as_json)


@app.command()
def disable(
    tenant_id: Annotated[str, typer.Argument(metavar="TENANT_ID", help="The tenant's id.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Disable a tenant. All credentials of its users stop working at once."""
    from accounts.flows.tenants import disable_tenant
    from oneself.commands.console.session_setup import load_settings, open_database

    with (
        open_database(load_settings()) as database,
        database.transaction(writing=True) as session,
    ):
        tenant = disable_tenant(session, require_tenant(session, tenant_id).id)
        record = {"tenant_id": tenant.id, "disabled": tenant.disabled_at is not None}
    show(record, as_json=as_json)


def require_tenant(session: "AccountSession", tenant_id: str) -> "Tenant":
    """Find the tenant named on the command line.

    Raises:
        Failure: There is no such tenant.
    """
    from accounts.errors import NotFound
    from accounts.flows.tenants import find_tenant

    try:
        return find_tenant(session, tenant_id)
    except NotFound:
        raise Failure(
            f"There is no tenant {tenant_id}. List them with: python -m oneself tenant list, or add"
            " one with: python -m oneself tenant add NAME"
        ) from None
