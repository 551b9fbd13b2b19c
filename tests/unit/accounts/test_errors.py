"""Tests of the refusals, which name rules and never a value that was sent."""

import re

import pytest

from accounts import errors
from accounts.errors import InvalidRequest, Violation, WeakPassword
from oneself.http.request.errors import MalformedBody, MalformedRequest, MethodNotAllowed
from tests.support.error_classes import ALL_REFUSALS, ERROR_MODULES, refusals_of

every_module = pytest.mark.parametrize(
    "module", ERROR_MODULES, ids=[module.__name__ for module in ERROR_MODULES]
)


def test_refusal_codes_are_unique():
    """HT-02: a code names one refusal and never changes."""
    codes = [refusal.code for refusal in ALL_REFUSALS.values()]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)


@every_module
def test_module_docstring_lists_its_refusals(module):
    for refusal in refusals_of(module):
        if refusal.code:
            assert re.search(rf"── {refusal.__name__} +{refusal.code}\n", module.__doc__)


@every_module
def test_module_docstring_lists_no_other_refusals(module):
    """A kind may be repeated to show where a tree is attached."""
    listed = set(re.findall(r"── (\w+)", module.__doc__))
    kinds = {name for name in vars(errors) if name not in ALL_REFUSALS} | {"Malformed"}
    assert listed - kinds <= {refusal.__name__ for refusal in refusals_of(module)}


@pytest.mark.parametrize("name", ALL_REFUSALS)
def test_message_is_a_sentence(name):
    assert re.fullmatch(r"[A-Z].*\.", ALL_REFUSALS[name].message)


@pytest.mark.parametrize("name", ALL_REFUSALS)
def test_writes_are_kept_only_where_the_attempt_counts(name):
    kept = {"WrongPassword", "InvalidCredentials", "InvalidClient", "InvalidGrant", "EmailTaken"}
    kept.add("TokenReused")  # the family is revoked
    kept |= {"WrongCode", "ChallengeInvalid", "SecondFactorRequired"}
    assert ALL_REFUSALS[name].keep_writes is (name in kept)


@pytest.mark.parametrize("refusal", [MalformedRequest, MalformedBody])
def test_malformed_refusal_names_the_rule(refusal):
    assert str(refusal("two of something")) == f"{refusal.message[:-1]}: two of something."


def test_invalid_request_names_one_field():
    assert InvalidRequest.of("name", "is odd").violations == (Violation(("name",), "is odd"),)


def test_weak_password_names_every_broken_rule():
    refusal = WeakPassword.of("password", "is short", "has no digit")
    assert [violation.rule for violation in refusal.violations] == ["is short", "has no digit"]
    assert str(refusal) == WeakPassword.message


def test_insufficient_scope_is_not_in_the_message():
    """HT-01: it is in the challenge (RFC 6750 section 3.1)."""
    refusal = errors.InsufficientScope("me/pat:write")
    assert refusal.scope == "me/pat:write"
    assert "pat" not in str(refusal)


def test_method_not_allowed_lists_the_allowed_methods():
    """HT-13: they become the `Allow` header."""
    assert MethodNotAllowed(["GET", "HEAD"]).allowed == ("GET", "HEAD")


def test_unavailable_says_when_to_retry():
    """DB-05: after one second by default."""
    assert errors.Unavailable().retry_after == 1
    assert errors.Unavailable(retry_after=5).retry_after == 5


def test_too_many_attempts_describes_its_rate_limit():
    """LG-12: the headers of a 429 are made from it."""
    refusal = errors.TooManyAttempts("account", quota=5, window=300, retry_after=60)
    assert (refusal.policy, refusal.quota, refusal.window) == ("account", 5, 300)
    assert refusal.retry_after == 60


def test_forbidden_can_carry_notices():
    """AZ-08: the words of the policies, none by default."""
    assert errors.PolicyDenied().notices == ()
    assert errors.NotLocalUser(["One.", "Two."]).notices == ("One.", "Two.")
