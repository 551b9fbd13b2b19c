"""The operations, each compiled once, at start, from the document, and where they run."""

from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError
from starlette.types import Receive, Scope, Send

from oneself.bodies import expects_body, headers_of, read_body
from oneself.document import Described, described_operations
from oneself.edge import Edge
from oneself.execution import Execution, Request
from oneself.framework import RoutedAPI, RoutedMiddleware
from oneself.guard import Passage
from oneself.responses import Answer
from oneself.schemas import Schemas
from oneself.transactions import NotTogether

__all__ = ["Operations"]


class _Operation:
    """One operation as an ASGI application, which reads its request and finds it a place to run."""

    def __init__(self, described: Described, execution: Execution, edge: Edge) -> None:
        self._described = described
        self._execution = execution
        self._most_bytes = edge.picture_bytes if described.workload == "image" else edge.body_bytes
        self._body_seconds = edge.body_seconds
        self._database_pool = edge.pools["database"]
        self._pool = edge.pools.get(described.workload, self._database_pool)
        inline = described.workload == "inline" and edge.database.never_waits
        self._reads_inline = inline and described.method == "get"
        self._writes_together = inline and not self._reads_inline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        passage: Passage = scope["oneself.passage"]
        passage.operation_id = self._described.operation_id
        passage.headers = self._described.farewell
        headers = headers_of(scope)
        request = Request(scope, headers, b"", passage)
        if self._described.workload == "image" and not await self._may_send_much(request, send):
            return
        if expects_body(headers):
            body = await read_body(receive, most_bytes=self._most_bytes, seconds=self._body_seconds)
            request = request._replace(body=body)
        answer = self._read_at_once(request) if self._reads_inline else None
        await passage.send(send, answer or await self._answer(request))

    def _read_at_once(self, request: Request) -> Answer | None:
        try:
            return self._execution.answer(request, waiting=False)
        except DBAPIError:
            # Who is in the way must not be waited for by the event loop: a thread may.
            return None

    async def _answer(self, request: Request) -> Answer:
        if self._writes_together:
            try:
                return await self._execution.answer_together(request)
            except NotTogether:
                pass
        return await self._pool.run(partial(self._execution.answer, request))

    async def _may_send_much(self, request: Request, send: Send) -> bool:
        """Refuse whoever is nobody before a large body of theirs is read into memory."""
        refused = await self._database_pool.run(partial(self._execution.refuse_strangers, request))
        if refused is not None:
            # What of the body is on its way is not read, so nothing may follow it.
            closed = refused._replace(headers={**refused.headers, "Connection": "close"})
            await request.passage.send(send, closed)
        return refused is None


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
        execution = Execution(described, operation.function, self._schemas, self._edge)
        return _Operation(described, execution, self._edge)


class Operations(RoutedMiddleware[_OperationsApi]):  # type: ignore[misc] # connexion has no types
    """Runs the operation that routing found."""

    api_cls = _OperationsApi
