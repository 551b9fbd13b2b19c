"""Authorization by kind of credential, scope and policy."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.errors import (
    CredentialNotAccepted,
    InsufficientScope,
    NotLocalUser,
    PolicyDenied,
    SessionRequired,
    TenantMismatch,
)
from accounts.origin import Origin
from accounts.services.credentials import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS, rights
from accounts.services.policies.authorization import authorise, govern
from accounts.services.policies.policy_set import ANONYMOUS, Decision, Question, Subject
from accounts.services.principal import (
    Authentication,
    Credential,
    CredentialKind,
    Principal,
    PublicCredential,
)

NOW = datetime(2026, 4, 5, 10, tzinfo=UTC)
EVERY_KIND = frozenset(CredentialKind)
ONLY_SESSIONS = frozenset({CredentialKind.SESSION})


def _decide_by_scope(question, _read_address, _age):
    """Allow by scope alone, as the default policies do."""
    allowed = question.required is None or question.required in question.rights
    return Decision(allowed=allowed, code=None, notices=())


def _authorise(principal, *, accepted, scope, decide=_decide_by_scope):
    authorise(
        principal,
        decide,
        action="ipto.signUp",
        accepted=accepted,
        scope=scope,
        read_address=lambda: "192.0.2.1",
        now=NOW,
    )


def _principal(alice, kind, *scopes):
    return Principal(alice.view, Credential(kind, "one", rights(kind, scopes)))


def test_session_has_all_rights_of_its_user():
    """Sessions have no scopes."""
    assert rights(CredentialKind.SESSION, ()) == SESSION_RIGHTS


def test_access_token_cannot_change_passwords_or_create_credentials():
    """TK-11: a credential that can be shown again must not be worth a login."""
    access_token_rights = rights(CredentialKind.ACCESS_TOKEN, SESSION_RIGHTS)
    assert access_token_rights == ACCESS_TOKEN_RIGHTS
    assert access_token_rights.isdisjoint(
        {"me/auth:write", "me/pat:write", "keys:write", "me/sessions:write"}
    )


@pytest.mark.parametrize("kind", [CredentialKind.API_KEY, CredentialKind.PAT])
def test_program_token_has_only_its_scopes(kind):
    """TK-10: no scopes mean no rights, not all of them."""
    assert rights(kind, ["keys:read"]) == {"keys:read"}
    assert rights(kind, []) == frozenset()


@pytest.mark.parametrize("kind", [CredentialKind.API_KEY, CredentialKind.PAT])
def test_scope_that_the_user_lacks_is_no_right(kind):
    """TK-12: stored scopes are limited to the rights of the user."""
    assert rights(kind, ["keys:read", "admin:everything"]) == {"keys:read"}


def test_required_scope_is_accepted(alice):
    """An accepted kind with the required scope."""
    principal = _principal(alice, CredentialKind.PAT, "me/pat:read")
    _authorise(principal, accepted=EVERY_KIND, scope="me/pat:read")


def test_operation_without_scope_accepts_any_accepted_kind(alice):
    """No scope is required, so none is needed."""
    _authorise(_principal(alice, CredentialKind.PAT), accepted=EVERY_KIND, scope=None)


def test_missing_scope_is_named(alice):
    """TK-10: the kind is accepted, but the scope is missing."""
    with pytest.raises(InsufficientScope) as caught:
        _authorise(
            _principal(alice, CredentialKind.API_KEY, "keys:read"),
            accepted=EVERY_KIND,
            scope="keys:write",
        )
    assert caught.value.scope == "keys:write"


@pytest.mark.parametrize("kind", sorted(EVERY_KIND - ONLY_SESSIONS))
def test_token_is_no_session_with_any_scopes(alice, kind):
    """TK-11: the kind is checked before the scope."""
    principal = _principal(alice, kind, *SESSION_RIGHTS)
    with pytest.raises(SessionRequired):
        _authorise(principal, accepted=ONLY_SESSIONS, scope="me/auth:write")


def test_unaccepted_kind_is_rejected_without_naming_a_scope(alice):
    """Several kinds are accepted, and this is none of them."""
    accepted = frozenset({CredentialKind.SESSION, CredentialKind.API_KEY})
    with pytest.raises(CredentialNotAccepted):
        _authorise(
            _principal(alice, CredentialKind.PAT, "keys:read"), accepted=accepted, scope=None
        )


def test_session_is_required_where_only_sessions_and_jwts_are_accepted(alice):
    """JWTs are accepted as well; the refusal still asks for a session."""
    accepted = ONLY_SESSIONS | {CredentialKind.JWT}
    with pytest.raises(SessionRequired):
        _authorise(_principal(alice, CredentialKind.PAT), accepted=accepted, scope=None)


def test_policies_get_the_complete_question(alice):
    """AZ-05: and with nothing that a user can write."""
    questions = []

    def decide(question, read_address, age):
        questions.append((question, read_address(), age))
        return Decision(allowed=True, code=None, notices=())

    principal = _principal(alice, CredentialKind.PAT, "keys:read")
    _authorise(principal, accepted=EVERY_KIND, scope="keys:read", decide=decide)
    view = alice.view
    subject = Subject(
        view.user_id,
        view.tenant_id,
        view.tenant_uuid,
        ("member",),
        "local",
        is_platform_admin=False,
        email_verified=view.email_verified,
    )
    rights_of_token = frozenset({"keys:read"})
    kind = "personalAccessToken"
    question = Question(subject, "ipto.signUp", kind, rights_of_token, "keys:read")
    assert questions == [(question, "192.0.2.1", None)]


@pytest.mark.parametrize(
    ("amr", "level"), [(("pwd",), "aal1"), (("pwd", "otp", "mfa"), "aal2"), (("otp",), "aal1")]
)
@pytest.mark.parametrize(("seconds", "age"), [(0, 0), (299.9, 299), (86_400, 86_400), (-9, 0)])
def test_policies_get_level_and_age_of_the_authentication(alice, amr, level, seconds, age):
    """AZ-05: of a session or a JWT; a clock that is ahead makes no negative age."""
    asked = []

    def decide(question, _read_address, age):
        asked.append((question.level, age))
        return Decision(allowed=True, code=None, notices=())

    principal = _principal(alice, CredentialKind.SESSION)
    authentication = Authentication(NOW - timedelta(seconds=seconds), amr)
    principal = principal._replace(
        credential=principal.credential._replace(authentication=authentication)
    )
    _authorise(principal, accepted=EVERY_KIND, scope=None, decide=decide)
    _authorise(
        _principal(alice, CredentialKind.API_KEY), accepted=EVERY_KIND, scope=None, decide=decide
    )
    assert asked == [(level, age), ("none", None)]


def test_policy_cannot_override_scopes(alice):
    """TK-10: however wide an operator's permit is."""
    with pytest.raises(InsufficientScope):
        _authorise(
            _principal(alice, CredentialKind.PAT, "keys:read"),
            accepted=EVERY_KIND,
            scope="keys:write",
            decide=lambda *_: Decision(allowed=True, code=None, notices=()),
        )


