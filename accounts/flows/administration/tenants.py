"""Finding, listing and disabling tenants."""

from collections.abc import Sequence

from sqlmodel import col, select

from accounts.errors import NotFound
from accounts.services.database import AccountSession
from models import Tenant


def find_tenant(session: AccountSession, tenant_id: str) -> Tenant:
    """Return a tenant by its id.

    Raises:
        NotFound: There is none.
    """
    tenant = session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFound
    return tenant


def list_tenants(session: AccountSession, *, limit: int) -> Sequence[Tenant]:
    """List tenants, newest first."""
    newest_first = col(Tenant.created_at).desc(), col(Tenant.id).desc()
    return session.exec(select(Tenant).order_by(*newest_first).limit(limit)).all()


def disable_tenant(session: AccountSession, tenant_id: str) -> Tenant:
    """Disable a tenant: every credential of its users is rejected from the next request on.

    Raises:
        NotFound: There is no such tenant.
    """
    tenant = find_tenant(session, tenant_id)
    tenant.disabled_at = tenant.disabled_at or session.now
    return tenant
