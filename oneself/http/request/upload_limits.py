"""Limits how many large bodies are in memory at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from accounts.errors import Unavailable

__all__ = ["UploadLimits"]

_MOST = 16
#: A user has one picture; the second slot is for a retry while the first upload hangs.
_MOST_OF_ONE = 2


class UploadLimits:
    """Upload slots: `most` in all, `most_of_one` for each user.

    Thread pools limit work, and an upload is no work until it has arrived. Without slots, slow
    senders could keep one almost complete body in memory per connection until each times out.
    """

    def __init__(self, most: int = _MOST, most_of_one: int = _MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._held: Counter[str] = Counter()

    @contextmanager
    def held_by(self, user_id: str) -> Iterator[None]:
        """Take a slot for a user. Call it from one event loop only: the count has no lock.

        Raises:
            Unavailable: All slots are taken, or the user's are.
        """
        if self._held.total() >= self._most or self._held[user_id] >= self._most_of_one:
            raise Unavailable
        self._held[user_id] += 1
        try:
            yield
        finally:
            # Subtraction also drops users with no slot left.
            self._held -= Counter((user_id,))
