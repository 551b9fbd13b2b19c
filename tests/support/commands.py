"""What a command of `python -m oneself` has left behind."""

import json

__all__ = ["Ran"]


class Ran:
    """What a command printed, and its exit status."""

    def __init__(self, status, captured):
        self.status, self.out, self.err = status, captured.out, captured.err

    @property
    def json(self):
        """What a program would read: all of standard output."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)

    def refused(self, *words, status=1):
        """It ended with this status, with one line on standard error, and nothing on the other."""
        assert (self.status, self.out) == (status, "")
        assert len(self.err.splitlines()) == 1
        assert all(word in self.err for word in words), self.err
        return True
