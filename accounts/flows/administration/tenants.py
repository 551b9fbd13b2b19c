"""Finding, listing, disabling and enabling tenants."""

from collections.abc import Sequence

from sqlalchemy import or_
from sqlmodel import col, select

from accounts.errors import NotFound
from accounts.services.database import AccountSession
from accounts.services.events import record_administration
from accounts.values.names import normalize_name
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


def list_tenants(
    session: AccountSession, *, search: str | None = None, limit: int
) -> Sequence[Tenant]:
    """List tenants, newest first; `search` is a part of the name or of an id."""
    newest_first = col(Tenant.created_at).desc(), col(Tenant.id).desc()
    tenants = select(Tenant).order_by(*newest_first).limit(limit)
    if search:
        columns = (Tenant.display_name, Tenant.id, Tenant.uuid)
        parts = (col(column).icontains(search, autoescape=True) for column in columns)
        tenants = tenants.where(or_(*parts))
    return session.exec(tenants).all()


def find_namesakes(session: AccountSession, name: str) -> Sequence[str]:
    """Return the ids of at most ten tenants that already have a name.

    Raises:
        InvalidRequest: No tenant could have it.
    """
    has_name = col(Tenant.display_name) == normalize_name(name, "tenant_name")
    return session.exec(select(Tenant.id).where(has_name).order_by(col(Tenant.id)).limit(10)).all()


def disable_tenant(session: AccountSession, tenant_id: str) -> Tenant:
    """Disable a tenant: every credential of its users is rejected from the next request on.

    Raises:
        NotFound: There is no such tenant.
    """
    tenant = find_tenant(session, tenant_id)
    if tenant.disabled_at is None:
        tenant.disabled_at = session.now
        record_administration(session, tenant_id, "tenant_disabled")
    return tenant


def enable_tenant(session: AccountSession, tenant_id: str) -> Tenant:
    """Enable a disabled tenant: credentials that have not ended since are valid again.

    Raises:
        NotFound: There is no such tenant.
    """
    tenant = find_tenant(session, tenant_id)
    if tenant.disabled_at is not None:
        tenant.disabled_at = None
        record_administration(session, tenant_id, "tenant_enabled")
    return tenant
