"""`user import`: users out of a CSV file, all of them or none."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oneself.commands.administration.tenants import TenantId, explained_if_missing
from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show, waiting

if TYPE_CHECKING:
    from accounts.flows.administration.user_imports import ImportedUser
    from oneself.database import Database

__all__ = ["import_users"]

_NEEDED = ("email", "name")
_KNOWN = frozenset((*_NEEDED, "password_hash", "email_verified", "roles"))
_TRUTHS: Mapping[str, bool] = {"": False, "false": False, "0": False, "true": True, "1": True}
#: So many at once, so that a service that runs beside it waits for none of its writes for long.
_BATCH = 200
_SHOWN_PROBLEMS = 5


def import_users(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="Columns: email, name; and if you like password_hash (bcrypt), email_verified"
            " (true or false), roles (with spaces between them).",
        ),
    ],
    tenant_id: TenantId,
    *,
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Leave out whoever has an account already."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add the users of a file, with the bcrypt hashes of their passwords from elsewhere.

    Nobody is added unless every line is right. A hash is renewed by its user's next login; who has
    none sets a password by mail, to an address that is verified.
    """
    from accounts.flows.administration.tenants import find_tenant
    from oneself.commands.console.session_setup import load_settings, open_database

    with open_database(load_settings()) as database:
        with database.transaction(writing=False) as session, explained_if_missing(tenant_id):
            tenant_id = find_tenant(session, tenant_id).id
        users, skipped = _select(_read(file), database, skip_existing=skip_existing)
        if not dry_run:
            with waiting(f"Adding {len(users)} users"):
                _add(users, tenant_id, database)
    record = {"imported": 0 if dry_run else len(users), "skipped": skipped}
    show({**record, "would_import": len(users)} if dry_run else record, as_json=as_json)


def _add(users: Sequence["ImportedUser"], tenant_id: str, database: "Database") -> None:
    from accounts.errors import EmailTaken
    from accounts.flows.administration.tenants import find_tenant
    from accounts.flows.administration.user_imports import import_user

    for start in range(0, len(users), _BATCH):
        try:
            with database.transaction(writing=True) as session:
                with explained_if_missing(tenant_id):
                    tenant = find_tenant(session, tenant_id)
                for each in users[start : start + _BATCH]:
                    import_user(session, tenant, each)
        except EmailTaken:
            raise Failure(
                f"{start} users were added; then somebody opened an account with an address of the"
                " file. Run the command again with --skip-existing."
            ) from None


def _select(
    lines: Iterator[tuple[int, "ImportedUser"]], database: "Database", *, skip_existing: bool
) -> tuple[list["ImportedUser"], int]:
    """The users of a file who are to be added, and how many are there already.

    Raises:
        Failure: A line is not right; the sentence names the first few, and no value.
    """
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
                broken = refusal.violations[0]
                name = "/".join(map(str, broken.field))
                problems.append(f"line {line}: {name} {broken.rule}")
                continue
            if key in seen:
                problems.append(f"line {line}: the address stands in line {seen[key]} already")
            elif not is_taken(session, key):
                users.append(imported)
            elif skip_existing:
                skipped += 1
            else:
                problems.append(f"line {line}: the address has an account (--skip-existing)")
            seen.setdefault(key, line)
    if problems:
        shown = "; ".join(problems[:_SHOWN_PROBLEMS])
        more = len(problems) - _SHOWN_PROBLEMS
        raise Failure(f"Nobody was added. {shown}" + (f"; and {more} more." if more > 0 else "."))
    return users, skipped


def _read(file: Path) -> Iterator[tuple[int, "ImportedUser"]]:
    """Each user of a file, with the line that they end on.

    Raises:
        Failure: It is no such file.
    """
    from accounts.flows.administration.user_imports import ImportedUser

    try:
        # With a byte order mark, as spreadsheets write it.
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = reader.fieldnames or ()
            if missing := [name for name in _NEEDED if name not in columns]:
                raise Failure(f"{file} has no column {' and no '.join(missing)}.")
            if unknown := sorted(set(columns) - _KNOWN):
                raise Failure(
                    f"{file} has columns that are not known: {', '.join(unknown)}. Known are:"
                    f" {', '.join(sorted(_KNOWN))}."
                )
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise Failure(f"{file}, line {line}: it has more or fewer fields than columns.")
                verified = _TRUTHS.get(row.get("email_verified", "").strip().lower())
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
