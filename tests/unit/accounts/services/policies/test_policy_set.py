"""Parsing of policy sets, and their decisions by Cedar."""

import json
import logging
from types import SimpleNamespace

import cedarpy
import pytest
from cedarpy.pst import FrozenMap
from hypothesis import given
from hypothesis import strategies as st

from accounts import errors
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.policies.policy_set import (
    ANONYMOUS,
    Decision,
    InvalidPolicies,
    Policies,
    Question,
    Subject,
)
from oneself.runtime.policy_store import schema_of

GROUPS = {
    "ipto.getCurrentUser": "any",
    "ipto.changePassword": "me/auth:write",
    "hantera.changePassword": "me/auth:write",
    "scaikey.getProfile": "me/profile:read",
    "scaikey.updateProfile": "me/profile:write",
}
PUBLIC_ACTS = {
    "ipto.signUp": {"credentials": ["none"]},
    "ipto.logIn": {"credentials": ["password"]},
    "ipto.resetPassword": {"credentials": ["mailed-secret"], "scope": "me/auth:write"},
}


def described(action, **more):
    operation = {"operationId": action, "tags": ["ipto"], "responses": {}, **more}
    return {f"/{action}": {"post": operation}}


PATHS: dict[str, object] = {}
for name, group in GROUPS.items():
    PATHS |= described(name, **{"x-scope": group, "security": [{"session": []}]})
for name, policy in PUBLIC_ACTS.items():
    PATHS |= described(name, **{"x-scope": "public", "security": [], "x-policy": policy})
SCHEMA = schema_of({"paths": PATHS})
OWNER = """
@id("owner") permit (principal, action, resource)
when
{
    resource.owner == principal &&
    (context.required == "" || context.scopes.contains(context.required))
};
"""
LOCAL = """
@id("local") @code("not_local_user") @notice("Change it there.")
forbid (principal, action in Action::"me/auth:write", resource)
unless { principal.provider == "local" };
"""
ALICE = Subject(
    "usr_alice",
    "tnt_1",
    "uuid-1",
    ("owner",),
    "local",
    is_platform_admin=False,
    email_verified=False,
)
CHANGE = Question(
    ALICE, "ipto.changePassword", "session", frozenset({"me/auth:write"}), "me/auth:write"
)
SSO_CHANGE = CHANGE._replace(subject=ALICE._replace(provider="saml"))
ALLOWED = Decision(allowed=True, code=None, notices=())
REFUSED = Decision(allowed=False, code=None, notices=())


def parse(*texts):
    return Policies.parse({f"{n}.cedar": text for n, text in enumerate(texts)}, SCHEMA)


def forbid(name, *, when="true", action="action", **annotations):
    annotation_text = "".join(
        f'@{key}("{value}") ' for key, value in {"id": name, **annotations}.items()
    )
    scope = f"(principal, {action}, resource)"
    return f"{annotation_text}forbid {scope} when {{ {when} }};\n"


@pytest.fixture
def engine(monkeypatch):
    """Record the arguments and the result of each call of Cedar."""
    calls, original = [], cedarpy.is_authorized

    def is_authorized(*arguments):
        result = original(*arguments)
        calls.append((arguments, result))
        return result

    monkeypatch.setattr(cedarpy, "is_authorized", is_authorized)
    return calls


# Decisions


def test_only_permitted_questions_are_allowed():
    """AZ-02: without the scope no permit applies, and the default is to refuse."""
    policies = parse(OWNER)
    assert policies.decide(CHANGE) == ALLOWED
    assert policies.decide(CHANGE._replace(rights=frozenset({"me/profile:read"}))) == REFUSED
    assert policies.decide(CHANGE._replace(rights=frozenset())) == REFUSED
    assert policies.decide(Question(ALICE, "ipto.getCurrentUser", "apiKey", frozenset(), None))[0]


@pytest.mark.parametrize(("action", "group"), GROUPS.items())
def test_forbid_of_a_group_applies_to_each_of_its_operations(action, group):
    """AZ-08: with the policy's notice, and without effect on other groups."""
    question = SSO_CHANGE._replace(action=action, required=group, rights=frozenset({group}))
    denial = Decision(allowed=False, code="not_local_user", notices=("Change it there.",))
    expected = denial if group == "me/auth:write" else ALLOWED
    assert parse(OWNER, LOCAL).decide(question) == expected


