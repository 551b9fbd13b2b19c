"""Validate a file of exchanges with openapi-core: `python … DOCUMENT EXCHANGES`.

It runs in an environment of its own, and prints a line of JSON for each exchange: what openapi-core
finds in the request and in the response, or null where the document has no such operation.
"""

import json
import sys
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from openapi_core import Config, OpenAPI
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.testing import MockRequest, MockResponse
from openapi_core.validation.schemas.exceptions import InvalidSchemaValue

#: Types that openapi-core leaves as bytes unless it is told that they are JSON.
_JSON = ("application/problem+json", "application/merge-patch+json")
_CONFIG = Config(extra_media_type_deserializers=dict.fromkeys(_JSON, json.loads))


def verdict_of(openapi: OpenAPI, exchange: list[Any]) -> dict[str, list[str]] | None:
    """Return the findings about a request and its response."""
    [method, target, sent, body], [status, received, content] = exchange
    headers = {name.lower(): value for name, value in sent}
    url = urlsplit(target)
    request = MockRequest(
        "http://localhost",
        method,
        url.path,
        args=parse_qs(url.query, keep_blank_values=True),
        headers=headers,
        cookies={name: each.value for name, each in SimpleCookie(headers.get("cookie")).items()},
        data=body.encode("latin-1"),
        content_type=headers.get("content-type", ""),
    )
    names = {name.lower(): value for name, value in received}
    response = MockResponse(
        content.encode("latin-1"), status, names, content_type=names.get("content-type", "")
    )
    requests = [*openapi.iter_request_errors(request)]
    if any(isinstance(error, PathError) for error in requests):
        return None
    responses = openapi.iter_response_errors(request, response)
    return {
        "request": [line for error in requests for line in _lines(error)],
        "response": [line for error in responses for line in _lines(error)],
    }


def _lines(error: BaseException) -> Iterator[str]:
    """Yield the kind of an error with its cause, and the places in a body, without any value."""
    kind = type(error).__name__
    name = getattr(error, "name", "")
    cause = error.__cause__
    if isinstance(cause, InvalidSchemaValue):
        for each in cause.schema_errors:
            yield f"{kind} {name} {each.json_path} {each.validator}".replace("  ", " ")
    else:
        yield f"{kind} {name} {type(cause).__name__ if cause else ''}".strip().replace("  ", " ")


def main(document: Path, exchanges: Path) -> None:
    """Print the verdict on each exchange."""
    openapi = OpenAPI.from_file_path(str(document), config=_CONFIG)
    with exchanges.open() as lines:
        for line in lines:
            print(json.dumps(verdict_of(openapi, json.loads(line))))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
