"""What each kind of credential may be used for."""

import pytest

from accounts.errors import (
    CredentialNotAccepted,
    InsufficientScope,
    NotLocalUser,
    PolicyDenied,
    SessionRequired,
)
from accounts.services.authorization import authorise
from accounts.services.credentials import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS, rights
from accounts.services.policies import Decision, Question, Subject
from accounts.services.principal import Credential, CredentialKind, Principal

EVERY_KIND = frozenset(CredentialKind)
ONLY_SESSIONS = frozenset({CredentialKind.SESSION})


def _allowing(question):
    """Policies that allow what the scopes do, as the default ones."""
    allowed = question.required is None or question.required in question.rights
    return Decision(allowed=allowed, code=None, notices=())


def _authorise(principal, *, accepted, scope, decide=_allowing):
    authorise(principal, decide, action="ipto.signUp", accepted=accepted, scope=scope)


def _principal(alice, kind, *scopes):
    return Principal(alice.view, Credential(kind, "one", rights(kind, scopes)))


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
    _authorise(principal, accepted=EVERY_KIND, scope="me/pat:read")


def test_an_operation_without_a_scope_lets_every_accepted_kind_pass(alice):
    """Where no scope is needed, holding none is enough."""
    _authorise(_principal(alice, CredentialKind.PAT), accepted=EVERY_KIND, scope=None)


def test_whoever_lacks_the_scope_is_told_which(alice):
    """The kind will do, its scopes do not (TK-10)."""
    with pytest.raises(InsufficientScope) as refused:
        _authorise(
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
        _authorise(principal, accepted=ONLY_SESSIONS, scope="me/auth:write")


def test_a_kind_that_is_not_accepted_is_refused_without_naming_a_scope(alice):
    """Several kinds are accepted here, and this is none of them."""
    accepted = frozenset({CredentialKind.SESSION, CredentialKind.API_KEY})
    with pytest.raises(CredentialNotAccepted):
        _authorise(
            _principal(alice, CredentialKind.PAT, "keys:read"), accepted=accepted, scope=None
        )


def test_what_was_made_of_a_session_is_not_needed_either(alice):
    """Where a JWT will do as well, whoever has neither is told that a session is needed."""
    accepted = ONLY_SESSIONS | {CredentialKind.JWT}
    with pytest.raises(SessionRequired):
        _authorise(_principal(alice, CredentialKind.PAT), accepted=accepted, scope=None)


def test_the_policies_are_asked_with_all_that_a_decision_needs(alice):
    """And with nothing that the user has written (AZ-05)."""
    asked = []

    def decide(question):
        asked.append(question)
        return Decision(allowed=True, code=None, notices=())

    principal = _principal(alice, CredentialKind.PAT, "keys:read")
    _authorise(principal, accepted=EVERY_KIND, scope="keys:read", decide=decide)
    view = alice.view
    subject = Subject(view.user_id, view.tenant_id, ("member",), "local", False)  # noqa: FBT003 # a tuple
    right = frozenset({"keys:read"})
    kind = "personalAccessToken"
    assert asked == [Question(subject, "ipto.signUp", kind, right, "keys:read")]


def test_no_policy_switches_scopes_off(alice):
    """A permit of an operator's may be as wide as it likes (TK-10)."""
    with pytest.raises(InsufficientScope):
        _authorise(
            _principal(alice, CredentialKind.PAT, "keys:read"),
            accepted=EVERY_KIND,
            scope="keys:write",
            decide=lambda _: Decision(allowed=True, code=None, notices=()),
        )


def test_a_kind_that_is_not_accepted_asks_no_policy(alice):
    """The document's list is the first wall."""
    with pytest.raises(SessionRequired):
        _authorise(
            _principal(alice, CredentialKind.PAT), accepted=ONLY_SESSIONS, scope=None, decide=None
        )


@pytest.mark.parametrize(
    ("code", "refusal"),
    [(None, PolicyDenied), ("not_local_user", NotLocalUser), ("insufficient_scope", PolicyDenied)],
)
def test_what_a_policy_forbids_is_refused_by_its_code_and_with_its_notices(alice, code, refusal):
    """A code that the service does not know how to say is said as `policy_denied` (AZ-08)."""
    with pytest.raises(refusal) as refused:
        _authorise(
            _principal(alice, CredentialKind.SESSION),
            accepted=EVERY_KIND,
            scope="me/auth:write",
            decide=lambda _: Decision(allowed=False, code=code, notices=("Why.",)),
        )
    assert type(refused.value) is refusal
    assert refused.value.notices == ("Why.",)
