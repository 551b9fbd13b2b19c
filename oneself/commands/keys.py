"""`keys`: manage the root secrets that rows are stored under, and the keys that sign JWTs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson, show, show_progress
from oneself.commands.console.transactions import open_transaction

if TYPE_CHECKING:
    from datetime import datetime

    from accounts.crypto.keyring import Keyring
    from accounts.jobs.key_rotation import Unreadable
    from oneself.database import Database

_RUN = "python -m oneself keys"

app = typer.Typer(
    no_args_is_help=True, help="List, rotate and retire root secrets and signing keys."
)
_rotate = typer.Typer(no_args_is_help=True, help="Replace a key while the service runs.")
app.add_typer(_rotate, name="rotate")


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List the ids of root secrets, with the live rows under each, and the signing keys.

    States of a root secret: present (new rows are stored under it), former (older rows may still
    be), unused (known, but without rows), events (kept only to verify the chain of events). Links
    and seals of the chain are counted separately: they do not block a retirement.
    """
    from accounts.jobs.key_rotation import count_links, count_live
    from accounts.services.root_keys import list_roots
    from accounts.services.signing_keys import list_signing_keys

    with open_transaction(writing=False) as session:
        live, links = count_live(session), count_links(session)
        since = list_roots(session)
        roots = [
            {
                "key_id": key_id,
                "state": _state(session.keys, key_id, since),
                "since": _format_time(since.get(key_id)),
                "live_rows": live.get(key_id, {}),
                "event_links": links.get(key_id, 0),
            }
            for key_id in session.keys.event_key_ids
        ]
        signing_keys = [
            {
                "kid": row.kid,
                "created_at": _format_time(row.created_at),
                "signs_from": _format_time(row.active_from),
                "retires_at": _format_time(row.retires_at),
            }
            for row in list_signing_keys(session)
        ]
    if as_json:
        show({"roots": roots, "signing_keys": signing_keys}, as_json=True)
        return
    tables = {f"root secret {root['key_id']}": _flat(root) for root in roots}
    tables |= {f"signing key {number}": key for number, key in enumerate(signing_keys, 1)}
    show(tables, as_json=False)


@_rotate.command()
def signing(*, as_json: AsJson = False) -> None:
    """Replace the key that signs JWTs, and delete keys that no valid JWT needs.

    The new key is published at once and signs a minute later. Issued JWTs stay valid until they
    expire, within minutes. No restart is needed.
    """
    from accounts.services.signing_keys import delete_retired_keys, rotate_signing_key

    with open_transaction(writing=True) as session, show_progress("Creating a key"):
        key = rotate_signing_key(session)
        record = {
            "kid": key.kid,
            "signs_from": _format_time(key.active_from),
            "forgotten": delete_retired_keys(session),
        }
    show(record, as_json=as_json)


