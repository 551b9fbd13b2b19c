"""Tests of the dialects' refusals and envelopes against the document."""

from datetime import UTC, datetime

import pytest

from accounts import errors
from accounts.errors import InvalidRequest, Violation, WeakPassword
from accounts.services.credentials import rights
from handlers.dialect import PlacedViolation, ResponseMeta
from handlers.errors import Malformed
from oneself.document import load_document, operation_specs
from oneself.http.request import errors as request_errors
from oneself.http.request.schemas import Schemas
from oneself.http.response.dialects import Dialects, dialect_of, path_pattern
from oneself.http.response.response_validation import ResponseValidator
from oneself.http.response.responses import answer_of_refusal
from tests.support.error_classes import ALL_REFUSALS

DOCUMENT = load_document()
SCHEMAS = Schemas(DOCUMENT)
OPERATIONS = {spec.operation_id: spec for spec in operation_specs(DOCUMENT)}
VALIDATORS = {name: ResponseValidator(spec, SCHEMAS) for name, spec in OPERATIONS.items()}
TAGS = sorted({spec.dialect for spec in OPERATIONS.values()})
ISSUER = "http://localhost:8080"
META = ResponseMeta("req_0a1b2c3d4e5f", datetime(2026, 4, 5, 10, 0, 0, 999_999, tzinfo=UTC), ISSUER)
VIOLATIONS = [
    PlacedViolation(("settings", "a/b~c", 0), "must be a string", "body"),
    PlacedViolation(("limit",), "must be an integer", "query"),
    PlacedViolation((), "is required", "body"),
]


def _refusal_of(kind):
    """Return a refusal of a class, with the arguments that it needs."""
    if kind is errors.TooManyAttempts:
        return kind("account", quota=5, window=300, retry_after=60)
    arguments = {
        request_errors.MalformedRequest: ("two of something",),
        request_errors.MalformedBody: ("a syntax error",),
        errors.InvalidRequest: (VIOLATIONS,),
        errors.WeakPassword: (VIOLATIONS[:1],),
        errors.InsufficientScope: ("me/pat:write",),
        errors.OutcomeUnknown: ("the server does not answer",),
        errors.RecentAuthenticationRequired: (300, "aal1"),
        request_errors.MethodNotAllowed: (["GET", "HEAD"],),
        request_errors.UnsupportedMediaType: ("application/json",),
    }
    return kind(*arguments.get(kind, ()))


_WITHOUT_DATABASE = {
    *("status.getHealth", "oauth.getKeySet", "oauth.getServerMetadata"),
    *("status.getDocument", "status.getYamlDocument"),
    *("status.getUpgradedDocument", "status.getDialectDocument"),
    *("oauth.getOpenidConfiguration", "oauth.getResourceMetadata"),
}
KINDS = sorted(ALL_REFUSALS.values(), key=lambda kind: kind.__name__)


