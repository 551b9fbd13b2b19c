"""Limits how many large bodies are in memory at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from accounts.errors import Unavailable

_SLOTS = 16
#: A user has one picture; the second slot is for a retry while the first upload hangs.
_SLOTS_PER_USER = 2


class UploadLimits:
    """Upload slots: `slots` in all, `slots_per_user` for each user.

    Thread pools limit work, and an upload is no work until it has arrived. Without slots, slow
    senders could keep one almost complete body in memory per connection until each times out.
    """

    def __init__(self, slots: int = _SLOTS, slots_per_user: int = _SLOTS_PER_USER) -> None:
        self._slots = slots
        self._slots_per_user = slots_per_user
        self._taken: Counter[str] = Counter()

    @contextmanager
    def slot_for(self, user_id: str) -> Iterator[None]:
        """Take a slot for a user. Call it from one event loop only: the count has no lock.

        Raises:
            Unavailable: All slots are taken, or the user's are.
        """
        if self._taken.total() >= self._slots or self._taken[user_id] >= self._slots_per_user:
            raise Unavailable
        self._taken[user_id] += 1
        try:
            yield
        finally:
            # Subtraction also drops users with no slot left.
            self._taken -= Counter((user_id,))
