"""Clients: programs that a tenant knows."""

import pytest

from accounts.clients import add_client, authenticate_client
from accounts.errors import InvalidClient, InvalidRequest
from models import Tenant


@pytest.fixture
def tenant(house):
    return house.tenant()


def _add(house, tenant, **changed):
    with house.database.transaction(writing=True) as session:
        owner = session.get_one(Tenant, tenant.id)
        return add_client(
            session, owner, **({"name": "Program", "scopes": ["keys:read"]} | changed)
        )


def test_a_client_proves_itself_by_its_secret(house, tenant):
    """The secret is known once, and stored as a digest."""
    client, secret = _add(house, tenant)
    assert secret.startswith("cls_")
    found = house.act(authenticate_client, tenant.id, client_id=client.id, secret=secret)
    assert found.scopes == ["keys:read"]
    assert secret not in [str(value) for value in house.rows("client")[0].values()]


def test_scopes_are_kept_once_and_in_order(house, tenant):
    """Naming a scope twice is naming it."""
    client, _ = _add(house, tenant, scopes=["me/pat:read", "keys:read", "me/pat:read"])
    assert client.scopes == ["keys:read", "me/pat:read"]


def test_a_scope_that_does_not_exist_is_refused(house, tenant):
    """The refusal says which there are."""
    with pytest.raises(InvalidRequest) as refused:
        _add(house, tenant, scopes=["keys:read", "keys:burn"])
    (violation,) = refused.value.violations
    assert violation.field == ("scopes",)
    assert "keys:write" in violation.rule
    assert "keys:burn" not in violation.rule


def test_a_name_that_breaks_its_rule_is_refused(house, tenant):
    """Nothing is added then."""
    with pytest.raises(InvalidRequest):
        _add(house, tenant, name="")
    assert house.count("client") == 0


def test_wrong_ids_wrong_secrets_and_other_tenants_are_refused_alike(house, tenant):
    """Nothing tells which of the three it was."""
    client, secret = _add(house, tenant)
    other = house.tenant("Other")
    for tenant_id, client_id, tried in (
        (tenant.id, "cli_000000000000", secret),
        (tenant.id, client.id, secret[:-1]),
        (tenant.id, client.id, "\ud800"),
        (other.id, client.id, secret),
    ):
        with pytest.raises(InvalidClient):
            house.act(authenticate_client, tenant_id, client_id=client_id, secret=tried)
