"""Refusals: one class and one code each, and nothing in them that was sent."""

import re

import pytest

from accounts import errors
from accounts.errors import AccountError, InvalidRequest, Violation, WeakPassword


def _refusals(kind=AccountError):
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from _refusals(below)


REFUSALS = sorted(set(_refusals()), key=lambda refusal: refusal.__name__)
WITH_A_CODE = [refusal for refusal in REFUSALS if refusal.code]


def test_each_refusal_has_a_code_of_its_own():
    """A code names one refusal, and stays the same for ever (HT-02)."""
    codes = [refusal.code for refusal in WITH_A_CODE]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize("refusal", WITH_A_CODE)
def test_each_refusal_is_in_the_tree_of_the_docstring(refusal):
    """Whoever reads the module's first page has seen every refusal."""
    assert re.search(rf"── {refusal.__name__} +{refusal.code}\n", errors.__doc__)


def test_the_tree_of_the_docstring_names_nothing_else():
    """What the first page promises exists."""
    drawn = set(re.findall(r"── (\w+)", errors.__doc__))
    assert drawn == {refusal.__name__ for refusal in REFUSALS}


def test_every_refusal_can_be_imported_by_name():
    """The list of public names is complete."""
    named = {refusal.__name__ for refusal in REFUSALS} | {"AccountError", "Violation"}
    assert set(errors.__all__) == named


@pytest.mark.parametrize("refusal", WITH_A_CODE)
def test_the_message_is_a_sentence(refusal):
    """What a caller reads is a whole sentence."""
    assert re.fullmatch(r"[A-Z].*\.", refusal.message)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_few_refusals_keep_writes(refusal):
    """Each of them leaves the database as it was, but where the attempt itself is remembered."""
    kept = {
        errors.WrongPassword,
        errors.InvalidClient,
        errors.InvalidGrant,
        errors.EmailTaken,
    }
    assert refusal.keep_writes is (refusal in kept)


@pytest.mark.parametrize("refusal", [errors.MalformedRequest, errors.MalformedBody])
def test_what_is_malformed_says_how(refusal):
    """The rule is put into the sentence."""
    said = str(refusal("two of something"))
    assert said == f"{refusal.message[:-1]}: two of something."


def test_invalid_request_names_one_field():
    assert InvalidRequest.of("name", "is odd").violations == (Violation(("name",), "is odd"),)


def test_a_weak_password_names_every_rule_it_breaks():
    """A person need not find the rules out one by one."""
    refusal = WeakPassword.of("password", ["is short", "has no digit"])
    assert [violation.rule for violation in refusal.violations] == ["is short", "has no digit"]
    assert str(refusal) == WeakPassword.message


def test_an_insufficient_scope_says_which_is_needed():
    """The scope goes into the challenge (RFC 6750 section 3.1), not into the sentence (HT-01)."""
    refusal = errors.InsufficientScope("me/pat:write")
    assert refusal.scope == "me/pat:write"
    assert "pat" not in str(refusal)


def test_a_wrong_method_says_which_are_allowed():
    """The list becomes the `Allow` header (HT-13)."""
    assert errors.MethodNotAllowed(["GET", "HEAD"]).allowed == ("GET", "HEAD")


def test_whoever_is_unavailable_says_for_how_long():
    """One second is enough unless something else is said (DB-05)."""
    assert errors.Unavailable().retry_after == 1
    assert errors.Unavailable(retry_after=5).retry_after == 5


def test_whoever_tries_too_often_says_which_budget_and_for_how_long():
    """What the headers of a 429 are made of (LG-12)."""
    refusal = errors.TooManyAttempts("account", quota=5, window=300, retry_after=60)
    assert (refusal.policy, refusal.quota, refusal.window) == ("account", 5, 300)
    assert refusal.retry_after == 60


def test_what_is_forbidden_can_bring_notices():
    """They are the policies' own words, and there need be none (AZ-08)."""
    assert errors.PolicyDenied().notices == ()
    assert errors.NotLocalUser(["One.", "Two."]).notices == ("One.", "Two.")
