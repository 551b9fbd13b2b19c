"""Opening and disabling tenants, and naming one in a request."""

import pytest

from accounts.errors import InvalidRequest, NotFound, TenantMismatch
from accounts.flows.administration.tenants import disable_tenant, find_tenant
from accounts.services.authorization import require_tenant
from accounts.services.users import open_tenant

UNKNOWN = "tnt_000000000000"


def test_a_tenant_is_found_by_its_id(env):
    """It has an id for two dialects and a UUID for a third."""
    tenant = env.tenant("Café")
    found = env.act(find_tenant, tenant.id)
    assert (found.display_name, found.uuid, found.disabled_at) == ("Café", tenant.uuid, None)


def test_invalid_tenant_name_is_rejected(env):
    with pytest.raises(InvalidRequest) as refused:
        env.act(open_tenant, "\n")
    assert [violation.field for violation in refused.value.violations] == [("tenant_name",)]


def test_an_unknown_tenant_is_not_found(env):
    """Neither to read nor to disable."""
    for act in (find_tenant, disable_tenant):
        with pytest.raises(NotFound):
            env.act(act, UNKNOWN)


def test_a_tenant_is_disabled_once(env, clock):
    """The first moment is the one that is kept."""
    tenant = env.tenant()
    disabled_at = env.act(disable_tenant, tenant.id).disabled_at
    assert disabled_at == clock.now
    clock.move(days=1)
    assert env.act(disable_tenant, tenant.id).disabled_at == disabled_at
    assert env.act(find_tenant, tenant.id).disabled_at == disabled_at


def test_a_request_may_name_its_own_tenant_in_any_case(alice):
    """A UUID in capitals is the same UUID."""
    require_tenant(alice.view, alice.view.tenant_uuid)
    require_tenant(alice.view, alice.view.tenant_uuid.upper())


def test_a_request_may_name_no_other_tenant(alice, bob):
    """A header is never authority over the credential (AZ-13)."""
    for named in (
        bob.view.tenant_uuid,
        alice.view.tenant_id,
        f"{{{alice.view.tenant_uuid}}}",
        f"{alice.view.tenant_uuid}\n",
        "",
    ):
        with pytest.raises(TenantMismatch):
            require_tenant(alice.view, named)
