"""Commands of `user` for an account under attack: show it, end its sessions, mail a reset link."""

from collections.abc import Mapping
from typing import Annotated

import typer

from oneself.commands.administration.user_names import UserName, change_user, explain_missing_user
from oneself.commands.console.output import AsJson, show, show_list
from oneself.commands.console.transactions import open_transaction

_SHOWN_EVENTS = 20


def show_user(name: UserName, *, as_json: AsJson = False) -> None:
    """Show a user: addresses, live credentials, and the last twenty security events."""
    from accounts.flows.administration import users
    from accounts.flows.event_log import list_events

    with open_transaction(writing=False) as session, explain_missing_user(name):
        details = users.show_user(session, users.find_user(session, name))
        page = list_events(session, details.record.user_id, limit=_SHOWN_EVENTS, cursor=None)
    record = {
        **details.record._asdict(),
        "email_verified": details.email_verified,
        "claimed_email": details.claimed_email,
        "created_at": details.created_at.isoformat(),
        "disabled_at": details.disabled_at and details.disabled_at.isoformat(),
        "erased_at": details.deletion_due_at and details.deletion_due_at.isoformat(),
        **{f"live_{kind}s": number for kind, number in _counts(details.live).items()},
    }
    events = [
        {
            "occurred_at": event.occurred_at.isoformat(),
            "kind": event.kind,
            "address": event.source,
            "credential": event.credential_id,
            "details": " ".join(f"{key}={value}" for key, value in event.details.items()),
        }
        for event in page.events
    ]
    if as_json:
        show({**record, "events": events}, as_json=True)
        return
    show(record, as_json=False)
    show_list("events", events, as_json=False)


def digest(
    name: Annotated[
        str,
        typer.Argument(
            metavar="EMAIL",
            help="An email address, with an account or not, or the id of a client (cli_…).",
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Print what the log has in place of an address, to find the failed attempts at an account.

    The log names the account of a failed attempt by this digest. Each root secret has its own:
    lines from before a rotation have the digest of the former one.
    """
    from accounts.services.attempts import digests_of

    with open_transaction(writing=False) as session:
        records = [
            {"digest": digest, "key_id": key_id, "present": key_id == session.keys.key_id}
            for key_id, digest in digests_of(session.keys, name).items()
        ]
    show_list("digests", records, as_json=as_json)


def logout(
    name: UserName,
    *,
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Also revoke the API keys and personal access tokens, and replace the access"
            " token.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """End all sessions of a user, with their refresh tokens and JWTs.

    It prints how many API keys and personal access tokens remain. The access token remains too,
    and --all replaces it.
    """
    from accounts.flows.administration.incidents import log_out_user
    from accounts.flows.administration.users import find_user

    with change_user(name) as session:
        user = find_user(session, name)
        logout = log_out_user(session, user, everything=everything)
        record = {
            "user_id": user.id,
            **{f"ended_{kind}s": number for kind, number in _counts(logout.ended).items()},
            **{f"remaining_{kind}s": number for kind, number in _counts(logout.remaining).items()},
            "access_token": "replaced" if everything else "remains",
        }
    show(record, as_json=as_json)


def reset(
    name: UserName,
    *,
    expire_password: Annotated[
        bool,
        typer.Option(
            "--expire-password", help="Also make the present password stop working at once."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Mail a reset link to the address that a user owns. An earlier link stops working.

    The reset ends all sessions, keys and tokens. A running service sends the mail within a second.
    """
    from accounts.flows.administration.incidents import mail_reset
    from accounts.flows.administration.users import find_user

    with change_user(name) as session:
        user = find_user(session, name)
        address = mail_reset(session, user, expire_password=expire_password)
        record = {
            "user_id": user.id,
            "mailed_to": address,
            "password": "expired" if expire_password else "kept",
            "disabled": user.disabled_at is not None,
        }
    note = "The link works once the user is enabled." if record["disabled"] else None
    show(record, as_json=as_json, note=note)


def _counts(live: Mapping[str, int]) -> Mapping[str, int]:
    """Return the numbers of credentials by the names that commands print."""
    names = {"session": "session", "apiKey": "api_key", "pat": "personal_access_token"}
    return {names[kind]: number for kind, number in live.items()}


def reset_factors(name: UserName, *, as_json: AsJson = False) -> None:
    """Remove the second factors of a user who has lost them. The user is told by mail.

    Make sure that the user is asking: from then on the password alone logs in.
    """
    from accounts.flows.administration.users import find_user
    from accounts.flows.factors import enrolment

    with change_user(name) as session:
        user_id = find_user(session, name).id
        removed = enrolment.reset_factors(session, user_id)
    note = None if removed else "The user has no second factor."
    show({"user_id": user_id, "removed": removed}, as_json=as_json, note=note)
