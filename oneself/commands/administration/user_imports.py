"""`user import`: add the users of a CSV file, all of them or none."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.administration.tenants import TenantId, explain_missing_tenant
from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show, show_progress

if TYPE_CHECKING:
    from accounts.flows.administration.user_imports import ImportedUser
    from oneself.database import Database

_REQUIRED = ("email", "name")
_COLUMNS = frozenset((*_REQUIRED, "password_hash", "email_verified", "roles"))
_BOOLEANS: Mapping[str, bool] = {"": False, "false": False, "0": False, "true": True, "1": True}
#: Users per transaction, small enough not to delay the writes of a running service.
_BATCH_SIZE = 200
_SHOWN_PROBLEMS = 5


def import_users(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="Columns: email, name; optional: password_hash (bcrypt), email_verified (true if"
            " the other system has verified the address, else false or empty), roles (separated by"
            " spaces).",
        ),
    ],
    tenant_id: TenantId,
    *,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip addresses that already have an account.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the file and print the counts, but add no user."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import users from a CSV file, with their bcrypt password hashes if it has them.

    No user is added unless every line is valid. Each hash is renewed at the user's next login.
    Users without one set a password with a reset link, which also verifies their address.
    """
    from accounts.flows.administration.tenants import find_tenant
    from oneself.commands.console.session_setup import load_settings, open_database

    with open_database(load_settings()) as database:
        with database.transaction(writing=False) as session, explain_missing_tenant(tenant_id):
            tenant_id = find_tenant(session, tenant_id).id
        users, skipped = _select(_read(file), database, skip_existing=skip_existing)
        if not dry_run:
            with show_progress(f"Adding {len(users)} users"):
                _add(users, tenant_id, database)
    record = {"imported": 0 if dry_run else len(users), "skipped": skipped}
    show({**record, "would_import": len(users)} if dry_run else record, as_json=as_json)


def _add(users: Sequence["ImportedUser"], tenant_id: str, database: "Database") -> None:
    from accounts.errors import EmailTaken
    from accounts.flows.administration.tenants import find_tenant
    from accounts.flows.administration.user_imports import import_user

    for start in range(0, len(users), _BATCH_SIZE):
        try:
            with database.transaction(writing=True) as session:
                with explain_missing_tenant(tenant_id):
                    tenant = find_tenant(session, tenant_id)
                for user in users[start : start + _BATCH_SIZE]:
                    import_user(session, tenant, user)
        except EmailTaken:
            raise Failure(
                f"Only {start} users were added: an account with an address of the file was created"
                " meanwhile. Run the command again with --skip-existing."
            ) from None


def _select(
    lines: Iterator[tuple[int, "ImportedUser"]], database: "Database", *, skip_existing: bool
) -> tuple[list["ImportedUser"], int]:
    """Return the users to add, and the number skipped; a failure names lines, and no value."""
    from accounts.errors import InvalidRequest
    from accounts.flows.administration.user_imports import check_import
    from accounts.services.users import is_taken

    users: list[ImportedUser] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    skipped = 0
    with database.transaction(writing=False) as session:
        for line, imported in lines:
            try:
                key = check_import(imported, keys=session.keys, limits=session.limits)
            except InvalidRequest as refusal:
                violation = refusal.violations[0]
                name = "/".join(map(str, violation.field))
                problems.append(f"line {line}: {name} {violation.rule}")
                continue
            if key in seen:
                problems.append(f"line {line}: the address is already in line {seen[key]}")
            elif not is_taken(session, key):
                users.append(imported)
            elif skip_existing:
                skipped += 1
            else:
                problems.append(f"line {line}: the address has an account (see --skip-existing)")
            seen.setdefault(key, line)
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        raise Failure(f"No user was added: {shown}" + (f"; and {more} more." if more > 0 else "."))
    return users, skipped


def _read(file: Path) -> Iterator[tuple[int, "ImportedUser"]]:
    """Yield each user of a file with the number of their last line."""
    from accounts.flows.administration.user_imports import ImportedUser

    try:
        # utf-8-sig: spreadsheets write a byte order mark.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = reader.fieldnames or ()
            if missing := [name for name in _REQUIRED if name not in columns]:
                raise Failure(f"{file} has no column {' and no '.join(missing)}. Add it.")
            if unknown := sorted(set(columns) - _COLUMNS):
                raise Failure(
                    f"{file} has unknown columns: {', '.join(unknown)}. Use only:"
                    f" {', '.join(sorted(_COLUMNS))}."
                )
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise Failure(
                        f"{file}, line {line}: the number of fields differs from the header."
                    )
                verified = _BOOLEANS.get(row.get("email_verified", "").strip().lower())
                if verified is None:
                    raise Failure(f"{file}, line {line}: email_verified must be true or false.")
                yield (
                    line,
                    ImportedUser(
                        email=row["email"].strip(),
                        name=row["name"].strip(),
                        password_hash=row.get("password_hash", "").strip() or None,
                        is_verified=verified,
                        roles=row.get("roles", "").split() or ("member",),
                    ),
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise Failure(f"{file} is not a CSV file in UTF-8 ({type(error).__name__}).") from None
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}. Give another FILE.csv.") from None