@_rotate.command()
def root(
    *,
    restarted: Annotated[
        bool,
        typer.Option(
            "--restarted",
            help="Use the new root secret. Every service on this database must have been restarted"
            " since it was added, or be stopped.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the root secret in two steps, so that every service can always read every row.

    1. `keys rotate root` adds a new root secret to the key file, without using it. Restart each
    service.

    2. `keys rotate root --restarted` makes it the present one. Restart each service again, then run
    `keys rewrite`, and some time later `keys retire`.

    If no service runs, run the two steps one after the other.

    If you set ONESELF_SECRET_KEY, rotate it yourself: add the new one to
    ONESELF_SECRET_KEY_FORMER on each replica, and restart them all; then swap the two, and restart
    them all again. A single service needs one restart: put the new one into ONESELF_SECRET_KEY, and
    the old one into ONESELF_SECRET_KEY_FORMER.
    """
    from accounts.services.root_keys import remember_root
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.runtime.key_file import add_root, added_root, use_root

    settings = load_settings()
    if settings.secret_key:
        raise Failure(
            "The root secret is set in ONESELF_SECRET_KEY, so you must rotate it yourself. Add a"
            " new one to ONESELF_SECRET_KEY_FORMER and restart each service; then swap the two and"
            f" restart each again; then run: {_RUN} rewrite"
        )
    with open_database(settings) as database:
        added = added_root(settings)
        if added is None and restarted:
            raise Failure(
                f"There is no new root secret to use. Add one with: {_RUN} rotate root",
                status=USAGE,
            )
        if added is not None and not restarted:
            raise Failure(
                f"The root secret {added} was already added and is not used yet. Restart each"
                f" service, so that it can read it, then run: {_RUN} rotate root --restarted"
            )
        if added is None:
            added = add_root(settings)
            note = (
                "Every service must know it before it is used. Restart each, then run: "
                f"{_RUN} rotate root --restarted"
            )
        else:
            with database.transaction(writing=True) as session:
                remember_root(session, added)
                # Before the commit: after a crash between the two, the next start records it.
                use_root(settings, added)
            note = f"Restart each service, so that it uses the new secret, then run: {_RUN} rewrite"
    state = "present" if restarted else "unused"
    show({"key_id": added, "state": state}, as_json=as_json, note=note)


@app.command()
def rewrite(*, as_json: AsJson = False) -> None:
    """Re-encrypt the rows sealed under a former root secret with the present one.

    These are access tokens, signing keys and unsent mail. Services may keep running. Run it again
    if it was interrupted, or if a service had not been restarted yet. Digests (of passwords,
    sessions and all other tokens) are renewed when they are next used; `keys list` counts the rest.
    """
    from oneself.commands.console.session_setup import load_settings, open_database

    with open_database(load_settings()) as database, show_progress("Re-encrypting"):
        rewritten, unreadable = _rewrite(database)
    record = {"rewritten": rewritten, "unreadable": [row._asdict() for row in unreadable]}
    show(record, as_json=as_json)
    if unreadable:
        raise Failure(
            f"{len(unreadable)} rows cannot be decrypted, and were not changed. Restore them from a"
            f" backup, or revoke them with: {_RUN} retire KEY_ID --revoke"
        )


@app.command()
def retire(
    key_id: Annotated[
        str,
        typer.Argument(
            metavar="KEY_ID", help="The id of the former root secret, from `keys list`."
        ),
    ],
    *,
    revoke: Annotated[
        bool,
        typer.Option(
            "--revoke",
            help="Also revoke all sessions, keys and tokens stored under it, delete client secrets,"
            " and make users reset their passwords.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Retire a former root secret that no live row and no running service uses.

    Without --revoke the command is refused while there are live rows, and prints how many. If the
    chain of events has links under the secret, it is kept for verifying them, and nothing else.

    If the root secret has leaked, replace the signing key too: `keys rotate signing`.
    """
    from accounts.jobs.key_rotation import retire_root
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.runtime.key_file import drop_root

    settings = load_settings()
    with open_database(settings) as database:
        _require_former(database, key_id)
        # In batches first, so that the single transaction below is short.
        _rewrite(database)
        with database.transaction(writing=True) as session:
            outcome = retire_root(session, key_id, revoke=revoke)
    if "event_seal" in outcome.rows:
        raise Failure(
            f"The last archive of events is sealed under {key_id}. Archive some more, which seals"
            " under the present root secret: python -m oneself events archive FILE --older-than 1"
        )
    if not outcome.done:
        counts = ", ".join(f"{number} {name}" for name, number in outcome.rows.items())
        raise Failure(
            f"There are live rows under {key_id}: {counts}. They are renewed when they are next"
            " used, or expire. To revoke them now and make their users reset their passwords, run:"
            f" {_RUN} retire {key_id} --revoke"
        )
    if settings.secret_key:
        note = (
            f"Put events: before it in ONESELF_SECRET_KEY_FORMER, since {outcome.links} links of"
            " the chain of events still need it, and restart each service."
            if outcome.links
            else "Remove it from ONESELF_SECRET_KEY_FORMER, and restart each service."
        )
    else:
        drop_root(settings, key_id, keep_for_events=outcome.links > 0)
        note = "Restart each service, so that it forgets the secret."
    record = {"key_id": key_id, "ended": outcome.rows, "kept_for_links": outcome.links}
    show(record, as_json=as_json, note=note)


def _rewrite(database: "Database") -> "tuple[int, list[Unreadable]]":
    """Rewrite in batches, each its own transaction; return the count and the unreadable rows."""
    from accounts.jobs.key_rotation import START, Position, rekey_batch

    rewritten = 0
    unreadable: list[Unreadable] = []
    after: Position | None = START
    while after is not None:
        with database.transaction(writing=True) as session:
            batch = rekey_batch(session, after)
        rewritten += batch.rewritten
        unreadable += batch.unreadable
        after = batch.after
    return rewritten, unreadable


def _require_former(database: "Database", key_id: str) -> None:
    with database.transaction(writing=False) as session:
        keys = session.keys
    if key_id == keys.key_id:
        raise Failure(
            f"{key_id} is the present root secret. Replace it first with: {_RUN} rotate root",
            status=USAGE,
        )
    if key_id not in keys.key_ids:
        raise Failure(f"There is no former root secret {key_id}. See: {_RUN} list", status=USAGE)


def _state(keys: "Keyring", key_id: str, since: Mapping[str, object]) -> str:
    if key_id == keys.key_id:
        return "present"
    if key_id not in keys.key_ids:
        return "events"
    return "former" if key_id in since else "unused"


def _flat(root: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten the counts of a root secret into its record, for a table."""
    counts = {f"live {name}": rows for name, rows in root["live_rows"].items()}
    links = root["event_links"]
    return {"state": root["state"], "since": root["since"], **counts, "event links": links}


def _format_time(time: "datetime | None") -> str | None:
    return time.isoformat() if time else None
