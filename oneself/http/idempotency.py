"""Idempotency: a request that is retried with its `Idempotency-Key` gets the first response."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import orjson

from accounts.flows.idempotency import Attempt, find_response, store_response
from accounts.services.database import AccountSession
from accounts.services.principal import Principal
from handlers.exchange import Reply
from oneself.document import OperationSpec

#: The header, and the Python name of the document's parameter, which no handler takes.
HEADER = b"idempotency-key"
PARAMETER = "idempotency_key"


def idempotent_attempt(
    spec: OperationSpec, key: str, body: object, principal: Principal | None
) -> Attempt:
    """Return the attempt that a request with an `Idempotency-Key` is part of.

    Two bodies are equal if their JSON is, in any order and with any white space.

    A key belongs to the credential and not to the user: a token must not learn what a session has
    created. Without a credential it belongs to the body, so that two callers who choose the same
    key neither block each other nor learn of each other.
    """
    request = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
    operation_id = spec.operation_id
    if principal is None:
        return Attempt(f"{operation_id}\n{request}", key, request)
    credential = principal.credential
    # By the session and not by the JWT: a retry may come with the JWT that replaced an expired one.
    name = f"{credential.kind} {credential.session_id or credential.id}"
    return Attempt(f"{operation_id}\n{name}", key, request)


def run_once(
    session: AccountSession, attempt: Attempt, call: Callable[[], Reply[Any]]
) -> Reply[Any]:
    """Return the stored reply of an earlier attempt, or else call the handler and store its reply.

    Refusals are not stored: a refused request changed nothing and may be sent again.

    Raises:
        IdempotencyKeyReused: The key was used for another request.
    """
    stored = find_response(session, attempt)
    if stored is not None:
        status, headers, body = orjson.loads(stored)
        return Reply(body, HTTPStatus(status), headers=headers)
    reply = call()
    record = (reply.status, {**reply.headers}, reply.body)
    store_response(session, attempt, orjson.dumps(record).decode())
    return reply
