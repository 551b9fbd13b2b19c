"""Refusals that no operation has, for tests of what becomes of any."""

from accounts.errors import Forbidden

__all__ = ["CountedAttempt"]


class CountedAttempt(Forbidden):
    """A refusal like that of a throttle, whose counter must not be forgotten with it."""

    code = "counted_attempt"
    message = "That was one too many."
    keep_writes = True