def test_every_attribute_of_the_model_is_available():
    """AZ-04: user, tenant and account are complete, and are the caller's."""
    policies = parse(
        """@id("all") permit (
            principal == User::"usr_alice",
            action == Action::"ipto.changePassword",
            resource == Account::"usr_alice"
        )
        when
        {
            principal in Tenant::"tnt_1" && principal.tenant == Tenant::"tnt_1" &&
            principal.tenant.id == "tnt_1" && principal.tenant.uuid == "uuid-1" &&
            principal.email_verified &&
            principal.roles == ["b", "a"] && principal.provider == "ldap" && principal.admin &&
            resource.owner == principal && context.credential == "jwt" &&
            context.scopes == ["y", "x"] && context.required == "x"
        };"""
    )
    subject = Subject(
        "usr_alice",
        "tnt_1",
        "uuid-1",
        ("a", "b"),
        "ldap",
        is_platform_admin=True,
        email_verified=True,
    )
    question = Question(subject, "ipto.changePassword", "jwt", frozenset({"x", "y"}), "x")
    assert policies.decide(question) == ALLOWED
    for different in (
        question._replace(subject=subject._replace(user_id="usr_bob")),
        question._replace(subject=subject._replace(tenant_id="tnt_2")),
        question._replace(subject=subject._replace(roles=("a",))),
        question._replace(subject=subject._replace(provider="local")),
        question._replace(subject=subject._replace(is_platform_admin=False)),
        question._replace(subject=subject._replace(tenant_uuid="uuid-2")),
        question._replace(subject=subject._replace(email_verified=False)),
        question._replace(action="hantera.changePassword"),
        question._replace(credential="session"),
        question._replace(rights=frozenset({"x"})),
        question._replace(required="y"),
        question._replace(required=None),
    ):
        assert policies.decide(different) == REFUSED


def test_notices_are_those_of_the_deciding_policies():
    """AZ-08, AZ-09: policies that do not apply and overruled permits add nothing."""
    policies = parse(
        '@notice("Welcome.")' + OWNER,
        forbid("silent", when='context.credential == "jwt"', code="session_required", notice="No."),
        forbid("first", when='context.credential == "apiKey"', notice="Not by a key."),
        forbid("second", when='context.credential != "session"', code="tenant_mismatch"),
    )
    assert policies.decide(CHANGE) == (True, None, ("Welcome.",))
    by_key = policies.decide(CHANGE._replace(credential="apiKey"))
    assert by_key == (False, "tenant_mismatch", ("Not by a key.",))
    by_jwt = policies.decide(CHANGE._replace(credential="jwt"))
    assert by_jwt == (False, "session_required", ("No.",))


def test_notices_are_ordered_unique_and_limited():
    """AZ-08: policy10 comes after policy2, in any order of Cedar's answer; at most 20 are shown."""
    later_policies = "".join(
        forbid(f"b{n}", notice=f"{n:02}", code="tenant_mismatch") for n in range(12, 25)
    )
    earlier_policies = "".join(forbid(f"a{n}", notice=f"{n:02}") for n in range(12))
    repeated = forbid("again", notice="00", code="session_required")
    policies = Policies.parse(
        {"z": OWNER, "y": repeated, "x": later_policies, "w": earlier_policies}, SCHEMA
    )
    notices = tuple(f"{n:02}" for n in range(20))
    assert policies.decide(CHANGE) == (False, "tenant_mismatch", notices)
    names = (*(f"a{n}" for n in range(12)), *(f"b{n}" for n in range(12, 25)), "again", "owner")
    assert policies.ids == names


# Failures


def _without_attribute(request, entities):
    del request["context"]["credential"]
    return request, entities


def _with_wrong_type(request, entities):
    request["context"]["credential"] = 1000
    return request, entities


def _without_principal(request, entities):
    return request, [entity for entity in entities if entity["uid"]["type"] != "User"]


@pytest.mark.parametrize(
    ("corrupt", "schema"),
    [
        (_without_attribute, False),
        (_with_wrong_type, False),
        (_without_principal, False),
        (_without_principal, True),
    ],
)
def test_allow_with_a_failed_forbid_is_refused(monkeypatch, corrupt, schema):
    """AZ-01: Cedar skips the failed forbid and allows; a malformed request must gain nothing."""
    policies = parse(
        '@notice("Welcome.")' + OWNER,
        forbid("f", when='context.credential like "api*" && principal.provider != "local"'),
    )
    question = SSO_CHANGE._replace(credential="apiKey")
    assert policies.decide(question) == REFUSED
    results, original = [], cedarpy.is_authorized

    def is_authorized(request, policy_set, entities, passed_schema):
        request, entities = corrupt(request, entities)
        results.append(original(request, policy_set, entities, passed_schema if schema else None))
        return results[-1]

    monkeypatch.setattr(cedarpy, "is_authorized", is_authorized)
    fresh = question._replace(subject=question.subject._replace(roles=()))
    assert policies.decide(fresh) == REFUSED
    assert results[0].decision is cedarpy.Decision.Allow
    assert results[0].diagnostics.errors


