"""How an operation is executed: who asks and what they may, its handler, and its answer."""

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from accounts.errors import AccountError, Conflict, Unavailable
from accounts.services.authentication import authenticate
from accounts.services.authorization import authorise
from accounts.services.database import AccountSession, lock_account
from accounts.services.principal import Presented, Principal
from handlers.dialect import ResponseMeta
from handlers.exchange import Exchange, Reply
from oneself.database import RetryAlone, SingleReading
from oneself.document import OperationSpec
from oneself.http.guard import Request
from oneself.http.idempotency import PARAMETER, idempotent_attempt, run_once
from oneself.http.request.client_address import origin_of, user_agent_of
from oneself.http.request.credential_reader import CredentialReader, RequestCredentials
from oneself.http.request.credentials import is_same_origin, sent_bearer
from oneself.http.request.errors import Internal, NotAuthenticated
from oneself.http.request.parameters import Parameters
from oneself.http.request.request_body import RequestBodyReader
from oneself.http.request.schemas import Schemas
from oneself.http.response.dialects import dialect_of
from oneself.http.response.response_validation import ResponseValidator
from oneself.http.response.responses import Answer, answer_of_refusal
from oneself.http.services import Services
from oneself.runtime.draining import is_draining

__all__ = ["Execution"]

# It tells of operations, whichever module it is that does.
_log = logging.getLogger("oneself.http.operations")

#: What a handler may ask for beside the operation's parameters.
_SUPPLIED = frozenset(
    {"session", "principal", "exchange", "body", "credentials", "key_set", "degraded", "leaving"}
)


#: What an operation works in; for who only wants to know who asks, it is less.
_Room = AccountSession | SingleReading


