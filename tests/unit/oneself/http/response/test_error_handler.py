"""Tests of the mapping of exceptions to refusals, statuses and headers."""

import json
import logging

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from accounts import errors
from accounts.crypto.keyring import SealBroken
from accounts.errors import AccountError
from oneself.http.request.errors import Internal
from oneself.http.response.dialects import dialect_of
from oneself.http.response.error_handler import headers_of_refusal, refusal_of, status_of
from oneself.logging import LineFormatter
from tests.support.error_classes import ALL_REFUSALS

TAGS = ("ipto", "hyperclast", "scaikey", "hantera", "jitsudo", "oauth", "status")
STATUSES = {
    "MalformedRequest": 400,
    "MalformedBody": 400,
    "UnexpectedBody": 400,
    "MultipleCredentials": 400,
    "WrongPassword": 400,
    "InvalidGrant": 400,
    "UnsupportedGrantType": 400,
    "InvalidScope": 400,
    "InvalidTarget": 400,
    "SecretInvalid": 400,
    "SecretUsed": 400,
    "SecretExpired": 400,
    "SecretSuperseded": 400,
    "NotAuthenticated": 401,
    "TokenReused": 401,
    "InvalidToken": 401,
    "InvalidCredentials": 401,
    "RecentAuthenticationRequired": 401,
    "SessionRequired": 403,
    "CredentialNotAccepted": 403,
    "InsufficientScope": 403,
    "ScopeNotHeld": 403,
    "NotLocalUser": 403,
    "TenantMismatch": 403,
    "PolicyDenied": 403,
    "CrossSiteRequest": 403,
    "SignupClosed": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "RequestTimeout": 408,
    "EmailTaken": 409,
    "LimitReached": 409,
    "TokenUnreadable": 409,
    "AlreadyRotated": 409,
    "AlreadyEnrolled": 409,
    "WrongCode": 400,
    "ChallengeInvalid": 401,
    "SecondFactorRequired": 403,
    "IdempotencyKeyReused": 409,
    "PreconditionFailed": 412,
    "BodyTooLarge": 413,
    "UnsupportedMediaType": 415,
    "UnknownHost": 421,
    "TooManyAttempts": 429,
    "Internal": 500,
    "Unavailable": 503,
    "OutcomeUnknown": 504,
}
ISSUER = "https://example.com"
METADATA = f'resource_metadata="{ISSUER}/.well-known/oauth-protected-resource"'
OF_THE_DIALECT = ("InvalidRequest", "WeakPassword", "UnreadablePicture")
INVALID = {
    "ipto": 400,
    "hyperclast": 422,
    "scaikey": 422,
    "hantera": 400,
    "jitsudo": 400,
    "oauth": 400,
    "status": 400,
}


def _made(name):
    kind = ALL_REFUSALS[name]
    if kind is errors.TooManyAttempts:
        return kind("account", quota=5, window=300, retry_after=60)
    given = {
        "MalformedRequest": ("rule",),
        "MalformedBody": ("rule",),
        "InsufficientScope": ("keys:write",),
        "RecentAuthenticationRequired": (300, "aal2"),
        "MethodNotAllowed": (["GET", "HEAD"],),
        "InvalidRequest": ([],),
        "WeakPassword": ([],),
        "UnsupportedMediaType": ("application/json",),
        "OutcomeUnknown": ("the server does not answer",),
    }
    return kind(*given.get(name, ()))


def _headers(refusal, *, tag="ipto", bearer_was_sent=False):
    return headers_of_refusal(
        refusal, dialect_of(tag), bearer_was_sent=bearer_was_sent, issuer=ISSUER
    )


def test_every_refusal_has_a_status():
    """Fails for a new refusal until these tables have it."""
    assert set(ALL_REFUSALS) == {*STATUSES, *OF_THE_DIALECT, "InvalidClient", "UsernameTaken"}


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_status_is_the_same_in_every_dialect(tag, name, status):
    assert status_of(_made(name), dialect_of(tag)) == status


@pytest.mark.parametrize("tag", TAGS)
def test_taken_username_is_a_conflict_except_for_hyperclast(tag):
    """Its clients expect a 400."""
    assert status_of(_made("UsernameTaken"), dialect_of(tag)) == (
        400 if tag == "hyperclast" else 409
    )


