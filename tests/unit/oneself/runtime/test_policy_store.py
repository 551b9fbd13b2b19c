"""The policies of a deployment: the default set, the folder, and its reloading."""

import copy
import logging
import os
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accounts.errors import Forbidden
from accounts.services.credentials import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS
from accounts.services.policies import Decision, InvalidPolicies, Question, Subject
from oneself.document import load_document, operation_specs
from oneself.runtime.policy_store import PolicyStore, read_policies, schema_of

DEFAULT = Path(__file__).parents[4] / "policies"
DOCUMENT = load_document()
ASKED = [described for described in operation_specs(DOCUMENT) if described.accepted]
ALICE = Subject("usr_alice", "tnt_1", ("owner",), "local", is_platform_admin=False)

PERMIT = '@id("p") permit (principal, action, resource);'
PROFILE = Question(
    ALICE, "scaikey.getProfile", "session", frozenset({"me/profile:read"}), "me/profile:read"
)
ALLOWED = Decision(allowed=True, code=None, notices=())
LACKING = Decision(
    allowed=False,
    code=None,
    notices=("The credential lacks the scope that this operation needs.",),
)


def ask(policies, operation_id, credential="session", *, rights=SESSION_RIGHTS, subject=ALICE):
    scope = next(each.scope for each in ASKED if each.operation_id == operation_id)
    return policies.decide(Question(subject, operation_id, credential, rights, scope))


def closing(notice):
    return f'@id("closed") @notice("{notice}") forbid (principal, action, resource);'


@pytest.fixture(scope="module")
def default():
    return read_policies(DEFAULT, DOCUMENT)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "default.cedar").write_text(PERMIT)
    return folder


@pytest.fixture
def store(folder):
    return PolicyStore(folder, DOCUMENT)


def reloaded(store):
    """Two looks, after which a change is taken."""
    store.reload()
    store.reload()
    return store


# The schema


def test_every_operation_of_a_person_is_an_action_of_its_group():
    """AZ-07: as the document has them; what needs no credential is not asked about."""
    actions = schema_of(DOCUMENT)[""]["actions"]
    groups = {name: action["memberOf"] for name, action in actions.items() if "appliesTo" in action}
    assert groups == {each.operation_id: [{"id": each.scope or "any"}] for each in ASKED}
    assert "ipto.changePassword" in groups
    assert "ipto.logIn" not in groups


def test_a_new_operation_is_reached_by_itself(default):
    """AZ-07: by the forbid of its group, with no other change than in the document."""
    document = copy.deepcopy(dict(DOCUMENT))
    path = document["paths"]["/resources/me/password"]
    new = {**path["post"], "operationId": "hantera.setPassword"}
    document["paths"]["/resources/me/new-password"] = {"post": new}
    question = Question(
        ALICE._replace(provider="saml"),
        "hantera.setPassword",
        "session",
        SESSION_RIGHTS,
        "me/auth:write",
    )
    assert read_policies(DEFAULT, document).decide(question).code == "not_local_user"
    assert default.decide(question) == Decision(allowed=False, code=None, notices=())


# The default set


@pytest.mark.parametrize(
    ("described", "kind"),
    [(described, kind) for described in ASKED for kind in sorted(described.accepted)],
    ids=lambda value: getattr(value, "operation_id", value),
)
def test_what_the_document_accepts_is_allowed_with_the_scope_and_not_without(
    default, described, kind
):
    """AZ-02: the two walls stand in the same place, for every operation and kind."""
    scope = described.scope
    rights = frozenset({scope} if scope else ())
    question = Question(ALICE, described.operation_id, kind, rights, scope)
    if (described.operation_id, kind) == ("hantera.requestEmailChange", "jwt"):
        # With a new address comes the password, by a reset.
        assert not default.decide(question).allowed
        question = question._replace(rights=rights | {"me/auth:write"})
    assert default.decide(question) == ALLOWED
    if scope:
        less = question._replace(rights=SESSION_RIGHTS - {scope})
        assert default.decide(less) == LACKING


