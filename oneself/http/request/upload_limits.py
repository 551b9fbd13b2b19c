"""How many large bodies are held in memory at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from accounts.errors import Unavailable

__all__ = ["UploadLimits"]

_MOST = 16
#: Nobody has more than one picture; the other is for who begins anew while the first is awaited.
_MOST_OF_ONE = 2


class UploadLimits:
    """Room for so many, and of them for a few of each person.

    A pool counts work, and whoever sends slowly is no work yet: as many bodies as there are
    connections would be held, each almost whole, until their time is over. Its threads and its
    queue are left to those who have arrived.
    """

    def __init__(self, most: int = _MOST, most_of_one: int = _MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._held: Counter[str] = Counter()

    @contextmanager
    def held_by(self, user_id: str) -> Iterator[None]:
        """Hold one more of this person's. From one event loop only: the count has no lock.

        Raises:
            Unavailable: So many are held, of all or of this person.
        """
        if self._held.total() >= self._most or self._held[user_id] >= self._most_of_one:
            raise Unavailable
        self._held[user_id] += 1
        try:
            yield
        finally:
            # Who holds none any more is forgotten by it.
            self._held -= Counter((user_id,))
