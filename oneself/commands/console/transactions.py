"""The transaction that a command runs in, for commands that need only one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accounts.services.database import AccountSession

__all__ = ["open_transaction"]


@contextmanager
def open_transaction(*, writing: bool, make: bool = False) -> Iterator["AccountSession"]:
    """Open the database that the settings name, and a transaction in it; see `open_database`."""
    from oneself.commands.console.session_setup import load_settings, open_database  # slow

    with (
        open_database(load_settings(), make=make) as database,
        database.transaction(writing=writing) as session,
    ):
        yield session
