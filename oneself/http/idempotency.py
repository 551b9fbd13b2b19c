"""Answering a request that was sent before as it was answered then (`Idempotency-Key`)."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import orjson

from accounts.flows.idempotency import Attempt, find_response, store_response
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.exchange import Reply
from oneself.document import OperationSpec

__all__ = ["PARAMETER", "idempotent_attempt", "run_once"]

#: What the document's parameter is by its Python name; no handler is given it.
PARAMETER = "idempotency_key"


def idempotent_attempt(spec: OperationSpec, read: Mapping[str, Any]) -> Attempt | None:
    """What a request is an attempt at; None where it bears no key.

    `read` is what was read of it, by the names that handlers have for it. A body is the same if it
    says the same, in whatever order and with whatever white space.

    A key is the credential's, and not the person's: a token is not told what a session has made.
    Who has no credential has the key together with the body, so that of two strangers with the same
    key neither is in the other's way, nor learns of the other.
    """
    key: str | None = read.get(PARAMETER)
    if key is None:
        return None
    request = orjson.dumps(read.get("body"), option=orjson.OPT_SORT_KEYS).decode()
    operation_id = spec.operation_id
    principal: Principal | None = read.get("principal")
    if principal is None:
        return Attempt(f"{operation_id}\n{request}", key, request)
    credential = principal.credential
    # Of two JWTs of one session the second may be there because the first has ended meanwhile.
    name = f"{credential.kind} {credential.session_id or credential.id}"
    return Attempt(f"{operation_id}\n{name}", key, request)


def run_once(
    session: AccountSession, attempt: Attempt | None, do: Callable[[], Reply[Any]]
) -> Reply[Any]:
    """Do it, unless another attempt has; then give the reply to that.

    What is refused is not kept: it did nothing, and may be asked for again as it is.

    Raises:
        IdempotencyKeyReused: The key stands for another request.
    """
    if attempt is None:
        return do()
    kept = find_response(session, attempt)
    if kept is not None:
        status, headers, body = orjson.loads(kept)
        return Reply(body, HTTPStatus(status), headers=headers)
    reply = do()
    said = (reply.status, {**reply.headers}, reply.body)
    store_response(session, attempt, orjson.dumps(said).decode())
    return reply
