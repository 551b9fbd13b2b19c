"""Validates answers against the document: in tests always, in production by a setting."""

from typing import Any

from oneself.document import OperationSpec
from oneself.http.request.schemas import Schemas, violations
from oneself.http.response.responses import Answer

#: Headers of the connection, which no operation lists.
_UNLISTED = frozenset({"Connection"})
#: Headers that every answer gets when it is sent.
_ADDED_LATER = frozenset({"X-Request-Id"})


class ResponseValidator:
    """Checks the answers of one operation against the document."""

    def __init__(self, spec: OperationSpec, schemas: Schemas) -> None:
        self._headers = {
            status: {
                name: header.get("required", False)
                for name, header in response.get("headers", {}).items()
            }
            for status, response in spec.responses.items()
        }
        self._validators = {
            status: {
                media: schemas.validator(content["schema"])
                for media, content in response.get("content", {}).items()
            }
            for status, response in spec.responses.items()
        }

    def find_violations(self, answer: Answer) -> str:  # noqa: PLR0911 # one check after the other
        """Return the first difference from the document, without values; empty for none."""
        if answer.status not in self._validators:
            return f"status {answer.status} ({answer.code}) is not documented"
        listed = self._headers[answer.status]
        if unlisted := set(answer.headers) - set(listed) - _UNLISTED:
            return f"headers {sorted(unlisted)} are not documented for {answer.status}"
        required = {name for name, needed in listed.items() if needed} - _ADDED_LATER
        if missing := required - set(answer.headers):
            return f"headers {sorted(missing)} are missing from {answer.status}"
        if answer.content_type is None:
            return "a body is missing" if self._validators[answer.status] else ""
        validator = self._validators[answer.status].get(answer.content_type)
        if validator is None:
            return f"{answer.content_type} is not documented for {answer.status}"
        if answer.content is None:
            return ""  # bytes, which no schema describes further
        return _differences(validator, answer.content)


def _differences(validator: Any, content: Any) -> str:
    if validator.is_valid(content):
        return ""
    return "; ".join(map(str, violations(validator.iter_errors(content), "body")))