@pytest.mark.parametrize("name", OF_THE_DIALECT)
@pytest.mark.parametrize(("tag", "status"), INVALID.items())
def test_status_of_invalid_fields_depends_on_the_dialect(tag, name, status):
    """Two dialects document a 422."""
    assert status_of(_made(name), dialect_of(tag)) == status


@pytest.mark.parametrize("tag", TAGS)
def test_invalid_client_is_unauthenticated_where_it_is_the_caller(tag):
    """RFC 6749 section 5.2; in other dialects the client is a field of the body."""
    at_oauth = tag == "oauth"
    assert status_of(errors.InvalidClient(), dialect_of(tag)) == (401 if at_oauth else 400)
    challenge = {"WWW-Authenticate": 'Basic realm="oneself"'} if at_oauth else {}
    assert _headers(errors.InvalidClient(), tag=tag) == challenge


def test_refusal_without_a_kind_has_no_status():
    class Odd(AccountError):
        code = "odd"

    with pytest.raises(TypeError, match="Odd"):
        status_of(Odd(), dialect_of("ipto"))


def test_refusal_is_returned_unchanged():
    refusal = errors.Unavailable(retry_after=7)
    assert refusal_of(refusal) is refusal


def test_database_failure_is_unavailable(caplog):
    """DB-05: it may recover in a second; the cause is logged as a warning."""
    error = OperationalError("UPDATE …", {}, Exception("database is locked"))
    refusal = refusal_of(error)
    assert isinstance(refusal, errors.Unavailable)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("canary"),
        KeyError("canary"),
        SealBroken("canary"),
        IntegrityError("canary", {}, Exception("canary")),
        RecursionError("canary"),
        ExceptionGroup("canary", [OSError("canary")]),
    ],
)
def test_unexpected_exception_is_an_internal_error(caplog, error):
    """OP-05, HT-02: it is logged with its traceback, and the caller learns nothing of it."""
    refusal = refusal_of(error)
    assert isinstance(refusal, Internal)
    assert "canary" not in str(refusal)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "canary" in json.loads(LineFormatter().format(record))["traceback"]


def test_refusal_is_not_logged(caplog):
    """The access log has its code."""
    refusal_of(errors.NotFound())
    assert caplog.records == []


@pytest.mark.parametrize("name", ["NotAuthenticated", "InvalidToken", "InvalidCredentials"])
def test_unauthenticated_refusal_has_a_challenge(name):
    """HT-01, RFC 6750 section 3.1, clients C10: with an error only if a token was sent."""
    challenge = f'Bearer realm="oneself", {METADATA}'
    assert _headers(_made(name)) == {"WWW-Authenticate": challenge}
    challenge = f'Bearer realm="oneself", error="invalid_token", {METADATA}'
    assert _headers(_made(name), bearer_was_sent=True) == {"WWW-Authenticate": challenge}


def test_missing_scope_is_in_the_challenge():
    """HT-01, RFC 6750 section 3.1."""
    assert _headers(_made("InsufficientScope"), bearer_was_sent=True) == {
        "WWW-Authenticate": (
            f'Bearer realm="oneself", error="insufficient_scope", scope="keys:write", {METADATA}'
        )
    }


def test_recent_authentication_is_in_the_challenge():
    """Issue 20, RFC 9470 section 3: how recent it must be, and how strong."""
    refusal = _made("RecentAuthenticationRequired")
    error = 'error="insufficient_user_authentication", max_age="300", acr_values="aal2"'
    assert _headers(refusal, bearer_was_sent=True) == {
        "WWW-Authenticate": f'Bearer realm="oneself", {error}, {METADATA}'
    }


def test_headers_of_refusals():
    """LG-12: allowed methods, time to wait, end of the connection."""
    assert _headers(_made("MethodNotAllowed")) == {"Allow": "GET, HEAD"}
    assert _headers(errors.Unavailable(retry_after=5)) == {"Retry-After": "5"}
    assert _headers(_made("TooManyAttempts")) == {
        "Retry-After": "60",
        "RateLimit-Policy": '"account";q=5;w=300',
        "RateLimit": '"account";r=0;t=60',
    }
    for name in ("MalformedRequest", "RequestTimeout", "BodyTooLarge"):
        assert _headers(_made(name)) == {"Connection": "close"}


@pytest.mark.parametrize("name", ["SessionRequired", "NotFound", "WrongPassword", "Internal"])
def test_most_refusals_have_no_headers(name):
    assert _headers(_made(name), bearer_was_sent=True) == {}
