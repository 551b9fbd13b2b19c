"""Choice of the operations that probes are sent to."""

from collections.abc import Iterable

from oneself_conformance.actors import Actors
from oneself_conformance.cases.request_building import credential_header
from oneself_conformance.document import OperationSpec, load_document, resolve
from oneself_conformance.operations import OPERATIONS, request_examples, schemes_of
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Address
from oneself_conformance.targets import Deployment, Unreachable

_HEALTH = "/healthz"
_JSON = "application/json"


def target_of(deployment: Deployment, dialect: str | None) -> ProbeTarget:
    """Return the first read and the first POST of a dialect, or of all, that accept a session.

    Raises:
        Unreachable: The dialect lacks one of them, or the credentials have no session.
    """
    operations = [
        each
        for each in OPERATIONS.values()
        if dialect in {None, each.dialect} and "session" in schemes_of(each)
    ]
    read = _first(operations, "get", dialect)
    # Not a password change: a probe that succeeded would change the password irrecoverably.
    post = _first(
        [each for each in operations if not each.operation_id.endswith(".changePassword")],
        "post",
        dialect,
    )
    address = Address.of_url(deployment.url)
    name, value = credential_header("bearer", Actors(deployment).find("base")["session_token"])
    return ProbeTarget(
        address,
        host=address.host_header,
        read=read.path,
        post=post.path,
        example=request_examples(post)[_JSON],
        credential=f"{name}: {value}",
        health=_HEALTH if dialect is None else None,
        read_methods=frozenset(
            each.method.upper() for each in OPERATIONS.values() if each.path == read.path
        ),
    )


def _first(operations: Iterable[OperationSpec], method: str, dialect: str | None) -> OperationSpec:
    for each in operations:
        schema = resolve(load_document(), each.bodies.get(_JSON, {}))
        suits = method == "get" or schema.get("required")
        if each.method == method and "{" not in each.path and suits:
            return each
    raise Unreachable(f"{dialect} has no {method.upper()} that accepts a session and suits probes")