PASSWORDS = [each.operation_id for each in ASKED if each.scope == "me/auth:write"]
TOKENS = ["hyperclast.getAccessToken", "hyperclast.regenerateAccessToken"]
PATS = ["hantera.listPats", "hantera.createPat", "hantera.getPat", "hantera.revokePat"]
KEYS = ["ipto.createApiKey", "ipto.revokeApiKey"]
SESSIONS = ["ipto.revokeSession", "ipto.revokeOtherSessions"]
ADDRESS = ["hantera.requestEmailChange"]


@pytest.mark.parametrize(
    ("credential", "operations"),
    [
        ("apiKey", [*PASSWORDS, *ADDRESS, *TOKENS, *PATS, *SESSIONS]),
        ("personalAccessToken", [*PASSWORDS, *ADDRESS, *TOKENS, *PATS, *SESSIONS, *KEYS]),
        ("jwt", ["ipto.changePassword", "hantera.createPat"]),
        (
            "accessToken",
            [
                each.operation_id
                for each in ASKED
                if each.scope not in {*ACCESS_TOKEN_RIGHTS, None}
                or each.operation_id == "hantera.requestEmailChange"
            ],
        ),
    ],
)
def test_no_scope_gives_a_kind_what_is_not_for_it(default, credential, operations):
    """TK-11: with every scope there is, and an operation that accepted the kind by mistake."""
    for operation_id in operations:
        decision = ask(default, operation_id, credential)
        assert not decision.allowed, operation_id
        assert decision.code in {"session_required", "credential_not_accepted"}
        assert decision.notices


@pytest.mark.parametrize("operation_id", PASSWORDS)
def test_a_password_kept_elsewhere_is_not_changed_here(default, operation_id):
    """AZ-08: the caller is told where it is; everything else they may."""
    elsewhere = ALICE._replace(provider="saml")
    decision = ask(default, operation_id, subject=elsewhere)
    assert decision == (
        False,
        "not_local_user",
        ("The password of this user is kept by another identity provider. Change it there.",),
    )
    assert ask(default, "scaikey.updateProfile", subject=elsewhere) == ALLOWED


@pytest.mark.parametrize(
    "described",
    [described for described in ASKED if described.scope],
    ids=lambda described: described.operation_id,
)
def test_a_permit_that_is_added_opens_nothing_without_the_scope(folder, described):
    """TK-10: however wide somebody writes it."""
    shutil.copytree(DEFAULT, folder, dirs_exist_ok=True)
    (folder / "wide.cedar").write_text(PERMIT)
    policies = read_policies(folder, DOCUMENT)
    rights = SESSION_RIGHTS - {described.scope}
    assert ask(policies, described.operation_id, rights=rights) == LACKING


def test_every_forbid_of_the_default_set_says_why():
    """AZ-08: each has a notice that is a sentence; and a code, but for the one of the scope."""
    text = "".join(path.read_text() for path in sorted(DEFAULT.glob("*.cedar")))
    forbids = re.findall(r"((?:^@.*\n)+)forbid ", text, re.MULTILINE)
    assert len(forbids) == text.count("forbid (")
    for annotations in forbids:
        assert '@code("' in annotations or '@id("scope-of-the-operation")' in annotations
        assert re.search(r'^@notice\("[A-Z].*\."\)$', annotations, re.MULTILINE)


def test_the_freeze_of_the_readme_freezes(folder):
    """AZ-08: as it stands there, beside the default set."""
    shutil.copytree(DEFAULT, folder, dirs_exist_ok=True)
    example = re.search(r"```cedar\n(.*?)```", (DEFAULT / "README.md").read_text(), re.DOTALL)
    (folder / "maintenance.cedar").write_text(example[1])
    policies = read_policies(folder, DOCUMENT)
    notice = "Passwords cannot be changed during the maintenance of 5 April."
    for operation_id in PASSWORDS:
        assert ask(policies, operation_id) == (False, None, (notice,))
    assert ask(policies, "scaikey.getProfile") == ALLOWED


