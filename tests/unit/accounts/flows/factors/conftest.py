"""A user with an authenticator app."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from accounts.flows.factors.enrolment import confirm_totp, enrol_totp
from tests.support.authenticator import code_at


@dataclass
class WithFactor:
    """A user, their app, and their recovery codes."""

    env: Any
    user: Any
    secret: str
    codes: tuple[str, ...]

    def code(self, steps: int = 0) -> str:
        """Return the code that the app shows now, or some steps later."""
        return code_at(self.secret, self.env.clock.now, steps=steps)


@pytest.fixture
def enrol(env) -> Callable[..., WithFactor]:
    """Add an authenticator app to a user, and go on to the next step of the time."""

    def enrol(user):
        enrolment = env.act(enrol_totp, user.view)
        code = code_at(enrolment.secret, env.clock.now)
        renewed = env.act(confirm_totp, user.principal, code=code, password=user.password)
        env.clock.move(seconds=30)
        return WithFactor(env, user, enrolment.secret, renewed.codes)

    return enrol


@pytest.fixture
def owner(alice, enrol) -> WithFactor:
    """Alice, with an authenticator app."""
    return enrol(alice)