@pytest.mark.parametrize("corrupt", [_without_attribute, _with_wrong_type])
def test_schema_rejects_a_corrupt_request(monkeypatch, corrupt):
    """AZ-03: the schema is passed with every question, and no decision is a refusal."""
    results, original = [], cedarpy.is_authorized

    def is_authorized(request, policy_set, entities, passed_schema):
        results.append(
            original(*corrupt(request, entities)[:1], policy_set, entities, passed_schema)
        )
        return results[-1]

    monkeypatch.setattr(cedarpy, "is_authorized", is_authorized)
    assert parse(OWNER).decide(CHANGE) == REFUSED
    assert results[0].decision is cedarpy.Decision.NoDecision


def test_actions_are_passed_with_their_groups(monkeypatch):
    """AZ-04: actions are passed with their groups, or Cedar would allow forbidden ones."""
    outcomes, original = [], cedarpy.is_authorized

    def is_authorized(request, policy_set, entities, _):
        actions = [entity for entity in entities if entity["uid"]["type"] == "Action"]
        without_actions = [entity for entity in entities if entity not in actions]
        outcomes.extend(
            original(request, policy_set, passed, None).allowed
            for passed in (without_actions, entities)
        )
        return original(request, policy_set, entities, None)

    monkeypatch.setattr(cedarpy, "is_authorized", is_authorized)
    assert parse(OWNER, LOCAL).decide(SSO_CHANGE).code == "not_local_user"
    assert outcomes == [True, False]


@pytest.mark.parametrize(
    "condition", ["9223372036854775807 + 1 > 0", 'User::"usr_gone".admin'], ids=["sum", "entity"]
)
def test_failing_policy_refuses_and_is_logged(caplog, condition):
    """AZ-01: logged once for each question, with nothing but its id."""
    policies = parse(OWNER, forbid("good", when="false"), forbid("failing", when=condition))
    for _ in range(3):
        assert policies.decide(CHANGE) == REFUSED
    assert [record.getMessage() for record in caplog.records] == [
        "no decision on ipto.changePassword, failed policies: failing"
    ]
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("accounts.services.policies", logging.WARNING)
    ]


def test_failing_policy_keeps_the_notice_of_a_forbid():
    """AZ-01: the refusal has the notice of the forbid that Cedar did evaluate."""
    policies = parse(OWNER, LOCAL, forbid("failing", when='User::"usr_gone".admin'))
    assert policies.decide(SSO_CHANGE) == (False, "not_local_user", ("Change it there.",))


