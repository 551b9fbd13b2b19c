"""The result of a command of `python -m oneself`."""

import json

__all__ = ["CommandResult"]


class CommandResult:
    """The output of a command, and its exit status."""

    def __init__(self, status, captured):
        self.status, self.out, self.err = status, captured.out, captured.err

    @property
    def json(self):
        """The object that a program reads from standard output."""
        assert (self.status, self.err) == (0, "")
        return json.loads(self.out)

    def refused(self, *words, status=1):
        """Return True if it ended with this status, one line on standard error, and no output."""
        assert (self.status, self.out) == (status, "")
        assert len(self.err.splitlines()) == 1
        assert all(word in self.err for word in words), self.err
        return True
