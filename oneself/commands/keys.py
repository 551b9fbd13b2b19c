"""Keys: the root secrets that everything is stored under, and what JWTs are signed with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oneself.commands.console.failures import USAGE, Failure
from oneself.commands.console.output import AsJson, show, waiting

if TYPE_CHECKING:
    from datetime import datetime

    from accounts.crypto.keyring import Keyring
    from accounts.jobs.key_rotation import Unreadable
    from oneself.database import Database
    from oneself.settings import Settings

__all__ = ["app"]

_RUN = "python -m oneself keys"

app = typer.Typer(no_args_is_help=True, help="List keys, replace them, and retire former ones.")
_rotate = typer.Typer(no_args_is_help=True, help="Replace a key, while the service runs.")
app.add_typer(_rotate, name="rotate")


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List root secrets by their ids, with the live rows still under each, and signing keys.

    A root is present, and what is new is stored under it; or former, and rows may be under it; or
    unused, which is known and has none; or it is kept for the chain of events only. Links of that
    chain are counted apart: they stay for good, and keep no root from being retired.
    """
    from accounts.jobs.key_rotation import count_links, count_live
    from accounts.services.root_keys import list_roots
    from accounts.services.signing_keys import list_signing_keys
    from oneself.commands.console.session_setup import load_settings, open_database

    with (
        open_database(load_settings()) as database,
        database.transaction(writing=False) as session,
    ):
        live, links = count_live(session), count_links(session)
        since = list_roots(session)
        roots = [
            {
                "key_id": key_id,
                "state": _state(session.keys, key_id, since),
                "since": _moment(since.get(key_id)),
                "live_rows": live.get(key_id, {}),
                "event_links": links.get(key_id, 0),
            }
            for key_id in session.keys.event_key_ids
        ]
        signing_keys = [
            {
                "kid": row.kid,
                "created_at": _moment(row.created_at),
                "signs_from": _moment(row.active_from),
                "retires_at": _moment(row.retires_at),
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
    """Replace the key that JWTs are signed with, and forget keys that verify none any more.

    The new key is published at once and signs a minute later. JWTs that are out stay good until
    they expire, within minutes. Nothing needs to be restarted.
    """
    from accounts.services.signing_keys import delete_retired_keys, rotate_signing_key
    from oneself.commands.console.session_setup import load_settings, open_database

    with (
        open_database(load_settings()) as database,
        waiting("Making a key"),
        database.transaction(writing=True) as session,
    ):
        made = rotate_signing_key(session)
        record = {
            "kid": made.kid,
            "signs_from": _moment(made.active_from),
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
            help="Every service on this database was started after the new root secret was added,"
            " or none runs: use it.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace the root secret, in two steps, so that no service meets a row that it cannot read.

    1. `keys rotate root` adds a new root secret to the key file, known and not used. Restart each
    service.

    2. `keys rotate root --restarted` makes it the present one. Restart each service again, then run
    `keys rewrite`, and some time later `keys retire`.

    While no service runs, take the two steps one after the other.

    With ONESELF_SECRET_KEY it is you who does it: give the new one to each replica in
    ONESELF_SECRET_KEY_FORMER, and restart them all; then swap the two, and restart them all again.
    A single service can be given both at once: the new one in ONESELF_SECRET_KEY, the old one in
    ONESELF_SECRET_KEY_FORMER.
    """
    from accounts.services.root_keys import remember_root
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.runtime.key_file import add_root, added_root, use_root

    settings = load_settings()
    if _from_environment(settings):
        raise Failure(
            "The root secret is in ONESELF_SECRET_KEY, which is yours to change. Put a new one into"
            " ONESELF_SECRET_KEY_FORMER and restart each service; then swap the two and restart"
            f" each again; then run: {_RUN} rewrite"
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
                f"The root secret {added} was added before and is not used yet. Restart each"
                f" service, so that it knows it, then run: {_RUN} rotate root --restarted"
            )
        if added is None:
            added = add_root(settings)
            note = (
                "Every service must know it before one uses it. Restart each, then run: "
                f"{_RUN} rotate root --restarted"
            )
        else:
            with database.transaction(writing=True) as session:
                remember_root(session, added)
                # Before the commit: after a crash between the two, the next start remembers it.
                use_root(settings, added)
            note = f"Restart each service, so that it stores under it, then run: {_RUN} rewrite"
    state = "present" if restarted else "unused"
    show({"key_id": added, "state": state}, as_json=as_json, note=note)


@app.command()
def rewrite(*, as_json: AsJson = False) -> None:
    """Seal under the present root secret what is sealed under a former one.

    Those are access tokens, signing keys and mail that is not sent. It can be run while services
    run, and again after whatever has stopped it, or for what a service has stored meanwhile that
    was not restarted yet. What is stored as a digest (passwords, sessions and all the other tokens)
    is stored anew when it is next used; `keys list` counts what is left.
    """
    from oneself.commands.console.session_setup import load_settings, open_database

    with open_database(load_settings()) as database, waiting("Sealing anew"):
        rewritten, unreadable = _rewrite(database)
    show(
        {"rewritten": rewritten, "unreadable": [row._asdict() for row in unreadable]},
        as_json=as_json,
    )
    if unreadable:
        raise Failure(
            f"{len(unreadable)} rows cannot be opened, and stay as they are. Restore them from a"
            f" backup, or end them with: {_RUN} retire KEY_ID --revoke"
        )


@app.command()
def retire(
    key_id: Annotated[
        str, typer.Argument(metavar="KEY_ID", help="The former root secret, as `list` names it.")
    ],
    *,
    revoke: Annotated[
        bool,
        typer.Option(
            "--revoke",
            help="End what is live under it: revoke sessions, keys and tokens, take the secrets of"
            " clients, and let users reset their passwords.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Forget a former root secret, once no live row is under it and no service stores under it.

    Without --revoke it is refused while there are such rows, and says how many. If the chain of
    events has links under it, it is kept for verifying them, and opens nothing else.

    After a leak of the root secret, replace the signing key too: `keys rotate signing`.
    """
    from accounts.jobs.key_rotation import retire_root
    from oneself.commands.console.session_setup import load_settings, open_database
    from oneself.runtime.key_file import drop_root

    settings = load_settings()
    with open_database(settings) as database:
        _require_former(database, key_id)
        # In batches first, so that the one transaction below is short.
        _rewrite(database)
        with database.transaction(writing=True) as session:
            outcome = retire_root(session, key_id, revoke=revoke)
    if not outcome.done:
        raise Failure(
            f"Live rows are under {key_id}: {_counted(outcome.rows)}. They are stored anew when"
            " they are next used, or expire; or end them, and let as many users reset their"
            f" passwords, with: {_RUN} retire {key_id} --revoke"
        )
    if _from_environment(settings):
        note = (
            f"Put events: before it in ONESELF_SECRET_KEY_FORMER, for {outcome.links} links of the"
            " chain of events, and restart each service."
            if outcome.links
            else "Take it out of ONESELF_SECRET_KEY_FORMER, and restart each service."
        )
    else:
        drop_root(settings, key_id, keep_for_events=outcome.links > 0)
        note = "Restart each service, so that it knows it no longer."
    show(
        {"key_id": key_id, "ended": outcome.rows, "kept_for_links": outcome.links},
        as_json=as_json,
        note=note,
    )


def _rewrite(database: "Database") -> "tuple[int, list[Unreadable]]":
    """Rewrite in batches, each its own transaction; how many rows that were, and which not."""
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
            f"{key_id} is the present root secret. Replace it first: {_RUN} rotate root",
            status=USAGE,
        )
    if key_id not in keys.key_ids:
        raise Failure(f"There is no former root secret {key_id}. See: {_RUN} list", status=USAGE)


def _from_environment(settings: "Settings") -> bool:
    return bool(settings.secret_key and settings.secret_key.get_secret_value())


def _state(keys: "Keyring", key_id: str, since: Mapping[str, object]) -> str:
    if key_id == keys.key_id:
        return "present"
    if key_id not in keys.key_ids:
        return "events"
    return "former" if key_id in since else "unused"


def _flat(root: Mapping[str, Any]) -> dict[str, Any]:
    """A root with its counts beside the rest, for a table."""
    counts = {f"live {name}": rows for name, rows in root["live_rows"].items()}
    links = root["event_links"]
    return {"state": root["state"], "since": root["since"], **counts, "event links": links}


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in rows.items())


def _moment(moment: "datetime | None") -> str | None:
    return moment.isoformat() if moment else None
