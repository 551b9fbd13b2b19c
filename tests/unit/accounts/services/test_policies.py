"""What a set of policies takes, and what it decides; each decision is Cedar's."""

import json
import logging
from types import SimpleNamespace

import cedarpy
import pytest
from cedarpy.pst import FrozenMap
from hypothesis import given
from hypothesis import strategies as st

from accounts import errors
from accounts.services.policies import Decision, InvalidPolicies, Policies, Question, Subject
from oneself.runtime.policy_store import schema_of

GROUPS = {
    "ipto.getCurrentUser": "any",
    "ipto.changePassword": "me/auth:write",
    "hantera.changePassword": "me/auth:write",
    "scaikey.getProfile": "me/profile:read",
    "scaikey.updateProfile": "me/profile:write",
}
SCHEMA = schema_of(
    {
        "paths": {
            f"/{action}": {
                "post": {
                    "operationId": action,
                    "tags": ["ipto"],
                    "x-scope": group,
                    "security": [{"session": []}],
                    "responses": {},
                }
            }
            for action, group in GROUPS.items()
        }
    }
)
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
ALICE = Subject("usr_alice", "tnt_1", ("owner",), "local", is_platform_admin=False)
CHANGE = Question(
    ALICE, "ipto.changePassword", "session", frozenset({"me/auth:write"}), "me/auth:write"
)
ELSEWHERE = CHANGE._replace(subject=ALICE._replace(provider="saml"))
ALLOWED = Decision(allowed=True, code=None, notices=())
REFUSED = Decision(allowed=False, code=None, notices=())


def parse(*texts):
    return Policies.parse({f"{n}.cedar": text for n, text in enumerate(texts)}, SCHEMA)


def forbid(name, *, when="true", action="action", **annotations):
    words = "".join(f'@{key}("{value}") ' for key, value in {"id": name, **annotations}.items())
    scope = f"(principal, {action}, resource)"
    return f"{words}forbid {scope} when {{ {when} }};\n"


@pytest.fixture
def engine(monkeypatch):
    """Cedar itself, with a list of what it was asked and what it said."""
    asked, ask = [], cedarpy.is_authorized

    def is_authorized(*arguments):
        result = ask(*arguments)
        asked.append((arguments, result))
        return result

    monkeypatch.setattr(cedarpy, "is_authorized", is_authorized)
    return asked


# What is decided


def test_what_a_permit_says_is_allowed_and_nothing_else():
    """AZ-02: with the scope it is allowed, and without it no policy is needed to refuse."""
    policies = parse(OWNER)
    assert policies.decide(CHANGE) == ALLOWED
    assert policies.decide(CHANGE._replace(rights=frozenset({"me/profile:read"}))) == REFUSED
    assert policies.decide(CHANGE._replace(rights=frozenset())) == REFUSED
    assert policies.decide(Question(ALICE, "ipto.getCurrentUser", "apiKey", frozenset(), None))[0]


@pytest.mark.parametrize(("action", "group"), GROUPS.items())
def test_a_forbid_of_a_group_reaches_each_operation_of_it(action, group):
    """AZ-08: with the words of the policy; and no operation of another group."""
    question = ELSEWHERE._replace(action=action, required=group, rights=frozenset({group}))
    refused = Decision(allowed=False, code="not_local_user", notices=("Change it there.",))
    expected = refused if group == "me/auth:write" else ALLOWED
    assert parse(OWNER, LOCAL).decide(question) == expected


def test_every_attribute_of_the_model_can_be_asked_for():
    """AZ-04: user, tenant and account are there, complete, and are the caller's."""
    policies = parse(
        """@id("all") permit (
            principal == User::"usr_alice",
            action == Action::"ipto.changePassword",
            resource == Account::"usr_alice"
        )
        when
        {
            principal in Tenant::"tnt_1" && principal.tenant == Tenant::"tnt_1" &&
            principal.roles == ["b", "a"] && principal.provider == "ldap" && principal.admin &&
            resource.owner == principal && context.credential == "jwt" &&
            context.scopes == ["y", "x"] && context.required == "x"
        };"""
    )
    subject = Subject("usr_alice", "tnt_1", ("a", "b"), "ldap", is_platform_admin=True)
    question = Question(subject, "ipto.changePassword", "jwt", frozenset({"x", "y"}), "x")
    assert policies.decide(question) == ALLOWED
    for changed in (
        question._replace(subject=subject._replace(user_id="usr_bob")),
        question._replace(subject=subject._replace(tenant_id="tnt_2")),
        question._replace(subject=subject._replace(roles=("a",))),
        question._replace(subject=subject._replace(provider="local")),
        question._replace(subject=subject._replace(is_platform_admin=False)),
        question._replace(action="hantera.changePassword"),
        question._replace(credential="session"),
        question._replace(rights=frozenset({"x"})),
        question._replace(required="y"),
        question._replace(required=None),
    ):
        assert policies.decide(changed) == REFUSED


