"""Opening and disabling tenants."""

from accounts.errors import NotFound, TenantMismatch
from accounts.services.database import AccountSession
from accounts.services.user_views import UserView
from accounts.values import names
from accounts.values.identifiers import canonical_uuid, new_id, new_uuid
from models import Tenant

__all__ = ["disable_tenant", "find_tenant", "open_tenant", "require_tenant"]


def open_tenant(session: AccountSession, display_name: str) -> Tenant:
    """Open a tenant.

    Raises:
        InvalidRequest: The name breaks a rule.
    """
    tenant = Tenant(
        id=new_id("tnt_"),
        uuid=new_uuid(),
        display_name=names.clean_name(display_name, "tenant_name"),
        created_at=session.now,
    )
    session.add(tenant)
    # Users refer to it, and SQLModel's tables know no relationship that would order the inserts.
    session.flush()
    return tenant


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


def require_tenant(user: UserView, named: str) -> None:
    """Let a request pass that names the person's own tenant, by its UUID in any case.

    The name gives access to nothing: the tenant is always the credential's (AZ-13).

    Raises:
        TenantMismatch: It names another one.
    """
    if canonical_uuid(named) != user.tenant_uuid:
        raise TenantMismatch