def _answer(refusal, dialect):
    return answer_of_refusal(refusal, dialect, META, bearer_was_sent=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tag", TAGS)
def test_refusal_matches_the_document(tag, kind):
    """Body, content type and headers, for each operation that has the status."""
    answer = _answer(_refusal_of(kind), dialect_of(tag))
    for name, spec in OPERATIONS.items():
        if kind is errors.InsufficientScope and not _can_lack_its_scope(spec):
            continue
        if spec.dialect == tag and answer.status in spec.responses:
            assert VALIDATORS[name].find_violations(answer) == "", name


def _can_lack_its_scope(spec):
    """Tell whether a credential of an accepted kind may lack the scope."""
    return any(
        spec.scope is not None and spec.scope not in rights(kind, ()) for kind in spec.accepted
    )


@pytest.mark.parametrize("tag", TAGS)
def test_server_errors_are_documented_for_every_operation(tag):
    """OP-02, OP-05, DB-05: all but the operations without a database can be busy."""
    for name, spec in OPERATIONS.items():
        if spec.dialect == tag:
            for kind in (request_errors.Internal, errors.Unavailable):
                answer = _answer(_refusal_of(kind), dialect_of(tag))
                documented = VALIDATORS[name].find_violations(answer) == ""
                # Operations without a database are never busy.
                alive = kind is errors.Unavailable and name in _WITHOUT_DATABASE
                assert documented is not alive, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tag", TAGS)
def test_refusal_has_its_code(tag, kind):
    """HT-02: clients can tell refusals apart."""
    refusal = _refusal_of(kind)
    answer = _answer(refusal, dialect_of(tag))
    assert answer.code == kind.code
    # RFC 6749 section 5.2 has one code for all malformed requests.
    malformed = tag == "oauth" and issubclass(kind, Malformed)
    assert ("invalid_request" if malformed else kind.code) in str(answer.content)


def test_ipto_has_an_envelope():
    """Around answers and refusals."""
    ipto = dialect_of("ipto")
    around = {"request_id": "req_0a1b2c3d4e5f", "timestamp": "2026-04-05T10:00:00Z"}
    assert ipto.wrap({"a": 1}, META) == {"data": {"a": 1}, **around}
    assert ipto.refuse(errors.NotFound(), 404, META) == {
        "error": {"code": "not_found", "message": "Not found."},
        **around,
    }


@pytest.mark.parametrize("tag", [tag for tag in TAGS if tag != "ipto"])
def test_other_dialects_have_no_envelope(tag):
    body = {"a": 1}
    assert dialect_of(tag).wrap(body, META) is body


def test_ipto_and_jitsudo_use_json_pointers():
    """HT-03, RFC 6901: into the body; other places have the name of a parameter."""
    details = {
        "violations": [
            {"in": "body", "field": "/settings/a~1b~0c/0", "rule": "must be a string"},
            {"in": "query", "field": "limit", "rule": "must be an integer"},
            {"in": "body", "field": "", "rule": "is required"},
        ]
    }
    refusal = InvalidRequest(VIOLATIONS)
    ipto = dialect_of("ipto").refuse(refusal, 400, META)
    assert ipto["error"]["details"] == details
    assert dialect_of("jitsudo").refuse(refusal, 400, META) == {
        "code": "invalid_request",
        "message": "The request does not have the documented shape.",
        "details": details,
    }


def test_hyperclast_and_scaikey_list_locations():
    """As ScaiKey's `HTTPValidationError`."""
    detail = [
        {"loc": ["body", "new_password"], "msg": "must have a digit", "type": "weak_password"}
    ]
    refusal = WeakPassword.of("new_password", "must have a digit")
    assert dialect_of("scaikey").refuse(refusal, 422, META) == {"detail": detail}
    assert dialect_of("hyperclast").refuse(refusal, 422, META) == {
        "errors": [{"code": "weak_password", "message": "The password is too weak."}],
        "error": "weak_password",
        "message": "The password is too weak.",
        "detail": detail,
    }


def test_refusal_without_violations_has_a_message():
    refusal = errors.WrongPassword()
    assert dialect_of("scaikey").refuse(refusal, 400, META) == {
        "detail": "The current password is wrong.",
        "code": "wrong_password",
    }
    assert dialect_of("hyperclast").refuse(refusal, 400, META) == {
        "error": "wrong_password",
        "message": "The current password is wrong.",
        "detail": "The current password is wrong.",
        "errors": [{"code": "wrong_password", "message": "The current password is wrong."}],
    }
    assert dialect_of("jitsudo").refuse(refusal, 400, META) == {
        "code": "wrong_password",
        "message": "The current password is wrong.",
    }


def test_oauth_refusal_follows_rfc_6749():
    """One code and one description, without the characters that section 5.2 excludes."""
    oauth = dialect_of("oauth")
    assert oauth.refuse(errors.InvalidGrant(), 400, META) == {
        "error": "invalid_grant",
        "error_description": "The refresh token is not valid.",
    }
    odd = InvalidRequest([Violation(("scope",), 'must match ^[!#-\\[]"$')])
    assert oauth.refuse(odd, 400, META) == {
        "error": "invalid_request",
        "error_description": "body scope: must match ^[!#-/[]'$",
    }


def test_policy_notices_are_in_every_dialect():
    """AZ-08."""
    refusal = errors.PolicyDenied(["Closed today.", "Come back tomorrow."])
    message = "A policy of this deployment forbids it."
    both = ["Closed today.", "Come back tomorrow."]
    bodies = {
        tag: dialect_of(tag).refuse(refusal, 403, META)
        for tag in ("ipto", "hyperclast", "scaikey", "hantera", "jitsudo", "oauth")
    }
    assert bodies["ipto"]["error"] == {
        "code": "policy_denied",
        "message": message,
        "details": {"notices": both},
    }
    assert bodies["hyperclast"] == {
        "error": "policy_denied",
        "message": message,
        "detail": "Closed today. Come back tomorrow.",
        "errors": [{"code": "policy_denied", "message": "A policy of this deployment forbids it."}],
    }
    assert bodies["scaikey"] == {
        "detail": f"{message} Closed today. Come back tomorrow.",
        "code": "policy_denied",
    }
    assert bodies["hantera"]["notices"] == bodies["jitsudo"]["notices"] == both
    assert bodies["oauth"]["error_description"] == f"{message} Closed today. Come back tomorrow."


@pytest.mark.parametrize("tag", ["hantera", "status"])
def test_problem_details_follow_rfc_9457(tag):
    """HT-02, contract section 6.6: its type is the entry in the error catalogue."""
    dialect = dialect_of(tag)
    assert dialect.refusal_type == "application/problem+json"
    assert dialect.refuse(InvalidRequest(VIOLATIONS[1:]), 400, META) == {
        "type": f"{ISSUER}/errors#invalid_request",
        "title": "The request does not have the documented shape.",
        "status": 400,
        "detail": "query limit: must be an integer; body: is required",
        "code": "invalid_request",
        "instance": "urn:oneself:request:req_0a1b2c3d4e5f",
    }


def test_detail_of_a_problem_is_bounded():
    """HT-03: an answer does not grow with the request."""
    refusal = InvalidRequest(VIOLATIONS * 1000)
    assert len(dialect_of("hantera").refuse(refusal, 400, META)["detail"]) == 2000


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_owner_of_a_path_is_the_dialect_of_its_tag(name):
    """Refusals before routing are in it too."""
    spec = OPERATIONS[name]
    path = spec.path.replace("{", "").replace("}", "")
    assert Dialects(DOCUMENT).owner(path) is dialect_of(spec.dialect)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/v1/me//",
        "/v1/me/sessions//",
        "/v1/me/sessions/a/b",
        "/V1/me",
        "/v1/me/sessions/a\n/b",
    ],
)
def test_unknown_path_is_refused_with_problem_details(path):
    """HT-10."""
    assert Dialects(DOCUMENT).owner(path).refusal_type == "application/problem+json"


