"""Finding and disabling tenants."""

from accounts.errors import NotFound
from accounts.services.database import AccountSession
from models import Tenant

__all__ = ["disable_tenant", "find_tenant"]


def find_tenant(session: AccountSession, tenant_id: str) -> Tenant:
    """Find a tenant by its id.

    Raises:
        NotFound: There is none.
    """
    tenant = session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFound
    return tenant


def disable_tenant(session: AccountSession, tenant_id: str) -> Tenant:
    """Refuse every credential of the tenant's users from the next request on.

    Raises:
        NotFound: There is no such tenant.
    """
    tenant = find_tenant(session, tenant_id)
    tenant.disabled_at = tenant.disabled_at or session.now
    return tenant