def test_the_words_are_those_of_the_policies_that_decided():
    """AZ-08, AZ-09: what does not apply says nothing, nor does a permit that is overruled."""
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


def test_words_come_in_the_order_of_files_and_policies_and_once():
    """AZ-08: policy10 is after policy2, whatever order Cedar lists them in; 20 are shown."""
    later = "".join(
        forbid(f"b{n}", notice=f"{n:02}", code="tenant_mismatch") for n in range(12, 25)
    )
    earlier = "".join(forbid(f"a{n}", notice=f"{n:02}") for n in range(12))
    again = forbid("again", notice="00", code="session_required")
    policies = Policies.parse({"z": OWNER, "y": again, "x": later, "w": earlier}, SCHEMA)
    notices = tuple(f"{n:02}" for n in range(20))
    assert policies.decide(CHANGE) == (False, "tenant_mismatch", notices)
    names = (*(f"a{n}" for n in range(12)), *(f"b{n}" for n in range(12, 25)), "again", "owner")
    assert policies.ids == names


# What fails


def _without_the_attribute(request, entities):
    del request["context"]["credential"]
    return request, entities


def _of_another_type(request, entities):
    request["context"]["credential"] = 1000
    return request, entities


def _without_the_principal(request, entities):
    return request, [each for each in entities if each["uid"]["type"] != "User"]


@pytest.mark.parametrize(
    ("spoil", "schema"),
    [
        (_without_the_attribute, False),
        (_of_another_type, False),
        (_without_the_principal, False),
        (_without_the_principal, True),
    ],
)
def test_an_allow_that_lacks_a_forbid_which_failed_is_a_refusal(monkeypatch, spoil, schema):
    """AZ-01: Cedar leaves the forbid out and allows; whoever spoiled the request gains nothing."""
    policies = parse(
        '@notice("Welcome.")' + OWNER,
        forbid("f", when='context.credential like "api*" && principal.provider != "local"'),
    )
    question = ELSEWHERE._replace(credential="apiKey")
    assert policies.decide(question) == REFUSED
    said, ask = [], cedarpy.is_authorized

    def spoiled(request, policy_set, entities, known):
        request, entities = spoil(request, entities)
        said.append(ask(request, policy_set, entities, known if schema else None))
        return said[-1]

    monkeypatch.setattr(cedarpy, "is_authorized", spoiled)
    fresh = question._replace(subject=question.subject._replace(roles=()))
    assert policies.decide(fresh) == REFUSED
    assert said[0].decision is cedarpy.Decision.Allow
    assert said[0].diagnostics.errors


@pytest.mark.parametrize("spoil", [_without_the_attribute, _of_another_type])
def test_with_the_schema_a_spoiled_request_is_not_even_judged(monkeypatch, spoil):
    """AZ-03: the schema is passed with every question, and no decision is a refusal."""
    said, ask = [], cedarpy.is_authorized

    def spoiled(request, policy_set, entities, known):
        said.append(ask(*spoil(request, entities)[:1], policy_set, entities, known))
        return said[-1]

    monkeypatch.setattr(cedarpy, "is_authorized", spoiled)
    assert parse(OWNER).decide(CHANGE) == REFUSED
    assert said[0].decision is cedarpy.Decision.NoDecision


def test_a_group_has_its_actions_by_the_schema_and_without(monkeypatch):
    """AZ-04: the action is there with its group, or Cedar would allow what the group forbids."""
    said, ask = [], cedarpy.is_authorized

    def spoiled(request, policy_set, entities, _):
        actions = [each for each in entities if each["uid"]["type"] == "Action"]
        others = [each for each in entities if each not in actions]
        said.extend(ask(request, policy_set, given, None).allowed for given in (others, entities))
        return ask(request, policy_set, entities, None)

    monkeypatch.setattr(cedarpy, "is_authorized", spoiled)
    assert parse(OWNER, LOCAL).decide(ELSEWHERE).code == "not_local_user"
    assert said == [True, False]


