"""Assertions of RFCs on every answer, each with its section."""

import pytest

from oneself_conformance.cases.standards import find_standard_violations
from oneself_conformance.http_client import Answer
from oneself_conformance.levels import Level

JSON, PROBLEM = ("Content-Type", "application/json"), ("Content-Type", "application/problem+json")


@pytest.mark.parametrize(
    ("answer", "violation", "source"),
    [
        (Answer(401, (), b""), "header www-authenticate: is missing", "RFC 9110, sections 11.6.1"),
        (
            Answer(401, (("WWW-Authenticate", "no, realm"),), b""),
            "header www-authenticate: is not a challenge",
            "RFC 9110, sections 11.6.1",
        ),
        (Answer(405, (), b""), "header allow: is missing", "RFC 9110, sections 10.2.1"),
        (
            Answer(405, (("Allow", "GET POST"),), b""),
            "header allow: is not a list of methods",
            "RFC 9110, sections 10.2.1",
        ),
        (
            Answer(204, (("Content-Length", "0"),), b""),
            "header content-length: is not allowed with a 204",
            "RFC 9110, section 8.6",
        ),
        (
            Answer(204, (("Transfer-Encoding", "chunked"),), b""),
            "header transfer-encoding: is not allowed with a 204",
            "RFC 9112, section 6.1",
        ),
        (
            Answer(200, (JSON,), b'{"a": "\xff"}'),
            "body: is not JSON in UTF-8, as its type says",
            "RFC 8259, section 8.1",
        ),
        (
            Answer(404, (PROBLEM,), b'{"status": 400}'),
            "body/status: 400 is not 404",
            "RFC 9457, section 3.1.3",
        ),
        (
            Answer(200, (("ETag", "abc"),), b""),
            "header etag: is not an entity tag",
            "RFC 9110, section 8.8.3",
        ),
        (
            Answer(429, (("Retry-After", "soon"),), b""),
            "header retry-after: is neither seconds nor a date",
            "RFC 9110, section 10.2.3",
        ),
    ],
)
def test_broken_demand_is_cited_with_its_section(answer: Answer, violation: str, source: str):
    """contract F3: a level of its own, for others as well."""
    [found] = find_standard_violations(answer)
    assert (found, found.level) == (violation, Level.STANDARD)
    assert found.source.startswith(source)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(401, (("WWW-Authenticate", 'Bearer realm="a, b"'),), b""),
        Answer(401, (("WWW-Authenticate", "Negotiate"),), b""),
        Answer(405, (("Allow", "GET,HEAD , POST"),), b""),
        Answer(405, (("Allow", ""),), b""),
        Answer(204, (), b""),
        Answer(200, (("Content-Type", "application/json; charset=utf-8"),), b"{}"),
        Answer(200, (("Content-Type", "image/webp"), ("ETag", 'W/"a"')), b"\xff"),
        Answer(503, (PROBLEM, ("Retry-After", "5")), b'{"status": 503}'),
        Answer(503, (("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"),), b""),
    ],
)
def test_answer_of_another_make_breaks_none(answer: Answer):
    """contract F3: an RFC leaves more open than this project does."""
    assert [*find_standard_violations(answer)] == []