def test_unaccepted_kind_is_rejected_before_policies(alice):
    """The document's list is checked first."""
    with pytest.raises(SessionRequired):
        _authorise(
            _principal(alice, CredentialKind.PAT), accepted=ONLY_SESSIONS, scope=None, decide=None
        )


@pytest.mark.parametrize(
    ("code", "refusal"),
    [(None, PolicyDenied), ("not_local_user", NotLocalUser), ("insufficient_scope", PolicyDenied)],
)
def test_policy_denial_has_its_code_and_notices(alice, code, refusal):
    """AZ-08: an unknown code becomes `policy_denied`."""
    with pytest.raises(refusal) as caught:
        _authorise(
            _principal(alice, CredentialKind.SESSION),
            accepted=EVERY_KIND,
            scope="me/auth:write",
            decide=lambda *_: Decision(allowed=False, code=code, notices=("Why.",)),
        )
    assert type(caught.value) is refusal
    assert caught.value.notices == ("Why.",)


@pytest.mark.parametrize("is_anonymous", [False, True])
def test_public_act_asks_about_its_user(env, alice, is_anonymous):
    """AZ-07, attack finding 9: with all scopes of the user, and the client's address."""
    questions = []

    def decide(question, read_address, age):
        questions.append((question, read_address(), age))
        return Decision(allowed=len(questions) == 1, code="tenant_mismatch", notices=("No.",))

    user = None if is_anonymous else alice.view
    with env.database.transaction(writing=True, origin=Origin(address="192.0.2.1")) as session:
        govern(session, decide, "ipto.resetPassword")
        session.authorise_public(user, PublicCredential.MAILED_SECRET)
        with pytest.raises(TenantMismatch) as caught:
            session.authorise_public(user, PublicCredential.MAILED_SECRET)
    assert caught.value.notices == ("No.",)
    [(question, address, age), _] = questions
    assert (address, age, question.level) == ("192.0.2.1", None, "none")
    assert (question.action, question.required) == ("ipto.resetPassword", None)
    assert question.credential == "mailed-secret"
    if is_anonymous:
        assert (question.subject, question.rights) == (ANONYMOUS, frozenset())
    else:
        assert (question.subject.user_id, question.rights) == (alice.user_id, SESSION_RIGHTS)


def test_nothing_is_decided_outside_a_request(env, alice):
    """Policies do not govern operators and background jobs."""
    env.act(lambda session: session.authorise_public(alice.view, PublicCredential.NONE))