def test_the_readme_names_no_code_that_there_is_not():
    """AZ-08: what a forbid without a @code is refused with is a code of the service."""
    text = (DEFAULT / "README.md").read_text()
    assert re.findall(r"the code is\s`(\w+)`", text) == ["policy_denied"]
    assert "policy_denied" in {each.code for each in Forbidden.__subclasses__()}


# The folder


def test_a_set_is_all_files_in_the_order_of_their_names(folder):
    """AZ-08: files of other names, and those that begin with a dot, are not policies."""
    (folder / "z.cedar").write_text(closing("Zed.").replace("closed", "z"))
    (folder / "a.cedar").write_text(closing("Eh.").replace("closed", "a"))
    for other in ("README.md", "b.cedar.bak", "b.CEDAR", ".b.cedar"):
        (folder / other).write_text("no policy")
    (folder / ".#a.cedar").symlink_to("somebody@example")
    policies = read_policies(folder, DOCUMENT)
    assert policies.ids == ("a", "p", "z")
    assert policies.decide(PROFILE).notices == ("Eh.", "Zed.")


def test_a_file_is_followed_to_where_it_is(folder, tmp_path):
    """AZ-03: a volume of Kubernetes is made of links."""
    (folder / "default.cedar").rename(tmp_path / "elsewhere")
    (folder / "default.cedar").symlink_to(tmp_path / "elsewhere")
    assert read_policies(folder, DOCUMENT).ids == ("p",)


def _is_not_there(folder):
    shutil.rmtree(folder)


def _is_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text(PERMIT)


def _is_empty(folder):
    (folder / "default.cedar").unlink()


def _has_a_folder(folder):
    (folder / "more.cedar").mkdir()


def _has_a_pipe(folder):
    os.mkfifo(folder / "more.cedar")


def _has_a_link_to_nothing(folder):
    (folder / "more.cedar").symlink_to("nothing")


def _has_latin_1(folder):
    (folder / "more.cedar").write_bytes(closing("Schließt.").encode("latin-1"))


def _has_an_invalid_policy(folder):
    (folder / "more.cedar").write_text("forbid")


BROKEN = [
    (_is_not_there, "policies: No such file or directory."),
    (_is_a_file, "policies: Not a directory."),
    (_is_empty, "policies has no *.cedar file."),
    (_has_a_folder, "more.cedar is not a file."),
    (_has_a_pipe, "more.cedar is not a file."),
    (_has_a_link_to_nothing, "more.cedar is not a file."),
    (_has_latin_1, "more.cedar is not in UTF-8."),
    (_has_an_invalid_policy, "more.cedar: policy 1: unexpected end of input."),
]


@pytest.mark.parametrize(("breaking", "problem"), BROKEN)
def test_a_folder_that_cannot_be_used_starts_nothing(folder, breaking, problem):
    """AZ-03: no file is passed over, since it may be the one that forbids."""
    breaking(folder)
    for read in (read_policies, PolicyStore):
        with pytest.raises(InvalidPolicies) as invalid:
            read(folder, DOCUMENT)
        assert len(invalid.value.problems) == 1
        assert invalid.value.problems[0].endswith(problem)


# Reloading


@pytest.mark.parametrize(("breaking", "problem"), BROKEN)
def test_the_last_good_set_stays_until_there_is_another(folder, store, caplog, breaking, problem):
    """AZ-03: what is wrong is logged once, and what is right again is taken."""
    good = shutil.copytree(folder, folder.with_name("good"))
    digest = store.digest
    breaking(folder)
    for _ in range(5):
        store.reload()
    assert (store.degraded, store.digest, store.decide(PROFILE)) == (True, digest, ALLOWED)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("oneself.runtime.policy_store", logging.ERROR)
    assert record.getMessage().endswith(problem)
    assert digest in record.getMessage()
    shutil.rmtree(folder) if folder.is_dir() else folder.unlink(missing_ok=True)
    good.rename(folder)
    assert not reloaded(store).degraded
    assert (store.digest, store.decide(PROFILE)) == (digest, ALLOWED)


