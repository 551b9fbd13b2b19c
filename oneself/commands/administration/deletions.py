"""Commands of `user` that delete an account, and restore it before it is erased."""

from typing import Annotated

import typer

from oneself.commands.administration.user_names import UserName, change_user
from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show


def delete(
    name: UserName,
    *,
    at_once: Annotated[
        bool, typer.Option("--now", help="Erase it within minutes, with no way to restore it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an account. All credentials of the user end, and a link to restore it is mailed.

    After the time of grace (ONESELF_DELETION_DAYS) a running service erases everything in it, and
    the client addresses of its events.
    """
    from accounts.flows.administration.users import find_user
    from accounts.flows.deletion.account_deletion import delete_account
    from accounts.services.user_views import find_user_view

    with change_user(name) as session:
        user = find_user_view(session, find_user(session, name).id)
        erased_at = delete_account(session, user, at_once=at_once)
    note = None if at_once else f"To undo it: python -m oneself user restore {user.user_id}"
    record = {"user_id": user.user_id, "erased_at": erased_at.isoformat()}
    show(record, as_json=as_json, note=note)


def restore(name: UserName, *, as_json: AsJson = False) -> None:
    """Restore a deleted account. Credentials stay ended, and the user can log in again."""
    from accounts.errors import NotFound
    from accounts.flows.administration.users import find_user
    from accounts.flows.deletion.account_deletion import restore_user

    with change_user(name) as session:
        user_id = find_user(session, name).id
        try:
            restore_user(session, user_id)
        except NotFound as error:
            raise Failure(f"The account {user_id} is not deleted.") from error
    show({"user_id": user_id, "restored": True}, as_json=as_json)