@pytest.mark.parametrize(
    "question",
    [
        CHANGE._replace(action="ipto.forgotten"),
        CHANGE._replace(action="me/auth:write"),
        CHANGE._replace(credential=None),
        CHANGE._replace(credential=1000),
        CHANGE._replace(required=7),
        CHANGE._replace(rights=frozenset({7})),
        CHANGE._replace(subject=ALICE._replace(provider=None)),
        CHANGE._replace(subject=ALICE._replace(roles=("canary-role", None))),
        CHANGE._replace(subject=ALICE._replace(roles="owner")),
        CHANGE._replace(subject=ALICE._replace(roles=("\ud800",))),
        CHANGE._replace(subject=ALICE._replace(is_platform_admin="yes")),
        CHANGE._replace(subject=None),
        CHANGE._replace(rights={"me/auth:write"}),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("comment", ["", "// Each User is asked for by name."])
def test_malformed_question_is_refused_and_not_logged(caplog, question, comment):
    """AZ-02: the log has the action only, and nothing of Cedar's error."""
    policies = parse('@id("p") permit (principal, action, resource);' + comment)
    assert policies.decide(CHANGE) == ALLOWED
    assert policies.decide(question) == REFUSED
    assert len(caplog.records) == 1
    assert f"no decision on {question.action}" in caplog.text
    for private in ("usr_alice", "tnt_1", "canary-role", "me/auth:write:", "entities"):
        assert private not in caplog.text


def test_missing_user_id_is_refused_by_policies_about_users():
    """AZ-02."""
    policies = parse('@id("p") permit (principal is User, action, resource);')
    assert policies.decide(CHANGE) == ALLOWED
    assert policies.decide(CHANGE._replace(subject=ALICE._replace(user_id=None))) == REFUSED


def test_refusal_after_an_engine_error_is_not_cached(caplog, monkeypatch):
    """AZ-02: the next question is decided normally."""
    policies = parse(OWNER)

    def fail(*_):
        raise MemoryError("canary")

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", fail)
        assert policies.decide(CHANGE) == REFUSED
    assert policies.decide(CHANGE) == ALLOWED
    assert [record.getMessage() for record in caplog.records] == [
        "no decision on ipto.changePassword: MemoryError"
    ]


# Text of users

TEXTS = (
    st.text()
    | st.sampled_from(
        [json.dumps({"__entity": {"type": "User", "id": "root"}}), '"; permit (principal);', "\n\0"]
    )
).filter(lambda text: text != "root")
OWNERS, *ROOTS = (
    parse(f'@id("p") permit (principal, action, resource) when {{ {condition} }};')
    for condition in (
        "resource.owner == principal",
        'principal == User::"root"',
        'principal in Tenant::"root"',
        'principal.roles.contains("root")',
        'principal.provider == "root"',
        "principal.admin",
        'context.credential == "root"',
        'context.scopes.contains("root")',
        'context.required == "root"',
    )
)


@given(TEXTS, TEXTS)
def test_user_text_is_never_interpreted(text, other_text):
    """AZ-06: quotes, newlines, JSON and Cedar in it mean nothing, and the question is decided."""
    subject = Subject(
        text,
        other_text,
        text,
        (text, other_text),
        text,
        is_platform_admin=False,
        email_verified=False,
    )
    question = Question(
        subject, "ipto.changePassword", text, frozenset({text, other_text}), other_text
    )
    assert OWNERS.decide(question) == ALLOWED
    assert [policies.decide(question) for policies in ROOTS] == [REFUSED] * len(ROOTS)


@pytest.mark.parametrize("attribute", ["credential", "required", "rights", "roles", "provider"])
def test_entity_cannot_be_smuggled_in(attribute):
    """AZ-05: an object in place of a text is no reference, even if it is hashable."""
    smuggled = FrozenMap(__entity=FrozenMap(type="User", id="usr_alice"))
    policies = parse('@id("p") permit (principal, action, resource);')
    question = {
        "rights": CHANGE._replace(rights=frozenset({smuggled})),
        "roles": CHANGE._replace(subject=ALICE._replace(roles=(smuggled,))),
        "provider": CHANGE._replace(subject=ALICE._replace(provider=smuggled)),
    }.get(attribute) or CHANGE._replace(**{attribute: smuggled})
    assert policies.decide(question) == REFUSED


# Level and age of the authentication


def test_policy_can_demand_a_second_factor():
    """Issue 20: for a role, by the level; a credential of a program has none."""
    permit = '@id("p") permit (principal, action, resource) when { context.level == "aal2" };'
    policies = parse(permit)
    levels = ("none", "aal1", "aal2")
    allowed = [policies.decide(CHANGE._replace(level=level)).allowed for level in levels]
    assert allowed == [False, False, True]


def test_policy_can_demand_a_recent_authentication(engine):
    """Issue 20, AZ-18: the age is part of the decision if a policy mentions it, and only then."""
    recent = "context has authentication_age && context.authentication_age <= 60"
    policies = parse(f'@id("p") permit (principal, action, resource) when {{ {recent} }};')
    ages = (0, 60, 61, None)
    allowed = [policies.decide(CHANGE, authentication_age=age).allowed for age in ages]
    assert allowed == [True, True, False, False]
    decided = len(engine)
    indifferent = parse(OWNER)
    assert len({indifferent.decide(CHANGE, authentication_age=age) for age in ages}) == 1
    assert len(engine) == decided + 1


# Cached decisions

MORE_POLICIES = forbid("admins", when='principal.admin && context.credential == "jwt"') + forbid(
    "elsewhere", when='principal.provider == "root"', action='action in Action::"me/auth:write"'
)
UNNAMED = parse(OWNER, LOCAL, MORE_POLICIES)
NAMED = parse(OWNER, LOCAL, MORE_POLICIES, "// Mentions User, which disables sharing.")


def test_decisions_are_cached_by_all_their_input(engine):
    """AZ-18: any different input is decided again, and equal input is not."""
    policies = parse(OWNER)
    variations = [
        CHANGE._replace(subject=ALICE._replace(roles=())),
        CHANGE._replace(subject=ALICE._replace(provider="saml")),
        CHANGE._replace(subject=ALICE._replace(is_platform_admin=True)),
        CHANGE._replace(subject=ALICE._replace(email_verified=True)),
        CHANGE._replace(action="hantera.changePassword"),
        CHANGE._replace(credential="jwt"),
        CHANGE._replace(rights=frozenset()),
        CHANGE._replace(required=None),
    ]
    decisions = [policies.decide(question) for question in (CHANGE, *variations)]
    assert len(engine) == 9
    assert [policies.decide(question) for question in (CHANGE, *variations)] == decisions
    assert len(engine) == 9
    assert [decision.allowed for decision in decisions] == [True] * 7 + [False, True]


BOB = CHANGE._replace(
    subject=ALICE._replace(user_id="usr_bob", tenant_id="tnt_2", tenant_uuid="uuid-2")
)


@pytest.mark.parametrize(
    "condition",
    [
        'principal == User::"usr_alice"',
        'principal == User // with a comment\n  :: // and another\n"usr_alice"',
        'principal in Tenant::"tnt_1"',
        'principal.tenant == Tenant::"tnt_1"',
        'principal.tenant.id == "tnt_1"',
        'principal["ten\\u{61}nt"].id == "tnt_1"',
        'principal["ten\\x61nt"]["uuid"] == "uuid-1"',
        'resource.owner.tenant.uuid == "uuid-1"',
        'resource == Account::"usr_alice"',
        'principal in [Tenant::"tnt_3", Tenant::"tnt_1"]',
    ],
)
def test_users_named_by_a_policy_are_decided_separately(condition):
    """AZ-05: in either order of the questions."""
    text = forbid("named", when=condition)
    for questions in ([CHANGE, BOB], [BOB, CHANGE]):
        policies = parse(OWNER, text)
        assert [policies.decide(question).allowed for question in questions] == [
            question is BOB for question in questions
        ]


def test_users_that_no_policy_names_share_a_decision(engine):
    """AZ-18: with placeholders in place of their ids."""
    policies = parse(OWNER, LOCAL)
    assert policies.decide(CHANGE) == policies.decide(BOB) == ALLOWED
    assert len(engine) == 1
    assert "usr_alice" not in repr(engine)


def test_users_of_a_named_tenant_share_a_decision(engine):
    """AZ-18: a set that names tenants, and no user, decides once for each tenant."""
    policies = parse(OWNER, forbid("t", when='principal.tenant.id == "tnt_2"'))
    carol = CHANGE._replace(subject=ALICE._replace(user_id="usr_carol"))
    assert [policies.decide(each).allowed for each in (CHANGE, carol, BOB)] == [True, True, False]
    assert len(engine) == 2


@given(
    st.builds(
        Subject,
        TEXTS,
        TEXTS,
        TEXTS,
        st.tuples(TEXTS),
        TEXTS,
        is_platform_admin=st.booleans(),
        email_verified=st.booleans(),
    ),
    st.sampled_from(sorted(GROUPS)),
    st.sampled_from(["session", "jwt", "apiKey"]),
    st.frozensets(st.sampled_from(sorted(set(GROUPS.values())))),
)
def test_placeholders_do_not_change_decisions(subject, action, credential, rights):
    """AZ-05: a comment with the word `User` disables placeholders, and changes no decision."""
    question = Question(subject, action, credential, rights, GROUPS[action])
    assert UNNAMED.decide(question) == NAMED.decide(question)


def test_cache_belongs_to_its_policy_set(engine):
    """AZ-03: another set decides the same question itself."""
    assert parse(OWNER).decide(SSO_CHANGE) == ALLOWED
    assert not parse(OWNER, LOCAL).decide(SSO_CHANGE).allowed
    assert len(engine) == 2


def test_cache_size_is_limited(engine):
    """AZ-18: ever new questions do not fill the memory."""
    policies = parse(OWNER)
    questions = [CHANGE._replace(subject=ALICE._replace(provider=str(n))) for n in range(4097)]
    for question in (*questions, questions[-1], questions[0]):
        policies.decide(question)
    assert len(engine) == 4098


def test_decisions_do_not_parse_policies_or_schema(monkeypatch, engine):
    """AZ-18: policies and schema are parsed once, when the set is."""
    policies = parse(OWNER, LOCAL)

    def parsing(*_, **__):
        pytest.fail("parsed for a decision")

    parsers = ("from_str", "from_json_str", "from_pst")
    for handle in ("PolicySet", "Schema", "Entities"):
        spy = SimpleNamespace(**dict.fromkeys(parsers, parsing))
        monkeypatch.setattr(cedarpy, handle, spy)
    for n in range(20):
        policies.decide(CHANGE._replace(credential=str(n)))
    handles = [
        (type(policy_set).__name__, type(schema).__name__)
        for (_, policy_set, _, schema), _ in engine
    ]
    assert handles == [("PolicySet", "Schema")] * 20


# The network of the client

IN_OFFICE = 'context has source && context.source.isInRange(ip("10.0.0.0/8"))'


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("10.1.2.3", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        (None, False),
        ("10.1.2.3, 10.1.2.4", False),
        ('10.0.0.0/8"', False),
    ],
)
def test_source_is_the_network_of_the_client(address, is_allowed):
    """AZ-04, attack finding 9: an unknown or malformed address is in no network."""
    text = f'@id("office") permit (principal, action, resource) when {{ {IN_OFFICE} }};'
    assert parse(text).decide(CHANGE, lambda: address).allowed is is_allowed


def test_source_must_be_asked_for_before_it_is_used():
    """AZ-03: it is optional, so that a policy cannot fail where it is unknown."""
    with pytest.raises(InvalidPolicies, match="optional attribute `source`"):
        parse(OWNER, forbid("x", when="context.source.isLoopback()"))


def test_clients_share_a_decision_unless_a_policy_names_the_source(engine):
    """AZ-18: for other sets, the address is not even read."""
    policies = parse(OWNER, LOCAL)
    for _ in range(3):
        assert policies.decide(CHANGE, lambda: pytest.fail("read")) == ALLOWED
    [((request, *_), _)] = engine
    assert "source" not in request["context"]


@pytest.mark.parametrize("name", ["source", "s\\u{6f}urce", "\\x73ource"])
def test_source_is_in_the_key_of_sets_that_name_it(name, engine):
    """AZ-18: each address is decided once, in any spelling of the attribute."""
    named = f'context has "{name}" && context["{name}"].isInRange(ip("10.0.0.0/8"))'
    policies = parse(OWNER, forbid("office", when=named))
    for _ in range(2):
        for address, is_allowed in (("10.1.2.3", False), ("192.0.2.1", True), (None, True)):
            assert policies.decide(CHANGE, lambda: address).allowed is is_allowed  # noqa: B023 # called at once
    assert len(engine) == 3


# Public acts

LOG_IN = Question(ALICE, "ipto.logIn", "password", SESSION_RIGHTS, None)
RESET = LOG_IN._replace(action="ipto.resetPassword", credential="mailed-secret")
SIGN_UP = Question(ANONYMOUS, "ipto.signUp", "none", frozenset(), None)
#: Mentions an act without a login, so that all of them are decided by the set.
KNOWING = forbid("knowing", when='context.credential == "none" && principal.admin')
FREEZE = forbid("freeze", action='action in Action::"me/auth:write"', notice="Frozen.")


def test_public_acts_are_decided_like_others():
    """AZ-07, attack finding 9: by default they are denied."""
    policies = parse(OWNER, KNOWING)
    assert policies.governs_public
    for question in (LOG_IN, RESET, SIGN_UP):
        assert policies.decide(question) == ALLOWED
        only_profiles = 'permit (principal, action in Action::"me/profile:read", resource);'
        assert parse(f'@id("p") {only_profiles}', KNOWING).decide(question) == REFUSED


@pytest.mark.parametrize("knowing", ["", KNOWING], ids=["old", "new"])
def test_freeze_of_passwords_freezes_resets(knowing):
    """AZ-07, attack finding 9: in a set from before resets were decided, too."""
    policies = parse(OWNER, FREEZE + knowing)
    assert policies.decide(RESET) == (False, None, ("Frozen.",))
    assert policies.decide(LOG_IN) == policies.decide(SIGN_UP) == ALLOWED


@pytest.mark.parametrize(
    "mention",
    [
        'context.credential == "none"',
        'context.credential == "password"',
        'context.credential == "mailed-secret"',
        'context.credential == "refreshToken"',
        'action in Action::"public"',
        'action == Action::"ipto.signUp"',
    ],
)
def test_set_that_mentions_a_public_act_decides_all_of_them(mention):
    """AZ-07."""
    policies = parse(OWNER, forbid("f", when=f"principal.admin && {mention}"))
    assert policies.governs_public
    assert not parse(OWNER, LOCAL).governs_public
    assert not parse(OWNER, forbid("password", when="false", notice="none")).governs_public


ONLY_SESSIONS = forbid("s", when='!["session", "jwt"].contains(context.credential)')


@pytest.mark.parametrize(
    "old",
    [
        OWNER + ONLY_SESSIONS,
        '@id("p") permit (principal, action in Action::"me/profile:read", resource);',
        """@id("p") permit (principal, action, resource)
        when { principal.roles.contains("owner") && context.scopes.contains("me/auth:write") };""",
        OWNER + forbid("f", when='!principal.roles.contains("owner")'),
    ],
)
def test_set_from_before_public_acts_closes_none(old):
    """AZ-07: login, resets and sign-up stay open after an upgrade; other acts need a permit."""
    policies = parse(old)
    assert not policies.governs_public
    for question in (LOG_IN, RESET, SIGN_UP):
        assert policies.decide(question).allowed
    stranger = ALICE._replace(roles=("guest",))
    assert not policies.decide(Question(stranger, "ipto.getCurrentUser", "pat", frozenset(), "x"))[
        0
    ]


def test_old_set_forbids_public_acts_of_users():
    """AZ-01, AZ-07: as by a session, and a failed policy is a denial there as well."""
    not_sso = forbid("f", when='context.credential == "session" && principal.provider == "saml"')
    policies = parse(OWNER, not_sso)
    by_saml = LOG_IN._replace(subject=ALICE._replace(provider="saml"))
    assert (policies.decide(LOG_IN).allowed, policies.decide(by_saml).allowed) == (True, False)
    failing = parse(LOCAL, forbid("failing", when="9223372036854775807 + 1 > 0"))
    assert failing.decide(LOG_IN) == REFUSED
    assert policies.decide(LOG_IN._replace(subject=ALICE._replace(roles=(None,)))) == REFUSED


# Parsing

HIDDEN = "must not have control characters, line breaks or directional marks"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("permit (principal, action", "policy 2: unexpected end of input."),
        ("permit (principal, action, resource)", "policy 2: unexpected end of input."),
        ("\ufeffpermit (principal, action, resource);", "policy 2: invalid token."),
        ("permit (principal, action, resource);", "policy 2 has no @id, or an empty one."),
        ("@id permit (principal, action, resource);", "policy 2 has no @id, or an empty one."),
        (
            '@id("x") @id("y") permit (principal, action, resource);',
            "policy 2: duplicate annotation: @id.",
        ),
        (forbid("owner"), "policy 2 has the @id 'owner' of 0.cedar: policy 1."),
        (
            forbid("x", reason="y"),
            "policy 2 has @reason; only @id, @code, @notice and @description are known.",
        ),
        (forbid("x" * 101), "policy 2 has a @id that must have at most 100 characters."),
        (forbid("x\ny"), f"policy 2 has a @id that {HIDDEN}."),
        (forbid("x", notice=""), "policy 2 has no @notice, or an empty one."),
        (
            forbid("x", notice="y" * 201),
            "policy 2 has a @notice that must have at most 200 characters.",
        ),
        (forbid("x", notice="y\x07"), f"policy 2 has a @notice that {HIDDEN}."),
        (forbid("x", notice="y\u202ez"), f"policy 2 has a @notice that {HIDDEN}."),
        (
            forbid("x", notice="Cafe\u0301."),
            "policy 2 has a @notice that must be in Unicode's NFC.",
        ),
        (
            '@id("x") @code("session_required") permit (principal, action, resource);',
            "policy 2 is a permit with a @code, and a permit refuses nothing.",
        ),
        (
            '@id("x") permit (principal == ?principal, action, resource);',
            "policy 2 is a template, and nothing fills its slots.",
        ),
        (
            forbid("x", action='action in Action::"me/auth:wrote"'),
            'policy 2 does not fit the schema: unrecognized action `Action::"me/auth:wrote"`',
        ),
        (
            forbid("x", when='context.network == "vpn"'),
            "policy 2 does not fit the schema: attribute `network` in context for",
        ),
        (
            forbid("x", when="context.credential > 5"),
            "policy 2 does not fit the schema: unexpected type: expected Long but saw String.",
        ),
        (
            forbid("x", when='principal.email == "a@example.com"'),
            "policy 2 does not fit the schema: attribute `email` on entity type `User` not found",
        ),
    ],
    ids=range(21),
)
def test_problem_names_file_policy_and_rule(text, problem):
    """AZ-03: each error would be silent otherwise, above all a duplicate @id or misspelt group."""
    with pytest.raises(InvalidPolicies) as invalid:
        parse(OWNER + text)
    assert len(invalid.value.problems) == 1
    assert invalid.value.problems[0].startswith("0.cedar: " + problem)
    assert invalid.value.problems[0].endswith(".")
    assert str(invalid.value) == invalid.value.problems[0]


