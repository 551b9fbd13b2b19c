"""What each kind of credential may be used for."""

import pytest

from accounts.errors import CredentialNotAccepted, InsufficientScope, SessionRequired
from accounts.principal import Credential, CredentialKind, Principal
from accounts.rights import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS, authorise, rights

EVERY_KIND = frozenset(CredentialKind)
ONLY_SESSIONS = frozenset({CredentialKind.SESSION})


def _principal(alice, kind, *scopes):
    return Principal(alice.person, Credential(kind, "one", rights(kind, scopes)))


def test_a_session_has_all_the_rights_of_its_user():
    """Scopes are nothing to a session."""
    assert rights(CredentialKind.SESSION, ()) == SESSION_RIGHTS


def test_an_access_token_changes_no_password_and_makes_no_credential():
    """What can be shown again must not be worth a login (TK-11)."""
    held = rights(CredentialKind.ACCESS_TOKEN, SESSION_RIGHTS)
    assert held == ACCESS_TOKEN_RIGHTS
    assert held.isdisjoint({"me/auth:write", "me/pat:write", "keys:write", "me/sessions:write"})


@pytest.mark.parametrize("kind", [CredentialKind.API_KEY, CredentialKind.PAT])
def test_a_token_for_programs_has_its_scopes_and_no_more(kind):
    """No scopes are no rights, not all of them (TK-10)."""
    assert rights(kind, ["keys:read"]) == {"keys:read"}
    assert rights(kind, []) == frozenset()


@pytest.mark.parametrize("kind", [CredentialKind.API_KEY, CredentialKind.PAT])
def test_a_scope_that_the_user_does_not_have_is_no_right(kind):
    """Stored scopes count only within the rights of the user (TK-12)."""
    assert rights(kind, ["keys:read", "admin:everything"]) == {"keys:read"}


def test_whoever_holds_the_scope_passes(alice):
    """The right kind with the right scope is let through."""
    principal = _principal(alice, CredentialKind.PAT, "me/pat:read")
    authorise(principal, accepted=EVERY_KIND, scope="me/pat:read")


def test_an_operation_without_a_scope_lets_every_accepted_kind_pass(alice):
    """Where no scope is needed, holding none is enough."""
    authorise(_principal(alice, CredentialKind.PAT), accepted=EVERY_KIND, scope=None)


def test_whoever_lacks_the_scope_is_told_which(alice):
    """The kind will do, its scopes do not (TK-10)."""
    with pytest.raises(InsufficientScope) as refused:
        authorise(
            _principal(alice, CredentialKind.API_KEY, "keys:read"),
            accepted=EVERY_KIND,
            scope="keys:write",
        )
    assert refused.value.scope == "keys:write"


@pytest.mark.parametrize("kind", sorted(EVERY_KIND - ONLY_SESSIONS))
def test_a_token_does_not_pass_for_a_session_whatever_its_scopes(alice, kind):
    """The kind is judged before the scope (TK-11)."""
    principal = _principal(alice, kind, *SESSION_RIGHTS)
    with pytest.raises(SessionRequired):
        authorise(principal, accepted=ONLY_SESSIONS, scope="me/auth:write")


def test_a_kind_that_is_not_accepted_is_refused_without_naming_a_scope(alice):
    """Several kinds are accepted here, and this is none of them."""
    accepted = frozenset({CredentialKind.SESSION, CredentialKind.API_KEY})
    with pytest.raises(CredentialNotAccepted):
        authorise(_principal(alice, CredentialKind.PAT, "keys:read"), accepted=accepted, scope=None)
