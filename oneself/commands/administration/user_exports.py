"""`user export`: write the users of a tenant to a file."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from oneself.commands.administration.tenants import TenantId, explain_missing_tenant
from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show
from oneself.commands.console.transactions import open_transaction

if TYPE_CHECKING:
    from accounts.flows.administration.user_exports import ExportedUser


def export_users(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.")],
    tenant_id: TenantId,
    *,
    format_: Annotated[
        Literal["ndjson", "keycloak", "auth0"],
        typer.Option("--format", help="The format: ours, or what another system imports."),
    ] = "ndjson",
    as_json: AsJson = False,
) -> None:
    """Export the users of a tenant, without passwords and other credentials.

    A password hash cannot leave: it is bound to the root secret. Users set a password with a reset
    link of the other system. The file can be read by you alone.
    """
    from accounts.flows.administration.tenants import find_tenant
    from accounts.flows.administration.user_exports import list_for_export
    from oneself.commands.administration.user_files import hosted, keycloak, ours

    writers: dict[str, Callable[[Iterator[Mapping[str, Any]]], Iterator[str]]] = {
        "ndjson": ours.write,
        "keycloak": keycloak.write,
        "auth0": hosted.write_auth0,
    }
    count = 0

    def count_users(users: Iterator["ExportedUser"]) -> Iterator[Mapping[str, Any]]:
        nonlocal count
        for user in users:
            count += 1
            yield _describe(user)

    with open_transaction(writing=False) as session:
        with explain_missing_tenant(tenant_id):
            tenant = find_tenant(session, tenant_id)
        lines = writers[format_](count_users(list_for_export(session, tenant.id)))
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise Failure(f"{file} cannot be written: {error.strerror}. Give a new FILE.") from None
    show({"exported": count}, as_json=as_json)


def _describe(user: "ExportedUser") -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.display_name or user.username,
        "email_verified": user.email_verified_at is not None,
        "enabled": user.disabled_at is None,
        "roles": user.roles,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "phone": user.phone,
        "locale": user.locale,
        "username": user.username,
        "external_id": user.external_id,
        "created_at": user.created_at.isoformat(),
    }
