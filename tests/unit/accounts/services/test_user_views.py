"""User views, as the dialects read them."""

import pytest

from accounts.errors import NotFound
from accounts.services.user_views import find_user_view
from models import User


def test_user_is_read_with_their_tenant(env, alice):
    """One row has everything that the dialects show."""
    view = env.view(alice.user_id)
    tenant = env.rows("tenant")[0]
    assert (view.email, view.tenant_id, view.tenant_uuid, view.tenant_display_name) == (
        "alice@example.com",
        tenant["id"],
        tenant["uuid"],
        "Example",
    )
    assert view.roles == ["member"]
    assert view.is_platform_admin is False


def test_unknown_id_is_not_found(env):
    """The refusal is NotFound."""
    with pytest.raises(NotFound):
        env.act(find_user_view, "usr_000000000000")


def test_user_is_read_with_pending_changes(env, alice):
    """Pending changes are flushed first."""
    with env.database.transaction(writing=True) as session:
        session.get_one(User, alice.user_id).first_name = "Alice"
        assert find_user_view(session, alice.user_id).first_name == "Alice"


def test_address_is_verified_if_it_has_a_time_of_verification(alice, clock):
    """EM-04: the flag is derived from the time, and has no column."""
    assert not alice.view.email_verified
    assert alice.view._replace(email_verified_at=clock.now).email_verified


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Alice Chen", "Al", "C"), "Alice Chen"),
        ((None, "Al", "C"), "Al C"),
        ((None, None, "C"), "C"),
        ((None, None, None), "alice"),
        ((None, "A" * 200, "B" * 200), "A" * 200),
        ((None, "A" * 199, "B"), "A" * 199),
    ],
)
def test_name_is_the_first_available_one(alice, names, expected):
    """The display name, or first and last name within 200 characters, or the user name."""
    display_name, first_name, last_name = names
    view = alice.view._replace(
        display_name=display_name, first_name=first_name, last_name=last_name
    )
    assert view.name == expected
