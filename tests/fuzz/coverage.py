"""Coverage of the document: its responses and the keywords of its schemas."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tracecov import CoverageMap, HttpRequest, HttpResponse

from oneself.document import load_document
from oneself_conformance.http_client import Answer, Request
from oneself_conformance.operations import OPERATIONS

__all__ = ["Coverage", "coverage_of"]

_ORIGIN = "http://localhost"
# Literal paths come before templates that match them as well.
_TEMPLATES = sorted(
    (
        ("{" in each.path, each.operation_id, re.compile(re.sub(r"\{[^}]+\}", "[^/]+", each.path)))
        for each in OPERATIONS.values()
    ),
    key=lambda template: template[0],
)


@dataclass
class Coverage:
    """The numbers of responses and keywords, with the names of those not exercised.

    Responses of 500 and above are excluded, because no request alone can cause them.
    """

    exchanges: int = 0
    responses: int = 0
    keywords: int = 0
    missing_responses: list[str] = field(default_factory=list)
    missing_keywords: list[str] = field(default_factory=list)


def coverage_of(traffic: Iterable[tuple[Request, Answer]]) -> Coverage:
    """Compute the coverage of recorded traffic; TraceCov counts the keywords."""
    coverage = Coverage()
    covered = CoverageMap.from_dict(dict(load_document()))
    seen: set[tuple[str, int]] = set()
    picture_keywords: set[str] = set()
    for request, answer in traffic:
        coverage.exchanges += 1
        seen |= {(operation_id, answer.status) for operation_id in _operations_of(request, answer)}
        picture_keywords |= set(_keywords_of_picture(request, answer))
        covered.record(
            HttpRequest(
                request.method,
                _ORIGIN + request.target,
                request.body or None,
                dict(request.headers),
            ),
            HttpResponse(answer.status, 0.0, answer.body, dict(answer.headers)),
        )
    documented = {
        (each.operation_id, status)
        for each in OPERATIONS.values()
        for status in each.responses
        if status < HTTPStatus.INTERNAL_SERVER_ERROR
    }
    coverage.responses = len(documented)
    coverage.missing_responses = [f"{name} {status}" for name, status in sorted(documented - seen)]
    coverage.keywords = covered.statistic()["keywords"]["total"]
    coverage.missing_keywords = [
        each
        for each in _missed(covered.coverage_gaps())
        if each.removeprefix("hantera.uploadPicture: ") not in picture_keywords
    ]
    return coverage


def _operations_of(request: Request, answer: Answer) -> Iterator[str]:
    """Yield the operations that a response belongs to; a 405 belongs to all of its path."""
    path = request.target.partition("?")[0]
    matching = [each for each in _TEMPLATES if each[2].fullmatch(path)]
    literal = [each for each in matching if not each[0]]
    for _, operation_id, _ in literal or matching:
        method = OPERATIONS[operation_id].method.upper()
        if answer.status == HTTPStatus.METHOD_NOT_ALLOWED or request.method == method:
            yield operation_id


def _missed(gaps: Iterable[dict[str, Any]]) -> Iterator[str]:
    for each in gaps:
        if each["kind"] == "keyword_miss":
            [operation] = [
                operation
                for operation in OPERATIONS.values()
                if (operation.method.upper(), operation.path) == (each["method"], each["path"])
            ]
            keyword = each["schema_path"].rpartition("/")[2]
            yield f"{operation.operation_id}: {each['parameter']} {keyword}"


def _keywords_of_picture(request: Request, answer: Answer) -> Iterator[str]:
    """Yield the keywords of a picture's schema, because TraceCov does not read bytes.

    An accepted picture exercises type and format.
    """
    media = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    bodies = OPERATIONS["hantera.uploadPicture"].bodies
    if request.method == "PUT" and media in bodies and answer.status == HTTPStatus.OK:
        yield from (f"{media} type", f"{media} format")
