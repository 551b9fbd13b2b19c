"""Runs one operation: authentication, validation, authorisation, handler, response."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from accounts.errors import AccountError, Conflict, OutcomeUnknown, Unavailable
from accounts.origin import NO_ORIGIN, Origin
from accounts.services.attempts import find_refused_attempt
from accounts.services.database import AccountSession
from accounts.services.one_time_secrets import SecretPurpose, read_secret
from accounts.services.principal import Principal
from accounts.services.throttling import Writer, consume_write
from handlers.context import Context, PrincipalContext, UserContext
from handlers.dialect import ResponseMeta
from handlers.exchange import Reply
from oneself.database import RetryAlone
from oneself.document import OperationSpec
from oneself.http.caller import CallerReader, RequestCredentials
from oneself.http.contexts import Session, make_context
from oneself.http.guard import Request, RequestContext
from oneself.http.handler_signature import context_of
from oneself.http.idempotency import HEADER, PARAMETER, idempotent_attempt, run_once
from oneself.http.request.arguments import ArgumentReader
from oneself.http.request.client_address import origin_of
from oneself.http.request.credentials import sent_bearer
from oneself.http.request.errors import NotAuthenticated
from oneself.http.request.schemas import Schemas
from oneself.http.response.rendering import ResponseRenderer
from oneself.http.response.response_validation import ResponseValidator
from oneself.http.response.responses import Answer
from oneself.http.services import Services


class Execution:
    """One operation of the document with its handler.

    It blocks on nothing but the database; `operations` decides where it runs.
    """

    def __init__(
        self,
        spec: OperationSpec,
        handler: Callable[..., Reply[Any]],
        schemas: Schemas,
        services: Services,
    ) -> None:
        """Compile the operation.

        Raises:
            TypeError: The handler's signature is not that of the operation.
        """
        self._spec = spec
        self._handler = handler
        self._services = services
        self._callers = CallerReader(spec, services)
        self._arguments = ArgumentReader(spec, schemas)
        self._renderer = ResponseRenderer(
            spec,
            places=self._arguments.places,
            validator=ResponseValidator(spec, schemas) if services.check_responses else None,
        )
        self._is_writing = spec.method != "get"
        types = dict(self._arguments.types)
        # Twice has the same effect as once (RFC 9110 section 9.2.2; for PATCH by our document).
        self._is_absolute = spec.method in {"put", "patch", "delete"}
        self._is_idempotent = types.pop(PARAMETER, None) is not None
        # The document lets no limit refuse an act that makes an account safer, such as a log-out.
        self._is_limited = self._is_writing and HTTPStatus.TOO_MANY_REQUESTS in spec.responses
        self._context = context_of(spec, handler, types)

    @property
    def needs_database(self) -> bool:
        """Tell whether the operation reads or writes the database."""
        return self._context is not Context

    def answer(self, request: Request, *, blocking: bool = True) -> Answer:
        """Run the operation in its transaction, or refuse; a failure to render changes nothing.

        With `blocking`, the operation waits for locks and starts again after a deadlock.

        Raises:
            sqlalchemy.exc.DBAPIError: The database fails.
        """
        meta = self._meta(request)
        try:
            if not blocking:
                return self._run(request, meta, blocking=False)
            return self._services.database.attempt(
                partial(self._run, request, meta, blocking=True),
                repeatable=self._is_absolute or (self._is_idempotent and HEADER in request.headers),
            )
        except AccountError as refusal:
            return self._find_stored_answer(request, meta, refusal) or self.refuse(refusal, request)

    async def answer_in_group(self, request: Request) -> Answer:
        """Run the operation in a transaction that it shares with others, or refuse.

        Raises:
            RetryAlone: Nothing was done; the operation may succeed on its own.
            sqlalchemy.exc.DBAPIError: The database fails.
        """
        try:
            try:
                origin = self._origin_of(request)
                credentials, user = self._identify(request, origin, blocking=False)
            except OperationalError as error:
                raise RetryAlone from error
            arguments = self._read_arguments(request)
            return await self._services.database.run_in_group(
                partial(
                    self._run_in_transaction,
                    credentials,
                    request,
                    self._meta(request),
                    origin,
                    user=user,
                    arguments=arguments,
                )
            )
        except AccountError as refusal:
            return self.refuse(refusal, request)

    def admit(self, request: Request, *, large: bool) -> str:
        """Return the user's id before the body is read; refuse a large body as early as possible.

        Raises:
            AccountError: The caller is not authenticated or, for a large body, not authorised.
        """
        identify = partial(self._identify, request, self._origin_of(request))
        _, principal = self._services.database.attempt(identify)
        if principal is None:
            raise NotAuthenticated  # the operation is public, and takes no upload
        if large:
            self._arguments.check_head(request.scope, request.headers)
            self._callers.authorise(principal, request)
        return principal.user.user_id

    def admit_to_hashing(self, request: Request) -> None:
        """Refuse a request before it waits for a thread that hashes passwords.

        Otherwise requests without a good credential or mailed secret could keep all of them busy.

        Raises:
            AccountError: The caller is not authenticated or authorised, the request is malformed,
                or its mailed secret is not valid.
        """
        self._services.database.attempt(partial(self._check_before_hashing, request))

    def _check_before_hashing(self, request: Request) -> None:
        _, principal = self._identify(request, self._origin_of(request))
        arguments = self._read_arguments(request)
        if principal is not None:
            self._callers.authorise(principal, request)
        if self._spec.mailed_secret is not None:
            with self._services.database.transaction(writing=False) as session:
                purpose = SecretPurpose(self._spec.mailed_secret)
                read_secret(session, purpose, arguments["body"]["secret"])

    def refuse(self, refusal: AccountError, request: Request) -> Answer:
        """Render a refusal in the operation's dialect."""
        if isinstance(refusal, Unavailable | OutcomeUnknown):
            request.request_context.reason = refusal.reason
        return self._renderer.refuse(
            refusal, self._meta(request), bearer_was_sent=sent_bearer(request.scope["headers"])
        )

    def _find_stored_answer(
        self, request: Request, meta: ResponseMeta, refusal: AccountError
    ) -> Answer | None:
        """Return the answer to a concurrent attempt with the same key, after a conflict.

        Of two attempts that overlap, the later conflicts with what the earlier has done.
        """
        if not (self._is_idempotent and isinstance(refusal, Conflict)):
            return None
        try:
            return self._services.database.attempt(
                partial(self._run, request, meta, blocking=True, refusal=refusal)
            )
        except AccountError:
            return None

    def _run(
        self,
        request: Request,
        meta: ResponseMeta,
        *,
        blocking: bool,
        refusal: AccountError | None = None,
    ) -> Answer:
        # An operation without the database needs none.
        origin = NO_ORIGIN if self._context is Context else self._origin_of(request)
        credentials, user = self._identify(request, origin, blocking=blocking)
        # A write that is refused here takes no lock and no turn to write, and has no transaction.
        arguments = self._read_arguments(request) if self._is_writing else None
        return self._run_in_transaction(
            credentials,
            request,
            meta,
            origin,
            user=user,
            arguments=arguments,
            blocking=blocking,
            refusal=refusal,
        )

    def _identify(
        self, request: Request, origin: Origin, *, blocking: bool = True
    ) -> tuple[RequestCredentials, Principal | None]:
        """Read the credential; before a write, also find its user."""
        credentials = self._callers.read_credentials(request)
        if credentials.presented is None or not self._is_writing:
            return credentials, None
        # Before the write lock is taken. Otherwise well-formed tokens that do not exist would keep
        # every writer waiting.
        principal = self._callers.find_principal(credentials.presented, origin, blocking=blocking)
        return credentials, principal

    def _read_arguments(self, request: Request) -> dict[str, Any]:
        return self._arguments.read(request.scope, request.headers, request.body)

    def _run_in_transaction(
        self,
        credentials: RequestCredentials,
        request: Request,
        meta: ResponseMeta,
        origin: Origin,
        shared: Connection | None = None,
        *,
        user: Principal | None,
        arguments: dict[str, Any] | None,
        blocking: bool = True,
        refusal: AccountError | None = None,
    ) -> Answer:
        """Run the operation; with `refusal`, raise it unless an answer is stored."""
        principal = None
        with self._open_session(origin, blocking=blocking, shared=shared) as session:
            if credentials.presented is not None and session is not None:
                principal = self._callers.authenticate(session, credentials.presented, user)
            if arguments is None:
                arguments = self._read_arguments(request)
            if principal is not None:
                self._callers.authorise(principal, request)
            elif isinstance(session, AccountSession):
                self._callers.govern(session)
            key = arguments.pop(PARAMETER, None)
            context = make_context(
                self._services,
                self._spec,
                request,
                credentials,
                session=session,
                principal=principal,
            )
            call = partial(
                self._call_handler,
                context,
                arguments,
                session,
                refusal,
                request.request_context,
                is_keyed=key is not None,
            )
            if key is not None and isinstance(session, AccountSession):
                attempt = idempotent_attempt(self._spec, key, arguments.get("body"), principal)
                call = partial(run_once, session, attempt, call)
            return self._renderer.render(call(), meta)

    def _origin_of(self, request: Request) -> Origin:
        request_id = request.request_context.request_id
        return origin_of(request.scope, request.headers, request_id, self._services.proxies)

    def _open_session(
        self, origin: Origin, *, blocking: bool, shared: Connection | None
    ) -> AbstractContextManager[Session]:
        if self._context is Context:
            return nullcontext()
        if self._context is PrincipalContext:
            return self._services.database.reading(blocking=blocking, origin=origin)
        return self._services.database.transaction(
            writing=self._is_writing, blocking=blocking, shared=shared, origin=origin
        )

    def _call_handler(
        self,
        context: Context,
        arguments: Mapping[str, Any],
        session: Session,
        refusal: AccountError | None,
        request_context: RequestContext,
        *,
        is_keyed: bool,
    ) -> Reply[Any]:
        if refusal is not None:
            raise refusal
        if self._is_limited and isinstance(context, UserContext):
            writer = Writer.of(context.principal.credential.kind)
            user_id = context.principal.user.user_id
            consume_write(context.session, writer, user_id, keeps_response=is_keyed)
        try:
            return self._handler(context, **arguments)
        except AccountError as refused:
            if isinstance(session, AccountSession):
                request_context.attempt = find_refused_attempt(session, refused)
            raise
        finally:
            if session is not None and session.observed:
                self._services.usage.record_observed(session.observed, session.now)

    def _meta(self, request: Request) -> ResponseMeta:
        request_id = request.request_context.request_id
        return ResponseMeta(request_id, datetime.now(UTC), self._services.issuer)
