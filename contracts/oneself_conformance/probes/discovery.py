"""Choice of the operations that probes are sent to."""

from collections.abc import Iterable

from oneself_conformance.actors import Actors
from oneself_conformance.cases.request_building import ACTOR_KEYS, CREDENTIALS, credential_header
from oneself_conformance.document import OperationSpec, load_document, resolve
from oneself_conformance.operations import OPERATIONS, request_examples, schemes_of
from oneself_conformance.probes.target import ProbeTarget
from oneself_conformance.probes.wire import Address
from oneself_conformance.targets import Deployment

_HEALTH = "/healthz"
_JSON = "application/json"


def target_of(
    deployment: Deployment, dialect: str | None, actors: Actors | None = None
) -> ProbeTarget:
    """Return the first read and the first POST of a dialect, or of all, that accept a token.

    Raises:
        Unreachable: The dialect has neither, or the credentials have no such token.
    """
    # The page of Hyperclast says how a token is sent, and not how a session is.
    kind = "access_token" if dialect == "hyperclast" else "session"
    operations = [
        each
        for each in OPERATIONS.values()
        if dialect in {None, each.dialect}
        and CREDENTIALS[kind][0] in schemes_of(each)
        # Others have the operations of the page, and none of ours.
        and not (deployment.is_foreign and each.is_extension)
    ]
    read = _first(operations, "get")
    # Not a password change: a probe that succeeded would change the password irrecoverably.
    post = _first(
        [each for each in operations if not each.operation_id.endswith(".changePassword")], "post"
    )
    if read is None and post is None:
        # No probe has a complete body, so its only operation changes nothing either.
        post = _first(operations, "post")
    user = (actors or Actors(deployment)).find("base")
    value = user[ACTOR_KEYS[kind]]
    headers = deployment.recipe.headers(kind, value, user) or [credential_header(kind, value)]
    address = Address.of_url(deployment.url)
    return ProbeTarget(
        address,
        host=address.host_header,
        read=read.path if read else None,
        post=post.path if post else None,
        example=request_examples(post)[_JSON] if post else {},
        credential=": ".join(headers[0]),
        health=_HEALTH if dialect is None else None,
        read_methods=frozenset(
            each.method.upper() for each in OPERATIONS.values() if read and each.path == read.path
        )
        if not deployment.is_foreign
        else None,
    )


def _first(operations: Iterable[OperationSpec], method: str) -> OperationSpec | None:
    """Return the first operation that suits probes."""
    for each in operations:
        schema = resolve(load_document(), each.bodies.get(_JSON, {}))
        suits = method == "get" or schema.get("required")
        if each.method == method and "{" not in each.path and suits:
            return each
    return None
