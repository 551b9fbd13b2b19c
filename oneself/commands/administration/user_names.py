"""The argument that names a user, and the transaction that changes one."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.console.failures import explain_missing
from oneself.commands.console.transactions import open_transaction

if TYPE_CHECKING:
    from accounts.services.database import AccountSession

UserName = Annotated[
    str, typer.Argument(metavar="EMAIL", help="The user's email address, or id (usr_…).")
]


@contextmanager
def change_user(name: str) -> Iterator["AccountSession"]:
    """Open a writing transaction, and explain a user that is not found."""
    with open_transaction(writing=True) as session, explain_missing_user(name):
        yield session


def explain_missing_user(name: str) -> AbstractContextManager[None]:
    """Explain a user that is not found to the operator who named them."""
    return explain_missing(
        f"There is no user {name}. Find the address with: python -m oneself user list --search"
        " TEXT, or add a user with: python -m oneself user add"
    )