def test_a_change_is_taken_at_the_second_look(folder, store, caplog):
    """AZ-03: and logged with its digest."""
    caplog.set_level(logging.INFO, "oneself.runtime.policy_store")
    before = store.digest
    (folder / "closed.cedar").write_text(closing("Closed."))
    store.reload()
    assert store.decide(PROFILE) == ALLOWED
    store.reload()
    assert store.decide(PROFILE) == (False, None, ("Closed.",))
    assert store.digest == read_policies(folder, DOCUMENT).digest != before
    assert [record.getMessage() for record in caplog.records] == [
        f"the policies are {store.digest} now"
    ]
    (folder / "closed.cedar").unlink()
    assert reloaded(store).decide(PROFILE) == ALLOWED


def test_an_editor_that_is_half_way_is_waited_for(folder, store, caplog):
    """AZ-03: what differs at each look is not taken, valid or not, and nothing is said of it."""
    for notice in ("One.", "Two.", '")', "Three."):
        (folder / "closed.cedar").write_text(closing(notice))
        store.reload()
        assert store.decide(PROFILE) == ALLOWED
    store.reload()
    assert store.decide(PROFILE).notices == ("Three.",)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_change_that_keeps_size_and_time_is_seen(folder, store):
    """AZ-03: the clock of a file system is coarse, and some tools set it back."""
    path = folder / "closed.cedar"
    path.write_text(closing("Aaa."))
    reloaded(store)
    before = path.stat()
    path.write_text(closing("Bbb."))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reloaded(store).decide(PROFILE).notices == ("Bbb.",)


def test_what_does_not_change_is_not_parsed_again(store, monkeypatch):
    """AZ-18: a look every two seconds costs the reading of some files, and keeps the decisions."""
    monkeypatch.setattr(
        "accounts.services.policies.Policies.parse", lambda *_: pytest.fail("parsed")
    )
    for _ in range(5):
        store.reload()
    assert store.decide(PROFILE) == ALLOWED


@pytest.fixture
def restless():
    """Threads take turns a hundred times as often as they do by default, at more places."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 100)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_no_thread_sees_a_mix_of_two_sets(folder):
    """AZ-17: 4 threads decide during 200 reloads; a set says one word in two files, or nothing."""
    paths = {"/api/v1/me": DOCUMENT["paths"]["/api/v1/me"]}
    store = PolicyStore(folder, {**DOCUMENT, "paths": paths})
    one, two = folder / "one.cedar", folder / "two.cedar"
    ending = threading.Event()

    def decide(number):
        seen = set()
        while not ending.is_set():
            for user in range(20):
                subject = ALICE._replace(user_id=f"usr_{number}_{user}")
                seen.add(store.decide(PROFILE._replace(subject=subject)))
        return seen

    with ThreadPoolExecutor(4) as threads:
        deciding = [threads.submit(decide, number) for number in range(4)]
        try:
            for turn in range(200):
                word = ("odd", "even")[turn % 2]
                one.write_text(closing(word).replace("closed", "one"))
                store.reload()
                two.write_text(closing(f"{word} too").replace("closed", "two"))
                assert reloaded(store).decide(PROFILE).notices == (word, f"{word} too")
        finally:
            ending.set()
    seen = set().union(*(each.result() for each in deciding))
    assert seen <= {
        ALLOWED,
        (False, None, ("odd", "odd too")),
        (False, None, ("even", "even too")),
    }
    assert len(seen) >= 2
