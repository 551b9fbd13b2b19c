"""Renders the replies and the refusals of one operation."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson

from accounts.errors import AccountError
from handlers.dialect import Place, ResponseMeta
from handlers.exchange import Reply
from oneself.document import OperationSpec
from oneself.http.request.errors import Internal
from oneself.http.response.dialects import dialect_of
from oneself.http.response.response_validation import ResponseValidator
from oneself.http.response.responses import Answer, answer_of_refusal

_log = logging.getLogger("oneself.http.operations")


class ResponseRenderer:
    """Renders in the operation's dialect and, with a validator, checks against the document."""

    def __init__(
        self,
        spec: OperationSpec,
        *,
        places: Mapping[str, Place],
        validator: ResponseValidator | None,
    ) -> None:
        self._operation_id = spec.operation_id
        self._dialect = dialect_of(spec.dialect)
        self._places = places
        self._validator = validator

    def render(self, reply: Reply[Any], meta: ResponseMeta) -> Answer:
        """Render a handler's reply.

        Raises:
            Internal: It is not what the document promises.
        """
        if reply.body is None or isinstance(reply.body, bytes):
            answer = Answer(reply.status, reply.body or b"", reply.media_type, reply.headers)
        else:
            content = self._dialect.wrap(reply.body, meta)
            answer = Answer(
                reply.status, orjson.dumps(content), "application/json", reply.headers, content
            )
        return self._validated(answer)

    def refuse(self, refusal: AccountError, meta: ResponseMeta, *, bearer_was_sent: bool) -> Answer:
        """Render a refusal.

        Raises:
            Internal: It is not what the document promises.
        """
        return self._validated(
            answer_of_refusal(
                refusal, self._dialect, meta, bearer_was_sent=bearer_was_sent, places=self._places
            )
        )

    def _validated(self, answer: Answer) -> Answer:
        if self._validator is not None and (problem := self._validator.find_violations(answer)):
            _log.error("%s breaks the document: %s", self._operation_id, problem)
            raise Internal
        return answer
