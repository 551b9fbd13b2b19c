"""Opening and disabling tenants, and naming one in a request."""

import json

import pytest

from accounts.errors import InvalidRequest, NotFound, TenantMismatch
from accounts.flows.administration.tenants import (
    disable_tenant,
    enable_tenant,
    find_tenant,
    list_tenants,
)
from accounts.services.policies.authorization import require_tenant
from accounts.services.users import open_tenant
from tests.support.chain import chain_pending

UNKNOWN = "tnt_000000000000"


def test_tenant_is_found_by_its_id(env):
    """It has an id for two dialects and a UUID for a third."""
    tenant = env.tenant("Café")
    stored = env.act(find_tenant, tenant.id)
    assert (stored.display_name, stored.uuid, stored.disabled_at) == ("Café", tenant.uuid, None)


def test_invalid_tenant_name_is_rejected(env):
    with pytest.raises(InvalidRequest) as caught:
        env.act(open_tenant, "\n")
    assert [violation.field for violation in caught.value.violations] == [("tenant_name",)]


def test_unknown_tenant_is_not_found(env):
    """Neither to read nor to change."""
    for act in (find_tenant, disable_tenant, enable_tenant):
        with pytest.raises(NotFound):
            env.act(act, UNKNOWN)


def test_tenant_is_disabled_once(env, clock):
    """The time of the first call is kept."""
    tenant = env.tenant()
    disabled_at = env.act(disable_tenant, tenant.id).disabled_at
    assert disabled_at == clock.now
    clock.move(days=1)
    assert env.act(disable_tenant, tenant.id).disabled_at == disabled_at
    assert env.act(find_tenant, tenant.id).disabled_at == disabled_at


def test_tenant_is_disabled_and_enabled_as_events(env, clock):
    """LO-02, attack finding 10: one event for each change, without a user."""
    tenant = env.tenant()
    for act in (disable_tenant, disable_tenant, enable_tenant, enable_tenant):
        stored = env.act(act, tenant.id)
        clock.move(minutes=1)
    assert stored.disabled_at is None
    events = sorted(env.rows("security_event"), key=lambda row: row["occurred_at"])
    assert [(row["kind"], row["tenant_id"], row["user_id"]) for row in events] == [
        ("authz_admin", tenant.id, None)
    ] * 2
    assert [json.loads(row["details"])["act"] for row in events] == [
        "tenant_disabled",
        "tenant_enabled",
    ]
    # An event without a user is in the chain like any other.
    assert env.act(chain_pending) == 2


def test_tenants_are_searched_by_name_and_id(env):
    """As plain text, in any case."""
    first, second = env.tenant("Acme Corp"), env.tenant("Example")

    def find(search):
        return [tenant.id for tenant in env.act(list_tenants, search=search, limit=10)]

    assert find("acme") == find(first.uuid) == [first.id]
    assert find(second.id) == [second.id]
    assert find("%") == []


def test_request_may_name_its_own_tenant_in_any_case(alice):
    """A UUID in upper case is the same UUID."""
    require_tenant(alice.view, alice.view.tenant_uuid)
    require_tenant(alice.view, alice.view.tenant_uuid.upper())


def test_request_naming_another_tenant_is_rejected(alice, bob):
    """AZ-13: a header does not override the credential."""
    for tenant_header in (
        bob.view.tenant_uuid,
        alice.view.tenant_id,
        f"{{{alice.view.tenant_uuid}}}",
        f"{alice.view.tenant_uuid}\n",
        "",
    ):
        with pytest.raises(TenantMismatch):
            require_tenant(alice.view, tenant_header)
