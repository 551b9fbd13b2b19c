"""People, as the dialects see them."""

import pytest

from accounts.errors import NotFound
from accounts.services.user_views import find_user_view
from models import User


def test_a_person_is_read_with_their_tenant(env, alice):
    """One row holds what every dialect shows."""
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


def test_nobody_is_found_by_an_unknown_id(env):
    """An id that no row has is not found."""
    with pytest.raises(NotFound):
        env.act(find_user_view, "usr_000000000000")


def test_a_person_is_read_with_what_the_session_has_changed(env, alice):
    """A change that is not written yet is written first."""
    with env.database.transaction(writing=True) as session:
        session.get_one(User, alice.user_id).first_name = "Alice"
        assert find_user_view(session, alice.user_id).first_name == "Alice"


def test_an_address_is_verified_once_there_is_a_moment_of_it(alice, clock):
    """Whether an address is verified follows from when, and is no column of its own (EM-04)."""
    assert not alice.view.email_verified
    assert alice.view._replace(email_verified_at=clock.now).email_verified


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("Alice Chen", "Al", "C"), "Alice Chen"),
        ((None, "Al", "C"), "Al C"),
        ((None, None, "C"), "C"),
        ((None, None, None), "alice"),
        ((None, "A" * 200, "B" * 200), "A" * 200),
        ((None, "A" * 199, "B"), "A" * 199),
    ],
)
def test_the_name_is_the_first_that_there_is(alice, names, shown):
    """The display name, or first and last name within 200 characters, or the user name."""
    display_name, first_name, last_name = names
    view = alice.view._replace(
        display_name=display_name, first_name=first_name, last_name=last_name
    )
    assert view.name == shown
