"""A service that is about to end says so at /readyz, and goes on serving for a while (OP-01).

SIGTERM reaches the main process, and readiness is asked of a worker. A file tells them, since a
worker need not be forked: it may be started afresh, and one that takes the place of another later
has to know it too.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["is_leaving", "told_beforehand"]

#: Names the file to the workers; none where nobody is to be told.
_FILE = "ONESELF_LEAVING_FILE"


@contextmanager
def told_beforehand() -> Iterator[Callable[[], None]]:
    """While this lasts, the function that it gives tells all workers that the service will end."""
    with TemporaryDirectory(prefix="oneself-leaving-") as folder:
        path = Path(folder) / "leaving"
        os.environ[_FILE] = str(path)
        try:
            yield path.touch
        finally:
            del os.environ[_FILE]


def is_leaving() -> bool:
    """Whether this service is about to end."""
    path = os.environ.get(_FILE)
    return path is not None and Path(path).exists()
