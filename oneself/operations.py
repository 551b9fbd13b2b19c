"""The operations, each compiled once, at start, from the document."""

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy.exc import OperationalError
from starlette.types import Receive, Scope, Send

from accounts.authentication import authenticate
from accounts.database import AccountSession, hold_account
from accounts.errors import AccountError, Conflict, Internal
from accounts.principal import Presented, Principal
from accounts.rights import authorise
from handlers.exchange import Exchange, Reply
from oneself.bodies import (
    expects_body,
    headers_of,
    read_body,
)
from oneself.callers import Callers
from oneself.contents import Contents
from oneself.credentials import sent_bearer
from oneself.dialects import Dialects, Stamp
from oneself.document import Described, described_operations
from oneself.edge import Edge
from oneself.framework import RoutedAPI, RoutedMiddleware
from oneself.guard import Passage
from oneself.leaving import is_leaving
from oneself.parameters import Parameters
from oneself.promises import Promises
from oneself.repeats import PARAMETER, attempt_of, once
from oneself.responses import Answer, answer_of_refusal
from oneself.schemas import Schemas
from oneself.sources import origin_of, user_agent_of

__all__ = ["Operations"]

_log = logging.getLogger("oneself.operations")

#: What a handler may ask for beside the operation's parameters.
_SUPPLIED = frozenset(
    {"session", "principal", "exchange", "body", "credentials", "key_set", "degraded", "leaving"}
)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request as far as the event loop reads it."""

    scope: Scope
    headers: Mapping[bytes, bytes]
    body: bytes
    passage: Passage


class _Operation:
    """One operation of the document with its handler, ready to run."""

    def __init__(
        self, described: Described, handler: Callable[..., Reply[Any]], schemas: Schemas, edge: Edge
    ) -> None:
        self._described = described
        self._handler = handler
        self._edge = edge
        self._dialect = Dialects.named(described.dialect)
        self._callers = Callers(
            described,
            api_key_brand=edge.api_key_brand,
            origins=edge.origins,
            issuer=edge.issuer,
            signing=edge.signing,
        )
        self._parameters = Parameters(described, schemas)
        self._contents = Contents(described, schemas)
        self._promises = Promises(described, schemas) if edge.check_responses else None
        self._most_bytes = edge.picture_bytes if described.workload == "image" else edge.body_bytes
        self._pool = edge.pools.get(described.workload, edge.pools["database"])
        self._inline = described.workload == "inline" and edge.database.never_waits
        self._writing = described.method != "get"
        self._wanted = frozenset(inspect.signature(handler).parameters)
        # Whether the process lives is told without the database (OP-02).
        self._needs_database = not described.public or "session" in self._wanted
        self._may_be_repeated = PARAMETER in self._parameters.names
        # Whose the credential is, is one SELECT, and needs no transaction around it.
        self._reads_once = not self._writing and "session" not in self._wanted
        unknown = self._wanted - _SUPPLIED - self._parameters.names
        missing = self._parameters.names - self._wanted - {PARAMETER}
        if unknown or missing:
            message = (
                f"{described.operation_id}: the handler's parameters differ: {unknown or missing}"
            )
            raise TypeError(message)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        passage: Passage = scope["oneself.passage"]
        passage.operation_id = self._described.operation_id
        passage.headers = self._described.farewell
        headers = headers_of(scope)
        request = _Request(scope, headers, b"", passage)
        if self._described.workload == "image" and not await self._may_send_much(request, send):
            return
        if expects_body(headers):
            body = await read_body(
                receive, most_bytes=self._most_bytes, seconds=self._edge.body_seconds
            )
            request = replace(request, body=body)
        if self._inline:
            try:
                answer = self._answer(request, waiting=False)
            except OperationalError:
                # Busy: the event loop must not wait, a thread may.
                answer = await self._pool.run(partial(self._answer, request))
        else:
            answer = await self._pool.run(partial(self._answer, request))
        await passage.send(send, answer)

    async def _may_send_much(self, request: _Request, send: Send) -> bool:
        """Refuse whoever is nobody before a large body of theirs is read into memory."""
        refused = await self._edge.pools["database"].run(partial(self._refuse_strangers, request))
        if refused is not None:
            # What of the body is on its way is not read, so nothing may follow it.
            closed = replace(refused, headers={**refused.headers, "Connection": "close"})
            await request.passage.send(send, closed)
        return refused is None

    def _refuse_strangers(self, request: _Request) -> Answer | None:
        try:
            presented = self._callers.read(request.scope, request.headers).presented
            if presented is not None:
                self._edge.database.attempt(partial(self._recognise, presented))
        except AccountError as refusal:
            return self._refuse(refusal, request)
        return None

    def _recognise(self, presented: Presented) -> Principal:
        with self._edge.database.transaction(writing=False, single=True) as session:
            return authenticate(session, presented)

    def _answer(self, request: _Request, *, waiting: bool = True) -> Answer:
        """Run the operation in its transaction, or refuse; a failure to render changes nothing."""
        stamp = Stamp(request.passage.request_id, datetime.now(UTC))
        try:
            answer = self._edge.database.attempt(
                partial(self._run, request, stamp, waiting=waiting)
            )
        except AccountError as refusal:
            answer = self._find_answer(request, stamp, refusal) or self._refuse(refusal, request)
        return answer

    def _find_answer(self, request: _Request, stamp: Stamp, refusal: AccountError) -> Answer | None:
        """What another attempt was answered that began, as this one did, before either had ended.

        The later finds, say, that the address is taken: by itself.
        """
        if not (self._may_be_repeated and isinstance(refusal, Conflict)):
            return None
        try:
            return self._edge.database.attempt(
                partial(self._run, request, stamp, waiting=True, refusal=refusal)
            )
        except AccountError:
            return None

    def _refuse(self, refusal: AccountError, request: _Request) -> Answer:
        answer = answer_of_refusal(
            refusal,
            self._dialect,
            Stamp(request.passage.request_id, datetime.now(UTC)),
            bearer_was_sent=sent_bearer(request.scope["headers"]),
        )
        self._hold_to_document(answer)
        return answer

    def _run(
        self,
        request: _Request,
        stamp: Stamp,
        *,
        waiting: bool,
        refusal: AccountError | None = None,
    ) -> Answer:
        """Run the operation, or raise what it was refused for already unless its answer is kept."""
        edge = self._edge
        caller = self._callers.read(request.scope, request.headers)
        presented = caller.presented
        user_id = None
        if presented is not None:
            request.passage.credential_kind = presented.kind.value
            if self._writing:
                # Before the write lock is taken: else whoever sends tokens that nobody has, which
                # needs no more than their form, would keep all who write waiting.
                user_id = self._recognise(presented).person.user_id
        with self._transaction(request, waiting=waiting) as session:
            if user_id is not None and session is not None:
                # Before it is authenticated again: what is revoked meanwhile writes nothing.
                hold_account(session, user_id)
            supplied: dict[str, Any] = {
                "session": session,
                "credentials": caller.credentials,
                "key_set": edge.signing.current,
                "degraded": edge.policies.degraded,
                "leaving": is_leaving,
            }
            if "exchange" in self._wanted:
                supplied["exchange"] = Exchange(
                    user_agent=user_agent_of(request.headers),
                    same_origin=caller.same_origin,
                    by_cookie=caller.by_cookie,
                    issuer=edge.issuer,
                )
            if presented is not None and session is not None:
                supplied["principal"] = self._authenticate(session, presented)
            supplied |= self._read(request)
            if presented is not None:
                self._authorise(supplied["principal"])

            def do() -> Reply[Any]:
                if refusal is not None:
                    raise refusal
                return self._ask_handler(supplied)

            reply = (
                once(session, attempt_of(self._described, supplied), do)
                if self._may_be_repeated and session is not None
                else do()
            )
            answer = self._render(reply, stamp)
            self._hold_to_document(answer)
        return answer

    def _ask_handler(self, supplied: Mapping[str, Any]) -> Reply[Any]:
        session: AccountSession | None = supplied["session"]
        try:
            return self._handler(**{name: supplied[name] for name in self._wanted})
        finally:
            if session is not None:
                self._edge.usage.note_observed(session.observed, session.now)

    def _transaction(
        self, request: _Request, *, waiting: bool
    ) -> AbstractContextManager[AccountSession | None]:
        if not self._needs_database:
            return nullcontext()
        return self._edge.database.transaction(
            writing=self._writing,
            waiting=waiting,
            single=self._reads_once,
            origin=origin_of(request.scope, request.passage.request_id, self._edge.proxies),
        )

    def _authenticate(self, session: AccountSession, presented: Presented) -> Principal:
        principal = authenticate(session, presented)
        credential = principal.credential
        self._edge.usage.note(credential, session.now)
        session.origin = session.origin._replace(
            credential_kind=credential.kind.value, credential_id=credential.id
        )
        return principal

    def _read(self, request: _Request) -> dict[str, Any]:
        """The parameters and the body, each as the document has it."""
        scope = request.scope
        read: dict[str, Any] = self._parameters.read(
            scope.get("path_params", {}), scope["query_string"], request.headers
        )
        return read | self._contents.read(request.body, request.headers.get(b"content-type"))

    def _authorise(self, principal: Principal) -> None:
        described = self._described
        authorise(
            principal,
            self._edge.policies.decide,
            action=described.operation_id,
            accepted=described.accepted,
            scope=described.scope,
        )

    def _render(self, reply: Reply[Any], stamp: Stamp) -> Answer:
        if reply.body is None or isinstance(reply.body, bytes):
            return Answer(reply.status, reply.body or b"", reply.media_type, reply.headers)
        content = self._dialect.dress(reply.body, stamp)
        return Answer(
            reply.status, orjson.dumps(content), "application/json", reply.headers, content
        )

    def _hold_to_document(self, answer: Answer) -> None:
        if self._promises is not None and (broken := self._promises.broken_by(answer)):
            _log.error("%s breaks the document: %s", self._described.operation_id, broken)
            raise Internal


class _OperationsApi(RoutedAPI[_Operation]):  # type: ignore[misc] # connexion has no types
    """The operations of one document, by operationId."""

    def __init__(self, specification: Any, *, edge: Edge, **options: Any) -> None:
        super().__init__(specification, **options)
        self._edge = edge
        document = specification.raw
        self._schemas = Schemas(document)
        self._described = {each.operation_id: each for each in described_operations(document)}
        self.add_paths()

    def make_operation(self, operation: Any) -> _Operation:
        """Compile one operation; Connexion has resolved its handler."""
        described = self._described[operation.operation_id]
        return _Operation(described, operation.function, self._schemas, self._edge)


class Operations(RoutedMiddleware[_OperationsApi]):  # type: ignore[misc] # connexion has no types
    """Runs the operation that routing found."""

    api_cls = _OperationsApi
