"""Recent authentication, where operations demand it."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.errors import RecentAuthenticationRequired
from accounts.services.principal import Authentication, Credential, CredentialKind, Principal
from accounts.services.recent_authentication import require_recent_authentication

NOW = datetime(2026, 4, 5, 10, tzinfo=UTC)
PASSWORD = ("pwd",)
BOTH = ("pwd", "otp", "mfa")


@pytest.fixture
def refusal_of(alice):
    """Return the refusal of an operation with a limit of 300 seconds, or None."""

    def refusal_of(*, seconds=None, amr=PASSWORD, factor=False, always=False):
        authentication = None
        if seconds is not None:
            authentication = Authentication(NOW - timedelta(seconds=seconds), amr)
        credential = Credential(
            CredentialKind.SESSION, "ses_", frozenset(), authentication=authentication
        )
        principal = Principal(alice.view._replace(has_second_factor=factor), credential)
        try:
            require_recent_authentication(principal, max_age=300, now=NOW, always=always)
        except RecentAuthenticationRequired as refusal:
            return refusal.max_age, refusal.acr
        return None

    return refusal_of


@pytest.mark.parametrize("seconds", [0, 300, 301, 86_400, None])
def test_account_without_a_second_factor_is_asked_for_nothing(refusal_of, seconds):
    """Issue 20: no client of the references changes, unless the operator asks for it."""
    assert refusal_of(seconds=seconds) is None


@pytest.mark.parametrize(
    ("seconds", "is_refused"), [(-5, False), (0, False), (300, False), (301, True), (None, True)]
)
@pytest.mark.parametrize("factor", [True, False])
def test_authentication_must_be_recent_where_that_is_in_force(
    refusal_of, seconds, is_refused, factor
):
    """SE-12, RFC 9470: with a second factor, or for all; a credential of a program never is."""
    amr = BOTH if factor else PASSWORD
    refusal = refusal_of(seconds=seconds, amr=amr, factor=factor, always=not factor)
    assert refusal == ((300, "aal2" if factor else "aal1") if is_refused else None)


def test_second_factor_must_have_been_used(refusal_of):
    """SE-12: a password alone, however recent, takes no account that has a second factor."""
    assert refusal_of(seconds=0, amr=PASSWORD, factor=True) == (300, "aal2")
    assert refusal_of(seconds=0, amr=PASSWORD, factor=True, always=True) == (300, "aal2")
    assert refusal_of(seconds=0, amr=BOTH, always=True) is None