@pytest.mark.parametrize(
    "condition", ["9223372036854775807 + 1 > 0", 'User::"usr_gone".admin'], ids=["sum", "entity"]
)
def test_a_valid_policy_that_fails_refuses_and_is_named(caplog, condition):
    """AZ-01: in the log, once for each question, and by nothing else than its id."""
    policies = parse(OWNER, forbid("good", when="false"), forbid("failing", when=condition))
    for _ in range(3):
        assert policies.decide(CHANGE) == REFUSED
    assert [record.getMessage() for record in caplog.records] == [
        "no decision on ipto.changePassword, failed policies: failing"
    ]
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("accounts.services.policies", logging.WARNING)
    ]


def test_a_policy_that_fails_takes_nothing_from_one_that_forbids():
    """AZ-01: the refusal has the words of the forbid that Cedar did judge."""
    policies = parse(OWNER, LOCAL, forbid("failing", when='User::"usr_gone".admin'))
    assert policies.decide(ELSEWHERE) == (False, "not_local_user", ("Change it there.",))


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
def test_a_question_that_cannot_be_read_is_refused_and_not_told(caplog, question, comment):
    """AZ-02: of the question the log has the action alone, and of Cedar's error nothing."""
    policies = parse('@id("p") permit (principal, action, resource);' + comment)
    assert policies.decide(CHANGE) == ALLOWED
    assert policies.decide(question) == REFUSED
    assert len(caplog.records) == 1
    assert f"no decision on {question.action}" in caplog.text
    for private in ("usr_alice", "tnt_1", "canary-role", "me/auth:write:", "entities"):
        assert private not in caplog.text


def test_nobody_is_refused_where_a_policy_names_somebody():
    """AZ-02."""
    policies = parse('@id("p") permit (principal is User, action, resource);')
    assert policies.decide(CHANGE) == ALLOWED
    assert policies.decide(CHANGE._replace(subject=ALICE._replace(user_id=None))) == REFUSED


def test_an_engine_that_breaks_is_a_refusal_which_is_not_kept(caplog, monkeypatch):
    """AZ-02: when it is whole again, so is the answer."""
    policies = parse(OWNER)

    def broken(*_):
        raise MemoryError("canary")

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", broken)
        assert policies.decide(CHANGE) == REFUSED
    assert policies.decide(CHANGE) == ALLOWED
    assert [record.getMessage() for record in caplog.records] == [
        "no decision on ipto.changePassword: MemoryError"
    ]


# What people write

