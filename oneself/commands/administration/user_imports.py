"""`user import`: add the users of a file, all that are valid or none."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from oneself.commands.administration.tenants import TenantId, explain_missing_tenant
from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show, show_progress

if TYPE_CHECKING:
    from accounts.flows.administration.user_imports import ImportedUser, PreparedUser
    from accounts.services.database import AccountSession
    from oneself.commands.administration.user_files import Row
    from oneself.database import Database

#: Users per transaction, small enough not to delay the writes of a running service.
_BATCH_SIZE = 200
_SHOWN_PROBLEMS = 5
_HAS_ACCOUNT = "the address has an account (see --skip-existing)"
_Format = Literal[
    "auto",
    "csv",
    "ndjson",
    "keycloak",
    "auth0",
    "cognito",
    "firebase",
    "supabase",
    "django",
    "laravel",
    "ldif",
]


class _Problem(NamedTuple):
    """A rule that an entry breaks; `is_refused` if its user will not come."""

    place: str
    reason: str
    is_refused: bool


class _Selection(NamedTuple):
    """The users to add, the places of those with an account, and the problems of others."""

    users: list["PreparedUser"]
    skipped: list[str]
    problems: list[_Problem]

    @property
    def refused(self) -> list[_Problem]:
        """The problems of users who will not come."""
        return [problem for problem in self.problems if problem.is_refused]


def import_users(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="An export of another system, or a CSV file with the columns email and name;"
            " docs/moving.md lists the others.",
        ),
    ],
    tenant_id: TenantId,
    *,
    format_: Annotated[
        _Format, typer.Option("--format", help="The format of the file. Default: guess it.")
    ] = "auto",
    hash_parameters: Annotated[
        Path | None,
        typer.Option(
            "--hash-parameters",
            metavar="PARAMETERS",
            help="A file with the password hash parameters of a Firebase project.",
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip addresses that already have an account.")
    ] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Add the valid users, and skip the others.")
    ] = False,
    drop_hashes: Annotated[
        bool,
        typer.Option(
            "--drop-hashes",
            help="Add users whose password hash is not accepted without it: they set a password"
            " with a reset link.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the file and print the counts, but add no user."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="REPORT.csv",
            help="Write each entry that will not come, or that loses a value, with the reason.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import users from a file, with their password hashes if it has them.

    No user is added unless every entry is valid, or with --skip-invalid. Each hash is renewed at
    the user's next login. Users without one set a password with a reset link, which also verifies
    their address. An interrupted import is continued with --skip-existing.
    """
    from accounts.flows.administration.tenants import find_tenant
    from oneself.commands.console.session_setup import load_settings, open_database

    with open_database(load_settings()) as database:
        with database.transaction(writing=False) as session, explain_missing_tenant(tenant_id):
            tenant_id = find_tenant(session, tenant_id).id
        with show_progress(f"Checking {file.name}"):
            rows = _read(file, format_, hash_parameters)
            selection = _select(
                rows, database, skip_existing=skip_existing, drop_hashes=drop_hashes
            )
        if report is not None:
            _write_report(report, selection.problems)
        if selection.refused and not skip_invalid:
            raise Failure(_explain(selection.refused))
        if not dry_run:
            _add(selection.users, tenant_id, database)
    users = selection.users
    record = {
        "imported": 0 if dry_run else len(users),
        "skipped": len(selection.skipped),
        "refused": len(selection.refused),
        "without_password": sum(user.record is None for user in users),
        "unverified": sum(not user.imported.is_verified for user in users),
    }
    show({**record, "would_import": len(users)} if dry_run else record, as_json=as_json)


def _add(users: Sequence["PreparedUser"], tenant_id: str, database: "Database") -> None:
    from accounts.errors import EmailTaken
    from accounts.flows.administration.tenants import find_tenant
    from accounts.flows.administration.user_imports import import_users

    for start in range(0, len(users), _BATCH_SIZE):
        try:
            with (
                show_progress(f"Adding {len(users)} users: {start} are added"),
                database.transaction(writing=True) as session,
            ):
                with explain_missing_tenant(tenant_id):
                    tenant = find_tenant(session, tenant_id)
                import_users(session, tenant, users[start : start + _BATCH_SIZE])
        except EmailTaken:
            raise Failure(
                f"Only {start} users were added: an account with an address of the file was created"
                " meanwhile. Run the command again with --skip-existing."
            ) from None


