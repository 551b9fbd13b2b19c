"""How much of the document was exercised: its responses, and the keywords of its schemas."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tracecov import CoverageMap, HttpRequest, HttpResponse

from oneself.conformance.http_client import Answer, Request
from oneself.conformance.operations import OPERATIONS
from oneself.document import load_document

__all__ = ["Coverage", "coverage_of"]

_ORIGIN = "http://localhost"
# A literal path goes before a template that would take it too.
_TEMPLATES = sorted(
    (
        ("{" in each.path, each.operation_id, re.compile(re.sub(r"\{[^}]+\}", "[^/]+", each.path)))
        for each in OPERATIONS.values()
    ),
    key=lambda template: template[0],
)


@dataclass
class Coverage:
    """What there is, and what of it was not exercised, by name.

    Of the responses, those of 500 and above are left out: they are of a service that is broken or
    busy, which no request alone brings about.
    """

    exchanges: int = 0
    responses: int = 0
    keywords: int = 0
    missing_responses: list[str] = field(default_factory=list)
    missing_keywords: list[str] = field(default_factory=list)


def coverage_of(traffic: Iterable[tuple[Request, Answer]]) -> Coverage:
    """Count what is in the traffic; the keywords are counted by TraceCov."""
    found = Coverage()
    covered = CoverageMap.from_dict(dict(load_document()))
    seen: set[tuple[str, int]] = set()
    of_pictures: set[str] = set()
    for request, answer in traffic:
        found.exchanges += 1
        seen |= {(operation_id, answer.status) for operation_id in _operations_of(request, answer)}
        of_pictures |= set(_keywords_of_picture(request, answer))
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
    found.responses = len(documented)
    found.missing_responses = [f"{name} {status}" for name, status in sorted(documented - seen)]
    found.keywords = covered.statistic()["keywords"]["total"]
    found.missing_keywords = [
        each
        for each in _missed(covered.coverage_gaps())
        if each.removeprefix("hantera.uploadPicture: ") not in of_pictures
    ]
    return found


def _operations_of(request: Request, answer: Answer) -> Iterator[str]:
    """Whose answer it is; that a method is not there is an answer of all of the path's."""
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
    """The keywords of a picture's schema, which TraceCov reads no bytes for.

    That it is bytes is exercised by one that is taken, its length by one that is too long.
    """
    media = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    if request.method == "PUT" and media in OPERATIONS["hantera.uploadPicture"].bodies:
        if answer.status == HTTPStatus.OK:
            yield from (f"{media} type", f"{media} format")
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            yield f"{media} maxLength"
