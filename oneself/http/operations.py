"""The operations, compiled from the document at start, and the threads that they run in."""

from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from typing import Any

from sqlalchemy.exc import DBAPIError
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import AccountError
from oneself.database import RetryAlone
from oneself.document import OperationSpec, operation_specs
from oneself.http.admission import Admission
from oneself.http.connexion_compat import RoutedAPI, RoutedMiddleware
from oneself.http.execution import Execution
from oneself.http.guard import Request, RequestContext
from oneself.http.readiness import ReadinessLog
from oneself.http.request.bodies import announces_at_most, expects_body, headers_of, read_body
from oneself.http.request.schemas import Schemas
from oneself.http.request.upload_limits import UploadLimits
from oneself.http.response.responses import Answer
from oneself.http.services import Services

#: A larger upload is authorised, and takes an upload slot, before it is read.
_SMALL_BYTES = 65_536
#: The limit of a body with a picture in JSON, which costs more to parse than the picture itself.
_JSON_UPLOAD_BYTES = 524_288
_READINESS = "status.getReadiness"
#: An orchestrator asks every few seconds and takes no answer for a failure.
_READINESS_SECONDS = 2.0


class _Operation:
    """One operation as an ASGI application: reads the request and picks a thread."""

    def __init__(
        self, spec: OperationSpec, execution: Execution, services: Services, admission: Admission
    ) -> None:
        self._spec = spec
        self._execution = execution
        self._admission = admission
        self._upload_limits = services.upload_limits if spec.workload == "image" else None
        self._read_body = partial(
            read_body, most_bytes=_most_bytes(spec, services), seconds=services.body_seconds
        )
        self._database_pool = services.pools["database"]
        self._pool = services.pools.get(spec.workload, self._database_pool)
        self._admits_to_hashing = spec.workload == "password"
        self._is_writing = spec.method != "get"
        inline = spec.workload == "inline" and services.database.is_nonblocking
        self._reads_inline = not self._is_writing and (inline or not execution.needs_database)
        self._writes_together = inline and self._is_writing
        is_probe = spec.operation_id == _READINESS
        # The last to be refused in an overload: probes, and acts that make an account safer, such
        # as a log-out, which no other limit refuses either. Hashes take too long for that.
        is_safe = self._is_writing and HTTPStatus.TOO_MANY_REQUESTS not in spec.responses
        self._is_urgent = is_probe or (is_safe and not self._admits_to_hashing)
        self._can_be_refused = HTTPStatus.SERVICE_UNAVAILABLE in spec.responses
        self._seconds = _READINESS_SECONDS if is_probe else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request_context: RequestContext = scope["oneself.request_context"]
        request_context.operation_id = self._spec.operation_id
        request_context.headers = self._spec.deprecation_headers
        if self._can_be_refused and not self._is_urgent:
            await self._admission.wait_for_turn()
        headers = headers_of(scope)
        request = Request(scope, headers, b"", request_context)
        if self._upload_limits is not None:
            answer = await self._answer_upload(request, receive, self._upload_limits)
            await request_context.send(send, answer)
            return
        if expects_body(headers):
            request = request._replace(body=await self._read_body(receive))
        inline = self._read_at_once(request) if self._reads_inline else None
        await request_context.send(send, inline or await self._answer(request))

    def _read_at_once(self, request: Request) -> Answer | None:
        try:
            return self._execution.answer(request, blocking=False)
        except DBAPIError:
            # The event loop must not wait for a lock; a thread may.
            return None

    async def _answer(self, request: Request) -> Answer:
        if self._writes_together:
            try:
                return await self._execution.answer_in_group(request)
            except RetryAlone:
                pass
        if self._admits_to_hashing:
            try:
                admit = partial(self._execution.admit_to_hashing, request)
                await self._database_pool.run(admit, writing=False, urgent=self._is_urgent)
            except AccountError as refusal:
                return self._execution.refuse(refusal, request)
        return await self._pool.run(
            partial(self._execution.answer, request),
            writing=self._is_writing,
            urgent=self._is_urgent,
            total=self._seconds,
        )

    async def _answer_upload(
        self, request: Request, receive: Receive, upload_limits: UploadLimits
    ) -> Answer:
        """Authenticate the caller before the body is read, and authorise a large one as well.

        A stalled sender occupies an upload slot until the body times out.
        """
        large = not announces_at_most(request.headers, _SMALL_BYTES)
        with ExitStack() as slot:
            try:
                admit = partial(self._execution.admit, request, large=large)
                user_id = await self._database_pool.run(admit, writing=False)
                if large:
                    slot.enter_context(upload_limits.slot_for(user_id))
            except AccountError as refusal:
                answer = self._execution.refuse(refusal, request)
                # The rest of the body is not read, so no other request can follow it.
                return answer._replace(headers={**answer.headers, "Connection": "close"})
            if expects_body(request.headers):
                request = request._replace(body=await self._read_body(receive))
            return await self._answer(request)


def _most_bytes(spec: OperationSpec, services: Services) -> int:
    if spec.workload != "image":
        return services.body_bytes
    if "application/json" in spec.bodies:
        return min(services.picture_bytes, _JSON_UPLOAD_BYTES)
    return services.picture_bytes


class _OperationsApi(RoutedAPI[ASGIApp]):  # type: ignore[misc] # connexion has no types
    """The operations of one document, by operationId."""

    def __init__(self, specification: Any, *, services: Services, **options: Any) -> None:
        super().__init__(specification, **options)
        self._services = services
        document = specification.raw
        self._schemas = Schemas(document)
        self._admission = Admission()
        self._specs = {spec.operation_id: spec for spec in operation_specs(document)}
        self.add_paths()

    def make_operation(self, operation: Any) -> ASGIApp:
        """Compile one operation, with the handler that Connexion resolved."""
        spec = self._specs[operation.operation_id]
        execution = Execution(spec, operation.function, self._schemas, self._services)
        compiled = _Operation(spec, execution, self._services, self._admission)
        return ReadinessLog(compiled) if spec.operation_id == _READINESS else compiled


class Operations(RoutedMiddleware[_OperationsApi]):  # type: ignore[misc] # connexion has no types
    """Middleware that runs the operation that routing found."""

    api_cls = _OperationsApi