def _select(
    rows: Iterator["Row"], database: "Database", *, skip_existing: bool, drop_hashes: bool
) -> _Selection:
    """Return the users to add; problems name places and rules, and no value."""
    selection = _Selection([], [], [])
    prepared: list[tuple[str, PreparedUser]] = []
    with database.transaction(writing=False) as session:
        for row in rows:
            user = _prepare(row, session, selection.problems, drop_hashes=drop_hashes)
            if user is not None:
                prepared.append((row.place, user))
        seen: dict[str, str] = {}
        for start in range(0, len(prepared), _BATCH_SIZE):
            batch = prepared[start : start + _BATCH_SIZE]
            used = _find_used(session, [user for _, user in batch])
            for place, user in batch:
                reason = _find_conflict(user, seen, used)
                if reason is None:
                    selection.users.append(user)
                elif reason == _HAS_ACCOUNT and skip_existing:
                    selection.skipped.append(place)
                else:
                    selection.problems.append(_Problem(place, reason, is_refused=True))
                for key in _keys(user):
                    seen.setdefault(key, place)
    return selection


def _keys(user: "PreparedUser") -> list[str]:
    """Return what no two users may share: the address and, if it is given, the external id."""
    external_id = user.imported.external_id
    return [user.address.canonical, *([external_id] if external_id else [])]


def _find_used(session: "AccountSession", users: Sequence["PreparedUser"]) -> frozenset[str]:
    from accounts.flows.administration.user_imports import find_external_ids
    from accounts.services.users import find_held

    external_ids = [user.imported.external_id for user in users if user.imported.external_id]
    used = find_held(session, [user.address.canonical for user in users])
    return used | find_external_ids(session, external_ids) if external_ids else used


def _find_conflict(
    user: "PreparedUser", seen: Mapping[str, str], used: frozenset[str]
) -> str | None:
    # An external id has no `@`, so that the two kinds of key cannot be mistaken for each other.
    address, *external_ids = _keys(user)
    if address in seen:
        return f"the address is already in {seen[address]}"
    if address in used:
        return _HAS_ACCOUNT
    for external_id in external_ids:
        if external_id in seen:
            return f"the external_id is already in {seen[external_id]}"
        if external_id in used:
            return "another user has the external_id"
    return None


def _prepare(
    row: "Row", session: "AccountSession", problems: list[_Problem], *, drop_hashes: bool
) -> "PreparedUser | None":
    from dataclasses import replace

    from accounts.errors import InvalidRequest
    from accounts.flows.administration.user_imports import prepare_import

    imported: ImportedUser | None = row.user
    if imported is None:
        problems.append(_Problem(row.place, row.reason, is_refused=True))
        return None
    try:
        user = prepare_import(imported, keys=session.keys, limits=session.limits)
    except InvalidRequest as refusal:
        violation = refusal.violations[0]
        reason = f"{'/'.join(map(str, violation.field))} {violation.rule}"
        is_hash = violation.field == ("password_hash",)
        problems.append(_Problem(row.place, reason, is_refused=not (is_hash and drop_hashes)))
        if not (is_hash and drop_hashes):
            return None
        without = row._replace(user=replace(imported, password_hash=None))
        return _prepare(without, session, problems, drop_hashes=False)
    problems.extend(
        _Problem(
            row.place, f"{field} breaks a rule of this service, and is left out", is_refused=False
        )
        for field in user.dropped
    )
    return user


def _explain(refused: Sequence[_Problem]) -> str:
    counts = Counter(problem.place for problem in refused)
    shown = "; ".join(f"{each.place}: {each.reason}" for each in refused[:_SHOWN_PROBLEMS])
    more = len(counts) - _SHOWN_PROBLEMS
    return f"No user was added: {shown}" + (f"; and {more} more." if more > 0 else ".")


def _write_report(report: Path, problems: Sequence[_Problem]) -> None:
    try:
        with report.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("place", "comes", "reason"))
            writer.writerows(
                (each.place, "no" if each.is_refused else "yes", each.reason) for each in problems
            )
    except OSError as error:
        raise Failure(f"{report} cannot be written: {error.strerror}.") from None


def _read(file: Path, format_: str, hash_parameters: Path | None) -> Iterator["Row"]:
    """Yield each user of a file with their place in it."""
    from oneself.commands.administration.user_files import Format, MalformedFile, read_users

    content = _read_text(file)
    parameters = None if hash_parameters is None else _read_text(hash_parameters)
    try:
        yield from read_users(content, Format(format_), hash_parameters=parameters)
    except MalformedFile as problem:
        raise Failure(f"{file}{problem}") from None


def _read_text(file: Path) -> str:
    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise Failure(f"{file} is not a CSV file in UTF-8 ({type(error).__name__}).") from None
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}. Give another FILE.") from None