def test_path_parameter_is_one_segment():
    """HT-12: other characters of a template match themselves."""
    pattern = path_pattern("/a.b/{one}/c/{two_2}")
    assert pattern.fullmatch("/a.b/x/c/y.z-1")
    for other in ("/a.b//c/y", "/axb/x/c/y", "/a.b/x/y/c/z", "/a.b/x/c/", "/a.b/x/c/y/"):
        assert pattern.fullmatch(other) is None


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("/v1/me/", "ipto"),
        ("/v1/me/sessions/", "ipto"),
        ("/v1/me/sessions/a/", "ipto"),
        ("/api/users/me", "hyperclast"),
        ("/api/v1/users/me/devices/a", "hyperclast"),
        ("/api/v1/me/", "scaikey"),
        ("/resources/me/profile/", "hantera"),
        ("/v1/users/me/password/", "jitsudo"),
        ("/oauth/token/", "oauth"),
    ],
)
def test_path_with_another_ending_belongs_to_the_same_dialect(path, tag):
    """Newcomer F20: a client reads the hint only in the format that it knows."""
    assert Dialects(DOCUMENT).owner(path) is dialect_of(tag)


@pytest.mark.parametrize(
    ("path", "tag"),
    [
        ("/api/users/me", "hyperclast"),
        ("/api/v1/users/storage/", "hyperclast"),
        ("/api/v1/users", "status"),
        ("/api/v1/me", "scaikey"),
        ("/nothing", "status"),
    ],
)
def test_unknown_path_below_a_root_belongs_to_its_dialect(path, tag):
    """HT-10, clients C5."""
    assert Dialects(DOCUMENT).owner(path) is dialect_of(tag)