def test_policy_id_is_unique_across_files():
    """AZ-08: Cedar accepts duplicates, and the log would be ambiguous."""
    with pytest.raises(InvalidPolicies) as invalid:
        parse(OWNER, forbid("x"), forbid("x"))
    assert invalid.value.problems == ("2.cedar: policy 1 has the @id 'x' of 1.cedar: policy 1.",)


def test_all_problems_of_all_files_are_reported():
    """AZ-03: one for each broken rule, and one for a policy that fits the schema nowhere."""
    with pytest.raises(InvalidPolicies) as invalid:
        parse("nonsense", OWNER, forbid("x", code="y", notice="") + forbid("z", when="context.a"))
    problems = invalid.value.problems
    assert [problem.split()[:3] for problem in problems] == [
        ["0.cedar:", "policy", "1:"],
        ["2.cedar:", "policy", "1"],
        ["2.cedar:", "policy", "1"],
        ["2.cedar:", "policy", "2"],
    ]


@pytest.mark.parametrize("texts", [[], ["// nothing yet\n"], ["", "\n"]])
def test_empty_policy_set_is_rejected(texts):
    """AZ-03: it would refuse everything, which an empty folder is hardly meant to do."""
    with pytest.raises(InvalidPolicies, match="There is no policy"):
        parse(*texts)


