"""`mail`: list the outbox, deliver it, and retry failed messages."""

import logging
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.failures import USAGE, Failure, explain_missing
from oneself.commands.console.output import AsJson, show, show_list
from oneself.commands.console.transactions import open_transaction

if TYPE_CHECKING:
    from datetime import datetime

    from accounts.services.database import AccountSession
    from accounts.services.mail.outbox import Message
    from oneself.database import Database
    from oneself.mail.delivery import Delivery
    from oneself.settings import Settings

_RUN = "python -m oneself mail"
#: The headers that never contain a secret.
_HEADERS = ("To", "Subject", "Date", "Message-ID")

app = typer.Typer(
    no_args_is_help=True, help="List the outbox, deliver it now, and retry failed messages."
)


class State(StrEnum):
    """The state of a message. An enumeration, since Typer accepts no list of literals."""

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
        typer.Option(
            "--state", help="List only this state. Can be repeated. Default: all but delivered."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Maximum number of messages to list.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """List outgoing mail, newest first (recipients masked, no content).

    A message is waiting until it is due, leased while a service sends it, and then delivered. It is
    dead if it was rejected or could not be sent for a day; `last_problem` has the reason. A dead
    message can be retried for a week.
    """
    from accounts.services.mail import outbox

    with open_transaction(writing=False) as session:
        shown_states = states or (State.WAITING, State.LEASED, State.DEAD)
        messages = outbox.list_messages(
            session, map(outbox.MessageState, shown_states), limit=limit
        )
        records = [
            _record(message, session.now) | {"recipient": _mask(message.recipient)}
            for message in messages
        ]
    show_list("messages", records, as_json=as_json)


@app.command("show")
def show_message(message_id: MessageId, *, as_json: AsJson = False) -> None:
    """Show a message: the whole email if it is in the mail folder, otherwise its headers only.

    There is no option to show the content of an email that is not in the mail folder. It contains
    a secret that opens the recipient's account, and terminal output is recorded and shared.
    """
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.mail.folder import Folder

    settings = load_settings()
    with open_database(settings) as database:
        with database.transaction(writing=False) as session:
            message = _find(session, message_id)
            record = _record(message, session.now)
            head = _headers(session, message, settings)
        file = Folder(settings.data_dir / "mail").file_of(message.id)
        has_file = message.delivered_at and file.exists()
        content = file.read_text(encoding="utf-8") if has_file else None
    if as_json:
        show({**record, "head": head, "mail": content}, as_json=True)
        return
    show({"message": record} | ({"head": head} if head else {}), as_json=False)
    if content is not None:
        sys.stdout.write(content)


@app.command()
def deliver(*, as_json: AsJson = False) -> None:
    """Deliver due messages now, in this process, and print the counts.

    A running service does so every second. It is safe to do both: no message is sent twice.
    """
    from oneself.commands.console.session_setup import load_settings, open_database

    settings = load_settings()
    # Errors are reported once, by the Failure below, and not as log lines too.
    logging.getLogger("oneself").addHandler(logging.NullHandler())
    with open_database(settings) as database:
        run = open_delivery(settings, database).deliver_pending()
    record = {"delivered": run.delivered, "failed": run.failed, "unreadable": run.unreadable}
    show(record, as_json=as_json)
    if run.failed:
        raise Failure(
            f"{run.failed} messages were not accepted; the last reason: {run.problem} They are"
            f" retried later or dead. See: {_RUN} list"
        )
    if run.unreadable:
        raise Failure(
            f"{run.unreadable} messages cannot be read. They are sealed under an unknown root"
            " secret, or were written by a newer version. Add the root secret, or upgrade."
        )


@app.command()
def retry(
    message_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The message's id, as `list` names it.")
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Retry every dead and every waiting message.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Retry a failed or waiting message now.

    A running service sends it within a second; otherwise run `mail deliver`. A link in an old
    message may have expired; the recipient can request a new one.
    """
    from accounts.services.mail.outbox import retry_messages

    if (message_id is None) is not everything:
        raise Failure("Give the ID of one message, or --all.", status=USAGE)
    with open_transaction(writing=True) as session:
        retried = retry_messages(session, message_id)
        if message_id is not None and not retried:
            raise Failure(_explain_no_retry(_find(session, message_id), session.now))
    show({"retried": retried}, as_json=as_json)


def open_delivery(settings: "Settings", database: "Database") -> "Delivery":
    """Open the delivery, or fail if the address of the mail server is invalid."""
    from oneself.mail import factory

    try:
        return factory.open_delivery(settings, database)
    except ValueError as problem:
        raise Failure(f"ONESELF_SMTP_URL {problem}.", status=USAGE) from None


def _explain_no_retry(message: "Message", now: "datetime") -> str:
    from accounts.services.mail.outbox import MessageState

    state = message.state(now)
    if state is MessageState.DELIVERED:
        return f"The message {message.id} was already delivered. There is nothing to retry."
    if state is MessageState.LEASED:
        return f"The message {message.id} is being sent now. See: {_RUN} show {message.id}"
    return f"The message {message.id} failed more than a week ago: its content has been deleted."


def _find(session: "AccountSession", message_id: str) -> "Message":
    from accounts.services.mail.outbox import find_message

    with explain_missing(f"There is no message {message_id}. See: {_RUN} list"):
        return find_message(session, message_id)


def _record(message: "Message", now: "datetime") -> dict[str, Any]:
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


def _mask(address: str) -> str:
    """Mask an address: lists are pasted into tickets. Its owner still recognises it."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def _headers(
    session: "AccountSession", message: "Message", settings: "Settings"
) -> dict[str, str] | None:
    """Return the headers of an unsent message, or None if it cannot be read."""
    from accounts.services.mail.outbox import unseal_parameters
    from oneself.mail.factory import open_messages

    try:
        parameters = unseal_parameters(session, message)
        mail = open_messages(settings).compose(message, parameters)
    except Exception:  # noqa: BLE001 # as in the delivery, any error means unreadable
        return None
    return {name: str(mail[name]) for name in _HEADERS}