class Execution:
    """One operation of the document with its handler.

    Nothing here waits for anything but the database: where it runs is for `operations` to say.
    """

    def __init__(
        self,
        spec: OperationSpec,
        handler: Callable[..., Reply[Any]],
        schemas: Schemas,
        services: Services,
    ) -> None:
        """Compile it.

        Raises:
            TypeError: The handler's parameters are not the operation's.
        """
        self._spec = spec
        self._handler = handler
        self._services = services
        self._dialect = dialect_of(spec.dialect)
        self._credential_reader = CredentialReader(
            spec,
            api_key_brand=services.api_key_brand,
            origins=services.origins,
            issuer=services.issuer,
            signing=services.signing,
        )
        self._parameters = Parameters(spec, schemas)
        self._request_body = RequestBodyReader(spec, schemas)
        self._takes_nothing = not (spec.parameters or spec.bodies)
        self._response_validator = (
            ResponseValidator(spec, schemas) if services.check_responses else None
        )
        self._writing = spec.method != "get"
        self._wanted = frozenset(inspect.signature(handler).parameters)
        # Whether the process lives is told without the database (OP-02).
        self._needs_database = not spec.public or "session" in self._wanted
        self._may_be_repeated = PARAMETER in self._parameters.names
        # Whose the credential is, is one SELECT, and needs no transaction around it.
        self._reads_once = not self._writing and "session" not in self._wanted
        unknown = self._wanted - _SUPPLIED - self._parameters.names
        missing = self._parameters.names - self._wanted - {PARAMETER}
        if unknown or missing:
            what = f"the handler's parameters differ: {unknown or missing}"
            raise TypeError(f"{spec.operation_id}: {what}")

    def answer(self, request: Request, *, blocking: bool = True) -> Answer:
        """Run the operation in its transaction, or refuse; a failure to render changes nothing.

        With `blocking`, the operation waits for locks and starts again after a deadlock.

        Raises:
            sqlalchemy.exc.DBAPIError: The database fails.
        """
        meta = _meta(request)
        try:
            if not blocking:
                return self._run(request, meta, blocking=False)
            return self._services.database.attempt(partial(self._run, request, meta, blocking=True))
        except AccountError as refusal:
            return self._find_answer(request, meta, refusal) or self.refuse(refusal, request)

    async def answer_in_group(self, request: Request) -> Answer:
        """Run the operation in a transaction that it shares with others, or refuse.

        Raises:
            NotTogether: Nothing was done, and it may go well alone.
            sqlalchemy.exc.DBAPIError: The database fails.
        """
        try:
            try:
                caller, known = self._identify(request, blocking=False)
            except OperationalError as error:
                raise RetryAlone from error
            return await self._services.database.run_in_group(
                partial(self._run_as, caller, known, request, _meta(request))
            )
        except AccountError as refusal:
            return self.refuse(refusal, request)

    def admit(self, request: Request, *, large: bool) -> str:
        """Whose request it is, before its body is read; a large one is refused as it would be then.

        Raises:
            AccountError: It is nobody's or, where it is large, none that they may send.
        """
        _, known = self._services.database.attempt(partial(self._identify, request, blocking=True))
        if known is None:
            raise NotAuthenticated  # also where nobody is asked who they are
        if large:
            self._read(request)
            self._authorise(known)
        return known.user.user_id

    def _recognise(self, presented: Presented, *, blocking: bool = True) -> Principal:
        with self._services.database.reading(blocking=blocking) as reading:
            return authenticate(reading, presented)

    def _find_answer(
        self, request: Request, meta: ResponseMeta, refusal: AccountError
    ) -> Answer | None:
        """What another attempt was answered that began, as this one did, before either had ended.

        The later finds, say, that the address is taken: by itself.
        """
        if not (self._may_be_repeated and isinstance(refusal, Conflict)):
            return None
        try:
            return self._services.database.attempt(
                partial(self._run, request, meta, blocking=True, refusal=refusal)
            )
        except AccountError:
            return None

    def refuse(self, refusal: AccountError, request: Request) -> Answer:
        """What a refusal is answered with, in the words of the operation's dialect."""
        if isinstance(refusal, Unavailable):
            request.request_context.reason = refusal.reason
        answer = answer_of_refusal(
            refusal,
            self._dialect,
            _meta(request),
            bearer_was_sent=sent_bearer(request.scope["headers"]),
            places=self._parameters.places,
        )
        self._validate_response(answer)
        return answer

    def _run(
        self,
        request: Request,
        meta: ResponseMeta,
        *,
        blocking: bool,
        refusal: AccountError | None = None,
    ) -> Answer:
        caller, known = self._identify(request, blocking=blocking)
        return self._run_as(caller, known, request, meta, blocking=blocking, refusal=refusal)

    def _identify(
        self, request: Request, *, blocking: bool
    ) -> tuple[RequestCredentials, Principal | None]:
        """Who asks; with whose credential it is, where that is to be known before a write."""
        caller = self._credential_reader.read(request.scope, request.headers)
        if caller.presented is None:
            return caller, None
        request.request_context.credential_kind = caller.presented.kind
        if not self._writing:
            return caller, None
        # Before the write lock is taken: else whoever sends tokens that nobody has, which needs no
        # more than their form, would keep all who write waiting.
        return caller, self._recognise(caller.presented, blocking=blocking)

    def _run_as(
        self,
        caller: RequestCredentials,
        known: Principal | None,
        request: Request,
        meta: ResponseMeta,
        shared: Connection | None = None,
        *,
        blocking: bool = True,
        refusal: AccountError | None = None,
    ) -> Answer:
        """Run the operation, or raise what it was refused for already unless its answer is kept."""
        services, presented = self._services, caller.presented
        with self._transaction(request, blocking=blocking, shared=shared) as session:
            if presented and known is not None and isinstance(session, AccountSession):
                # Before it is authenticated again: what is revoked meanwhile writes nothing.
                lock_account(session, known.user.user_id)
                session.authenticate_again = partial(authenticate, session, presented)
            supplied: dict[str, Any] = {
                "session": session,
                "credentials": caller.credentials,
                "degraded": services.policies.degraded,
                "leaving": is_draining,
            }
            if "key_set" in self._wanted:
                supplied["key_set"] = services.signing.current
            if "exchange" in self._wanted:
                supplied["exchange"] = Exchange(
                    user_agent=user_agent_of(request.headers),
                    same_origin=is_same_origin(request.headers, services.origins),
                    by_cookie=caller.by_cookie,
                    issuer=services.issuer,
                )
            if presented is not None and session is not None:
                supplied["principal"] = self._authenticate(session, presented)
            supplied |= self._read(request)
            if presented is not None:
                self._authorise(supplied["principal"])

            if self._may_be_repeated and isinstance(session, AccountSession):
                do = partial(self._ask_handler, supplied, refusal)
                reply = run_once(session, idempotent_attempt(self._spec, supplied), do)
            else:
                reply = self._ask_handler(supplied, refusal)
            answer = self._render(reply, meta)
            self._validate_response(answer)
        return answer

    def _ask_handler(self, supplied: Mapping[str, Any], refusal: AccountError | None) -> Reply[Any]:
        if refusal is not None:
            raise refusal
        session: _Room | None = supplied["session"]
        try:
            return self._handler(**{name: supplied[name] for name in self._wanted})
        finally:
            if session is not None and session.observed:
                self._services.usage.record_observed(session.observed, session.now)

    def _transaction(
        self, request: Request, *, blocking: bool, shared: Connection | None
    ) -> AbstractContextManager[_Room | None]:
        if not self._needs_database:
            return nullcontext()
        if self._reads_once:
            return self._services.database.reading(blocking=blocking)
        return self._services.database.transaction(
            writing=self._writing,
            blocking=blocking,
            shared=shared,
            origin=origin_of(
                request.scope, request.request_context.request_id, self._services.proxies
            ),
        )

    def _authenticate(self, session: _Room, presented: Presented) -> Principal:
        principal = authenticate(session, presented)
        credential = principal.credential
        self._services.usage.note(credential, session.now)
        if isinstance(session, SingleReading):
            return principal  # which leaves no events
        session.origin = session.origin._replace(
            credential_kind=credential.kind.value, credential_id=credential.id
        )
        return principal

    def _read(self, request: Request) -> dict[str, Any]:
        """The parameters and the body, each as the document has it."""
        scope = request.scope
        if self._takes_nothing and not (scope["query_string"] or request.body):
            return {}
        read: dict[str, Any] = self._parameters.read(
            scope.get("path_params", {}), scope["query_string"], request.headers
        )
        return read | self._request_body.read(request.body, request.headers)

    def _authorise(self, principal: Principal) -> None:
        spec = self._spec
        authorise(
            principal,
            self._services.policies.decide,
            action=spec.operation_id,
            accepted=spec.accepted,
            scope=spec.scope,
        )

    def _render(self, reply: Reply[Any], meta: ResponseMeta) -> Answer:
        if reply.body is None or isinstance(reply.body, bytes):
            return Answer(reply.status, reply.body or b"", reply.media_type, reply.headers)
        content = self._dialect.wrap(reply.body, meta)
        json = orjson.dumps(content)
        return Answer(reply.status, json, "application/json", reply.headers, content)

    def _validate_response(self, answer: Answer) -> None:
        if self._response_validator is not None and (
            broken := self._response_validator.find_violations(answer)
        ):
            _log.error("%s breaks the document: %s", self._spec.operation_id, broken)
            raise Internal


def _meta(request: Request) -> ResponseMeta:
    return ResponseMeta(request.request_context.request_id, datetime.now(UTC))
