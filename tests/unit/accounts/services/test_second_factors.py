"""The registry of the kinds of second factor."""

import pytest
from sqlalchemy import select
from sqlmodel import col

from accounts.services.second_factors import SecondFactorKind, has_second_factor
from models import Device, User

#: Any table with a user serves as one of factors.
KIND = SecondFactorKind("example", Device, col(Device.name) == "Confirmed")


@pytest.mark.parametrize(("kinds", "expected"), [((), {False}), ((KIND,), {True, False})])
def test_user_has_a_second_factor_if_one_is_in_force(env, alice, bob, kinds, expected):
    """Issue 20: and nothing else makes one count, such as a factor that was not confirmed."""
    for user, name in ((alice, "Confirmed"), (bob, "Not yet")):
        device = Device(
            session_id=user.principal.credential.id,
            user_id=user.user_id,
            client_id="one",
            name=name,
            os="ios",
            app_version="1",
            details={},
        )
        env.act(lambda session, row=device: session.add(row))
    statement = select(col(User.id), has_second_factor(kinds))
    rows = env.act(lambda session: session.core.execute(statement).all())
    found = {user_id: bool(has) for user_id, has in rows}
    assert set(found.values()) == expected
    assert not found[bob.user_id]


def test_user_views_tell_it(alice):
    """Acts and authentication read it with the user, in the same statement."""
    assert not alice.view.has_second_factor