def test_unreadable_schema_is_rejected():
    """AZ-03: without a schema the groups would be empty."""
    schema = {"": {"entityTypes": {}, "actions": {"a": {"memberOf": [{"id": "nobody"}]}}}}
    with pytest.raises(InvalidPolicies, match=r"^The schema: "):
        Policies.parse({"a": OWNER}, schema)


def _subclasses(kind):
    for subclass in kind.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield subclass
            yield from _subclasses(subclass)


@pytest.mark.parametrize(
    "refusal", list(_subclasses(errors.AccountError)), ids=lambda refusal: refusal.__name__
)
def test_code_must_be_that_of_a_403_refusal(refusal):
    """AZ-08: other refusals are no denials, and clients do not know other codes."""
    text = forbid("x", code=refusal.code)
    if issubclass(refusal, errors.Forbidden) and refusal is not errors.Forbidden:
        assert parse(OWNER, text).decide(CHANGE).code == refusal.code
    else:
        with pytest.raises(InvalidPolicies, match=r"has the @code '.*', which no refusal of the"):
            parse(OWNER, text)


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 1000 + "true" + ")" * 1000,
        "[" * 1000 + "true" + "]" * 1000 + ".isEmpty()",
        "true || " * 5000 + "true",
        "true && " * 5000 + "true",
        "if true then " * 5000 + "true" + " else true" * 5000,
        "resource.owner" + ".tenant" * 5000 + " == principal",
        "1" + " + 1" * 5000 + " > 0",
        "true || " * 150 + "true",
    ],
    ids=range(8),
)
def test_deeply_nested_policy_is_rejected(condition):
    """AZ-03: it would end the process, in each worker, at every start."""
    with pytest.raises(InvalidPolicies, match=r"^1\.cedar: policy 2.*nest(ed|ing)"):
        parse(OWNER, forbid("x") + forbid("y", when=condition) + forbid("z"))


