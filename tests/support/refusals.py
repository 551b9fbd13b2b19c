"""Refusals of no operation, for tests of the handling of any refusal."""

from accounts.errors import Forbidden

__all__ = ["CountedAttempt"]


class CountedAttempt(Forbidden):
    """A refusal like a throttle's, whose counter must be committed."""

    code = "counted_attempt"
    message = "That was one too many."
    keep_writes = True