TEXTS = (
    st.text()
    | st.sampled_from(
        [json.dumps({"__entity": {"type": "User", "id": "root"}}), '"; permit (principal);', "\n\0"]
    )
).filter(lambda text: text != "root")
EVERYBODY, *ROOTS = (
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
def test_a_text_is_a_text_wherever_it_stands(text, other):
    """AZ-06: quotes, newlines, JSON and Cedar in it mean nothing, and the question is decided."""
    subject = Subject(text, other, (text, other), text, is_platform_admin=False)
    question = Question(subject, "ipto.changePassword", text, frozenset({text, other}), other)
    assert EVERYBODY.decide(question) == ALLOWED
    assert [policies.decide(question) for policies in ROOTS] == [REFUSED] * len(ROOTS)


@pytest.mark.parametrize("place", ["credential", "required", "rights", "roles", "provider"])
def test_an_entity_cannot_be_smuggled_in(place):
    """AZ-05: an object where a text belongs is no reference, even one that can be kept."""
    smuggled = FrozenMap(__entity=FrozenMap(type="User", id="usr_alice"))
    policies = parse('@id("p") permit (principal, action, resource);')
    question = {
        "rights": CHANGE._replace(rights=frozenset({smuggled})),
        "roles": CHANGE._replace(subject=ALICE._replace(roles=(smuggled,))),
        "provider": CHANGE._replace(subject=ALICE._replace(provider=smuggled)),
    }.get(place) or CHANGE._replace(**{place: smuggled})
    assert policies.decide(question) == REFUSED


# What is kept

TOLD_APART = forbid("admins", when='principal.admin && context.credential == "jwt"') + forbid(
    "elsewhere", when='principal.provider == "root"', action='action in Action::"me/auth:write"'
)
UNNAMED = parse(OWNER, LOCAL, TOLD_APART)
NAMED = parse(OWNER, LOCAL, TOLD_APART, "// For each User by themselves.")


def test_a_decision_is_kept_by_all_that_it_was_made_of(engine):
    """AZ-18: whatever differs is asked again, and what is the same is not."""
    policies = parse(OWNER)
    others = [
        CHANGE._replace(subject=ALICE._replace(roles=())),
        CHANGE._replace(subject=ALICE._replace(provider="saml")),
        CHANGE._replace(subject=ALICE._replace(is_platform_admin=True)),
        CHANGE._replace(action="hantera.changePassword"),
        CHANGE._replace(credential="jwt"),
        CHANGE._replace(rights=frozenset()),
        CHANGE._replace(required=None),
    ]
    first = [policies.decide(question) for question in (CHANGE, *others)]
    assert len(engine) == 8
    assert [policies.decide(question) for question in (CHANGE, *others)] == first
    assert len(engine) == 8
    assert [decision.allowed for decision in first] == [True] * 6 + [False, True]


BOB = CHANGE._replace(subject=ALICE._replace(user_id="usr_bob", tenant_id="tnt_2"))


@pytest.mark.parametrize(
    "named",
    [
        'principal == User::"usr_alice"',
        'principal == User // with a comment\n  :: // and another\n"usr_alice"',
        'principal in Tenant::"tnt_1"',
        'principal.tenant == Tenant::"tnt_1"',
        'resource == Account::"usr_alice"',
        'principal in [Tenant::"tnt_3", Tenant::"tnt_1"]',
    ],
)
def test_whom_a_policy_names_is_not_taken_for_somebody_else(named):
    """AZ-05: nor is anybody else taken for them, whoever of the two asks first."""
    text = forbid("somebody", when=named)
    for questions in ([CHANGE, BOB], [BOB, CHANGE]):
        policies = parse(OWNER, text)
        assert [policies.decide(each).allowed for each in questions] == [
            each is BOB for each in questions
        ]


def test_two_people_whom_no_policy_can_tell_apart_are_decided_once(engine):
    """AZ-18: their accounts are each one's own, as before."""
    policies = parse(OWNER, LOCAL)
    assert policies.decide(CHANGE) == policies.decide(BOB) == ALLOWED
    assert len(engine) == 1
    assert "usr_alice" not in repr(engine)


@given(
    st.builds(Subject, TEXTS, TEXTS, st.tuples(TEXTS), TEXTS, is_platform_admin=st.booleans()),
    st.sampled_from(sorted(GROUPS)),
    st.sampled_from(["session", "jwt", "apiKey"]),
    st.frozensets(st.sampled_from(sorted(set(GROUPS.values())))),
)
def test_it_is_decided_as_if_they_were_asked_for_by_name(subject, action, credential, rights):
    """AZ-05: the same set decides alike with the word in a comment, which has it ask for each."""
    question = Question(subject, action, credential, rights, GROUPS[action])
    assert UNNAMED.decide(question) == NAMED.decide(question)


def test_a_set_keeps_what_it_has_decided_to_itself(engine):
    """AZ-03: another set decides anew, the same question too."""
    assert parse(OWNER).decide(ELSEWHERE) == ALLOWED
    assert not parse(OWNER, LOCAL).decide(ELSEWHERE).allowed
    assert len(engine) == 2


def test_so_many_decisions_are_kept_and_no_more(engine):
    """AZ-18: whoever asks what nobody asked before fills no memory."""
    policies = parse(OWNER)
    questions = [CHANGE._replace(subject=ALICE._replace(provider=str(n))) for n in range(4097)]
    for question in (*questions, questions[-1], questions[0]):
        policies.decide(question)
    assert len(engine) == 4098


def test_no_decision_parses_a_policy_or_the_schema(monkeypatch, engine):
    """AZ-18: they are parsed with the set, and passed as they were then."""
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


# What is taken

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
        (
            forbid("x\ny"),
            f"policy 2 has a @id that {HIDDEN}.",
        ),
        (forbid("x", notice=""), "policy 2 has no @notice, or an empty one."),
        (
            forbid("x", notice="y" * 201),
            "policy 2 has a @notice that must have at most 200 characters.",
        ),
        (
            forbid("x", notice="y\x07"),
            f"policy 2 has a @notice that {HIDDEN}.",
        ),
        (
            forbid("x", notice="y\u202ez"),
            f"policy 2 has a @notice that {HIDDEN}.",
        ),
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
def test_what_breaks_a_rule_is_refused_by_file_policy_and_rule(text, problem):
    """AZ-03: each would be silent otherwise, a duplicate @id and a misspelt group above all."""
    with pytest.raises(InvalidPolicies) as invalid:
        parse(OWNER + text)
    assert len(invalid.value.problems) == 1
    assert invalid.value.problems[0].startswith("0.cedar: " + problem)
    assert invalid.value.problems[0].endswith(".")
    assert str(invalid.value) == invalid.value.problems[0]


def test_an_id_is_unique_over_all_files():
    """AZ-08: Cedar itself takes two of one name, and the log would name either."""
    with pytest.raises(InvalidPolicies) as invalid:
        parse(OWNER, forbid("x"), forbid("x"))
    assert invalid.value.problems == ("2.cedar: policy 1 has the @id 'x' of 1.cedar: policy 1.",)


def test_every_problem_of_every_file_is_told():
    """AZ-03: a policy that breaks two rules has two, one that the schema knows twice has one."""
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
def test_a_set_without_a_policy_is_refused(texts):
    """AZ-03: it would refuse everything, and whoever emptied the folder did not mean that."""
    with pytest.raises(InvalidPolicies, match="There is no policy"):
        parse(*texts)


def test_a_schema_that_cannot_be_read_is_refused():
    """AZ-03: without one, the groups would be empty."""
    schema = {"": {"entityTypes": {}, "actions": {"a": {"memberOf": [{"id": "nobody"}]}}}}
    with pytest.raises(InvalidPolicies, match=r"^The schema: "):
        Policies.parse({"a": OWNER}, schema)


def _below(kind):
    for each in kind.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _below(each)


@pytest.mark.parametrize(
    "refusal", list(_below(errors.AccountError)), ids=lambda refusal: refusal.__name__
)
def test_a_code_is_that_of_a_refusal_with_403(refusal):
    """AZ-08: another kind would be no denial, and another word one that no client knows."""
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
def test_what_would_overflow_the_stack_is_not_parsed(condition):
    """AZ-03: it ended the process, in each worker, at every start."""
    with pytest.raises(InvalidPolicies, match=r"^1\.cedar: policy 2.*nest(ed|ing)"):
        parse(OWNER, forbid("x") + forbid("y", when=condition) + forbid("z"))


def test_what_is_long_and_not_deep_is_taken():
    """AZ-03: lists of people, strings and comments, whatever is written in them."""
    people = ", ".join(f'User::"usr_{n}.(;"' for n in range(5000))
    quiet = '"' + "(;[" * 1000 + '\\";" != ""'
    text = forbid("x", when=f"[{people}].contains(principal) && {quiet}")
    policies = parse(OWNER, "// ((((;" * 1000 + "\n" + text + "// no line end")
    assert policies.ids == ("owner", "x")
    assert policies.decide(CHANGE) == ALLOWED
    stopped = CHANGE._replace(subject=ALICE._replace(user_id="usr_7.(;"))
    assert not policies.decide(stopped).allowed


def test_a_digest_is_of_names_texts_and_schema():
    """AZ-17: by it two workers, or two machines, are seen to decide by the same set."""
    digest = parse(OWNER, LOCAL).digest
    assert len(bytes.fromhex(digest)) == 32
    turned = dict(reversed({"0.cedar": OWNER, "1.cedar": LOCAL}.items()))
    assert Policies.parse(turned, SCHEMA).digest == digest
    less = json.loads(json.dumps(SCHEMA))
    del less[""]["actions"]["scaikey.getProfile"]
    others = [
        parse(OWNER + LOCAL),
        parse(LOCAL, OWNER),
        parse(OWNER, LOCAL + "//"),
        Policies.parse({"0.cedar": OWNER, "2.cedar": LOCAL}, SCHEMA),
        Policies.parse({"0.cedar": OWNER, "1.cedar": LOCAL}, less),
    ]
    assert len({digest, *(other.digest for other in others)}) == 6
