"""Mail: what waits in the outbox, what was given up, and sending it now."""

import logging
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson, show, show_list

if TYPE_CHECKING:
    from datetime import datetime

    from accounts.services.database import AccountSession
    from accounts.services.outbox import Message
    from oneself.database import Database
    from oneself.mail.delivery import Delivery
    from oneself.settings import Settings

__all__ = ["app"]

_RUN = "python -m oneself mail"
#: Those of its head that nobody has put a secret into.
_HEADERS = ("To", "Subject", "Date", "Message-ID")

app = typer.Typer(no_args_is_help=True, help="List the outbox, deliver it, and retry dead letters.")


class State(StrEnum):
    """What became of a message; Typer takes no list of literals."""

    WAITING = "waiting"
    LEASED = "leased"
    DELIVERED = "delivered"
    DEAD = "dead"


MessageId = Annotated[
    str, typer.Argument(metavar="ID", help="The message's id, as `list` names it.")
]


@app.command("list")
def list_messages(
    *,
    states: Annotated[
        list[State] | None,
        typer.Option("--state", help="Only those; once for each. Without any: all but delivered."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="As many, the newest first.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """List messages, newest first, with whom they are for hinted at and without what they say.

    A message waits until it is due; is leased while a service sends it; and is delivered, or dead:
    refused for good or tried for a day in vain, as `last_problem` says. A dead one can be retried
    for a week.
    """
    from accounts.services import outbox
    from oneself.commands.console.session_setup import load_settings, open_database

    with (
        open_database(load_settings()) as database,
        database.transaction(writing=False) as session,
    ):
        wanted = map(outbox.MessageState, states or (State.WAITING, State.LEASED, State.DEAD))
        messages = outbox.list_messages(session, wanted, limit=limit)
        records = [
            _described(message, session.now) | {"recipient": _hinted(message.recipient)}
            for message in messages
        ]
    show_list("messages", records, as_json=as_json)


@app.command("show")
def show_message(message_id: MessageId, *, as_json: AsJson = False) -> None:
    """Show one message: its mail, if that was delivered into the mail folder; else its head only.

    What a mail that is not sent by then says is not shown, by no option: the secret in it opens the
    account of whoever it is for, and a terminal is recorded, shared and scrolled back in.
    """
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.mail.smtp import Folder

    settings = load_settings()
    with open_database(settings) as database:
        with database.transaction(writing=False) as session:
            message = _find(session, message_id)
            record = _described(message, session.now)
            head = _head(session, message, settings)
        file = Folder(settings.data_dir / "mail").file_of(message.id)
        content = (
            file.read_text(encoding="utf-8") if message.delivered_at and file.exists() else None
        )
    if as_json:
        show({**record, "head": head, "mail": content}, as_json=True)
        return
    show({"message": record} | ({"head": head} if head else {}), as_json=False)
    if content is not None:
        sys.stdout.write(content)


@app.command()
def deliver(*, as_json: AsJson = False) -> None:
    """Deliver what is due, now and in this process, and print how much that was.

    A running service does so each second; two that deliver at once do not send a message twice.
    """
    from oneself.commands.console.session_setup import load_settings, open_database

    settings = load_settings()
    # What goes wrong is said once, in words for people, and not in the lines of a service's log.
    logging.getLogger("oneself").addHandler(logging.NullHandler())
    with open_database(settings) as database:
        run = _open_delivery(settings, database).deliver_pending()
    record = {"delivered": run.delivered, "failed": run.failed, "unreadable": run.unreadable}
    show(record, as_json=as_json)
    if run.failed:
        raise Failure(
            f"{run.failed} messages were not taken, the last because: {run.problem} They are tried"
            f" again, or dead; see: {_RUN} list"
        )
    if run.unreadable:
        raise Failure(
            f"{run.unreadable} messages cannot be read. They are sealed under a root secret that is"
            " not known here, or were put down by a newer version."
        )


@app.command()
def retry(
    message_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The message's id, as `list` names it.")
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Every dead message and every waiting one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a message due at once that is dead, or waits for its next try.

    A service that runs sends it within a second; else run `deliver`. A secret in an old message may
    have expired: whoever gets it asks for another.
    """
    from accounts.services.outbox import retry_messages
    from oneself.commands.console.session_setup import load_settings, open_database

    if (message_id is None) is not everything:
        raise Failure("Give the ID of one message, or --all.", status=USAGE)
    with (
        open_database(load_settings()) as database,
        database.transaction(writing=True) as session,
    ):
        retried = retry_messages(session, message_id)
        if message_id is not None and not retried:
            raise Failure(_why_not(_find(session, message_id), session.now))
    show({"retried": retried}, as_json=as_json)


def _open_delivery(settings: "Settings", database: "Database") -> "Delivery":
    from oneself.mail.factory import open_delivery

    try:
        return open_delivery(settings, database)
    except ValueError as problem:
        raise Failure(f"ONESELF_SMTP_URL {problem}.", status=USAGE) from None


def _why_not(message: "Message", now: "datetime") -> str:
    from accounts.services.outbox import MessageState

    state = message.state(now)
    if state is MessageState.DELIVERED:
        return f"The message {message.id} was delivered already."
    if state is MessageState.LEASED:
        return f"The message {message.id} is being sent just now. See: {_RUN} show {message.id}"
    return f"The message {message.id} has been dead for too long: what it said is no longer kept."


def _find(session: "AccountSession", message_id: str) -> "Message":
    from accounts.errors import NotFound
    from accounts.services.outbox import find_message

    try:
        return find_message(session, message_id)
    except NotFound:
        raise Failure(f"There is no message {message_id}. See: {_RUN} list") from None


def _described(message: "Message", now: "datetime") -> dict[str, Any]:
    return {
        "id": message.id,
        "kind": message.kind,
        "recipient": message.recipient,
        "state": message.state(now),
        "created_at": message.created_at.isoformat(),
        "due_at": message.due_at.isoformat(),
        "attempts": message.attempts,
        "last_problem": message.last_problem,
    }


def _hinted(address: str) -> str:
    """An address that its owner recognises: a list is pasted into tickets, and read by others."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def _head(
    session: "AccountSession", message: "Message", settings: "Settings"
) -> dict[str, str] | None:
    """The head of a mail that is still to be sent, if it can be read."""
    from accounts.services.outbox import open_parameters
    from oneself.mail.factory import open_messages

    try:
        parameters = open_parameters(session, message)
        mail = open_messages(settings).compose(message, parameters)
    except Exception:  # noqa: BLE001 # as in the delivery: whatever it was, it cannot be read
        return None
    return {name: str(mail[name]) for name in _HEADERS}