def test_long_flat_policy_is_accepted():
    """AZ-03: long lists of users, strings and comments, with any brackets in them."""
    users = ", ".join(f'User::"usr_{n}.(;"' for n in range(5000))
    brackets = '"' + "(;[" * 1000 + '\\";" != ""'
    text = forbid("x", when=f"[{users}].contains(principal) && {brackets}")
    policies = parse(OWNER, "// ((((;" * 1000 + "\n" + text + "// no line end")
    assert policies.ids == ("owner", "x")
    assert policies.decide(CHANGE) == ALLOWED
    forbidden = CHANGE._replace(subject=ALICE._replace(user_id="usr_7.(;"))
    assert not policies.decide(forbidden).allowed


def test_digest_covers_names_texts_and_schema():
    """AZ-17: equal digests show that two workers decide by the same set."""
    digest = parse(OWNER, LOCAL).digest
    assert len(bytes.fromhex(digest)) == 32
    reordered = dict(reversed({"0.cedar": OWNER, "1.cedar": LOCAL}.items()))
    assert Policies.parse(reordered, SCHEMA).digest == digest
    smaller_schema = json.loads(json.dumps(SCHEMA))
    del smaller_schema[""]["actions"]["scaikey.getProfile"]
    other_sets = [
        parse(OWNER + LOCAL),
        parse(LOCAL, OWNER),
        parse(OWNER, LOCAL + "//"),
        Policies.parse({"0.cedar": OWNER, "2.cedar": LOCAL}, SCHEMA),
        Policies.parse({"0.cedar": OWNER, "1.cedar": LOCAL}, smaller_schema),
    ]
    assert len({digest, *(other_set.digest for other_set in other_sets)}) == 6
