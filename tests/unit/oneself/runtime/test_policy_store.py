"""The policies of a deployment: the default set, the folder, and reloading."""

import copy
import errno
import json
import logging
import os
import re
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from accounts.crypto.keyring import Purpose
from accounts.errors import Forbidden
from accounts.services.credentials import ACCESS_TOKEN_RIGHTS, SESSION_RIGHTS
from accounts.services.policies.policy_set import (
    ANONYMOUS,
    Decision,
    InvalidPolicies,
    Policies,
    Question,
    Subject,
)
from oneself.document import load_document, operation_specs
from oneself.runtime.authentic_files import write_record
from oneself.runtime.kept_policies import KeptPolicies
from oneself.runtime.key_file import open_keyring
from oneself.runtime.policy_store import (
    PolicyStore,
    closed_acts,
    public_acts,
    read_policies,
    schema_of,
)
from oneself.settings import Settings

DEFAULT = Path(__file__).parents[4] / "policies"
DOCUMENT = load_document()
AUTHENTICATED = [spec for spec in operation_specs(DOCUMENT) if spec.accepted]
ALICE = Subject(
    "usr_alice",
    "tnt_1",
    "uuid-1",
    ("owner",),
    "local",
    is_platform_admin=False,
    email_verified=False,
)

PERMIT = '@id("p") permit (principal, action, resource);'
PROFILE = Question(
    ALICE, "scaikey.getProfile", "session", frozenset({"me/profile:read"}), "me/profile:read"
)
ALLOWED = Decision(allowed=True, code=None, notices=())
SCOPE_MISSING = Decision(
    allowed=False, code=None, notices=("The credential lacks the scope that this operation needs.",)
)


def decide(policies, operation_id, credential="session", *, rights=SESSION_RIGHTS, subject=ALICE):
    scope = next(spec.scope for spec in AUTHENTICATED if spec.operation_id == operation_id)
    return policies.decide(Question(subject, operation_id, credential, rights, scope))


def closing_policy(notice):
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


def reload_twice(store):
    """Scan the folder twice, after which a change is loaded."""
    store.reload()
    store.reload()
    return store


# The schema


def test_operations_are_actions_of_their_groups():
    """AZ-07: public acts are in one group, and in that of the scope of the same act."""
    actions = schema_of(DOCUMENT)[""]["actions"]
    groups = {
        name: [group["id"] for group in action["memberOf"]]
        for name, action in actions.items()
        if "appliesTo" in action
    }
    public = {
        "ipto.signUp": ["public"],
        "ipto.logIn": ["public"],
        "ipto.completeLogIn": ["public"],
        "ipto.restoreAccount": ["public", "me/profile:write"],
        "ipto.requestPasswordReset": ["public"],
        "ipto.resetPassword": ["public", "me/auth:write"],
        "scaikey.confirmEmailVerification": ["public", "me/profile:write"],
        "scaikey.releaseEmail": ["public", "me/profile:write"],
        "hantera.validateEmailChange": ["public", "me/profile:write"],
        "hantera.undoEmailChange": ["public", "me/profile:write"],
        "oauth.issueToken": ["public"],
    }
    authenticated = {spec.action: [spec.scope or "any"] for spec in AUTHENTICATED}
    # Of users, and showing or changing more than their scope says.
    authenticated["hyperclast.updateCurrentUser"] += ["me/token:read"]
    authenticated["hyperclast.updateSettings"] += ["me/profile:write"]
    assert groups == authenticated | public
    assert "ipto.changePassword" in groups


def test_policies_of_a_further_scope_apply_to_the_operation(tmp_path):
    """AZ-07, clients C5: a change that shows the token is no way around a policy about tokens."""
    action = 'Action::"me/token:read"'
    forbid = f'@id("a") @notice("No.") forbid (principal, action in {action}, resource);'
    policies = shutil.copytree(DEFAULT, tmp_path / "policies")
    (policies / "more.cedar").write_text(forbid)
    question = Question(
        ALICE, "hyperclast.updateCurrentUser", "session", SESSION_RIGHTS, "me/profile:write"
    )
    decision = read_policies(policies, DOCUMENT).decide(question)
    assert decision == Decision(allowed=False, code=None, notices=("No.",))


def test_policies_of_a_group_apply_to_new_operations(default):
    """AZ-07: with no other change than in the document."""
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
    ("spec", "kind"),
    [(spec, kind) for spec in AUTHENTICATED for kind in sorted(spec.accepted)],
    ids=lambda value: getattr(value, "operation_id", value),
)
def test_accepted_credentials_are_allowed_only_with_the_scope(default, spec, kind):
    """AZ-02: the document and the policies agree, for every operation and kind of credential."""
    scope = spec.scope
    rights = frozenset({scope} if scope else ())
    question = Question(ALICE, spec.action, kind, rights, scope)
    if (spec.operation_id, kind) == ("hantera.requestEmailChange", "jwt"):
        # A new address gives access to the password, by a reset.
        assert not default.decide(question).allowed
        question = question._replace(rights=rights | {"me/auth:write"})
    assert default.decide(question) == ALLOWED
    if scope:
        without_scope = question._replace(rights=SESSION_RIGHTS - {scope})
        assert default.decide(without_scope) == SCOPE_MISSING


@pytest.mark.parametrize("provider", ["local", "saml"])
def test_public_acts_are_allowed_by_default(default, provider):
    """AZ-07: to each user, except that a password kept elsewhere is not reset here."""
    subject = ALICE._replace(provider=provider, roles=(), email_verified=False)
    for action, policy in public_acts(DOCUMENT).items():
        for credential in policy.credentials:
            who = ANONYMOUS if credential == "none" else subject
            decision = default.decide(Question(who, action, credential, frozenset(), None))
            expected = "not_local_user" if (action, provider) == (RESET, "saml") else None
            assert (decision.allowed, decision.code) == (expected is None, expected), action


def test_default_set_decides_public_acts(default):
    """AZ-07: so a policy that is added to it decides all of them."""
    assert default.governs_public
    assert list(closed_acts(default, DOCUMENT)) == []


def test_copy_of_the_former_default_set_closes_no_public_act():
    """AZ-07: operators whose folder has a copy of it keep resets by mail after an upgrade."""
    texts = {path.name: path.read_text() for path in DEFAULT.glob("*.cedar")}
    former = {name: text.replace(', "mailed-secret"', "") for name, text in texts.items()}
    assert former != texts
    policies = Policies.parse(former, schema_of(DOCUMENT))
    assert not policies.governs_public
    assert list(closed_acts(policies, DOCUMENT)) == []
    freeze = '@id("f") forbid (principal, action in Action::"me/auth:write", resource);'
    frozen = Policies.parse(former | {"freeze.cedar": freeze}, schema_of(DOCUMENT))
    assert list(closed_acts(frozen, DOCUMENT)) == [RESET]


RESET = "ipto.resetPassword"
PASSWORDS = [spec.operation_id for spec in AUTHENTICATED if spec.scope == "me/auth:write"]
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
                spec.operation_id
                for spec in AUTHENTICATED
                if spec.scope not in {*ACCESS_TOKEN_RIGHTS, None}
                or spec.operation_id == "hantera.requestEmailChange"
            ],
        ),
    ],
)
def test_no_scope_opens_operations_closed_to_a_credential_kind(default, credential, operations):
    """TK-11: with every scope there is, for an operation that accepts the kind by mistake."""
    for operation_id in operations:
        decision = decide(default, operation_id, credential)
        assert not decision.allowed, operation_id
        assert decision.code in {"session_required", "credential_not_accepted"}
        assert decision.notices


@pytest.mark.parametrize("operation_id", PASSWORDS)
def test_password_of_another_identity_provider_is_not_changed_here(default, operation_id):
    """AZ-08: the notice says where it is kept; all other operations are allowed."""
    elsewhere = ALICE._replace(provider="saml")
    decision = decide(default, operation_id, subject=elsewhere)
    assert decision == (
        False,
        "not_local_user",
        ("The password of this user is kept by another identity provider. Change it there.",),
    )
    assert decide(default, "scaikey.updateProfile", subject=elsewhere) == ALLOWED


@pytest.mark.parametrize(
    "spec", [spec for spec in AUTHENTICATED if spec.scope], ids=lambda spec: spec.operation_id
)
def test_additional_permit_does_not_replace_the_scope(folder, spec):
    """TK-10: not even one that permits everything."""
    shutil.copytree(DEFAULT, folder, dirs_exist_ok=True)
    (folder / "wide.cedar").write_text(PERMIT)
    policies = read_policies(folder, DOCUMENT)
    rights = SESSION_RIGHTS - {spec.scope}
    kind = "session" if "session" in spec.accepted else min(spec.accepted)
    assert decide(policies, spec.operation_id, kind, rights=rights) == SCOPE_MISSING


def test_default_forbids_have_a_notice_and_a_code():
    """AZ-08: each notice is a sentence; only the forbid of the scope has no code."""
    text = "".join(path.read_text() for path in sorted(DEFAULT.glob("*.cedar")))
    forbids = re.findall(r"((?:^@.*\n)+)forbid ", text, re.MULTILINE)
    assert len(forbids) == text.count("forbid (")
    for annotations in forbids:
        assert '@code("' in annotations or '@id("scope-of-the-operation")' in annotations
        assert re.search(r'^@notice\("[A-Z].*\."\)$', annotations, re.MULTILINE)


def test_freeze_example_of_the_readme_works(folder):
    """AZ-08: beside the default set, as written there."""
    shutil.copytree(DEFAULT, folder, dirs_exist_ok=True)
    blocks = re.findall(r"```cedar\n(.*?)```", (DEFAULT / "README.md").read_text(), re.DOTALL)
    [example] = [block for block in blocks if "maintenance-freeze" in block]
    (folder / "maintenance.cedar").write_text(example)
    policies = read_policies(folder, DOCUMENT)
    notice = "Passwords cannot be changed during the maintenance of 5 April."
    for operation_id in PASSWORDS:
        assert decide(policies, operation_id) == (False, None, (notice,))
    assert list(closed_acts(policies, DOCUMENT)) == [RESET]
    assert decide(policies, "scaikey.getProfile") == ALLOWED


def test_default_code_in_the_readme_exists():
    """AZ-08: a forbid without a @code is refused with this one."""
    text = (DEFAULT / "README.md").read_text()
    assert re.findall(r"the code is\s`(\w+)`", text) == ["policy_denied"]
    assert "policy_denied" in {refusal.code for refusal in Forbidden.__subclasses__()}


# The folder


def test_policies_are_read_in_order_of_file_names(folder):
    """AZ-08: other files, and those that begin with a dot, are ignored."""
    (folder / "z.cedar").write_text(closing_policy("Zed.").replace("closed", "z"))
    (folder / "a.cedar").write_text(closing_policy("Eh.").replace("closed", "a"))
    for other in ("README.md", "b.cedar.bak", "b.CEDAR", ".b.cedar"):
        (folder / other).write_text("no policy")
    (folder / ".#a.cedar").symlink_to("somebody@example")
    policies = read_policies(folder, DOCUMENT)
    assert policies.ids == ("a", "p", "z")
    assert policies.decide(PROFILE).notices == ("Eh.", "Zed.")


def test_symbolic_links_to_policies_are_followed(folder, tmp_path):
    """AZ-03: Kubernetes mounts volumes as links."""
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
    (folder / "more.cedar").write_bytes(closing_policy("Schließt.").encode("latin-1"))


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
def test_unusable_folder_prevents_the_start(folder, breaking, problem):
    """AZ-03: no file is skipped, since it may be the one that forbids."""
    breaking(folder)
    for read in (read_policies, PolicyStore):
        with pytest.raises(InvalidPolicies) as invalid:
            read(folder, DOCUMENT)
        assert len(invalid.value.problems) == 1
        assert invalid.value.problems[0].endswith(problem)


# A start while the folder is invalid


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """The settings of a service that has a root secret."""
    monkeypatch.setenv("ONESELF_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ONESELF_SECRET_KEY", "x" * 43)
    return Settings()


@pytest.fixture
def open_store(folder, settings):
    """Opens the store as the next worker does."""

    def open_store():
        store = PolicyStore(folder, DOCUMENT, KeptPolicies(settings))
        store.keep()
        return store

    return open_store


@pytest.mark.parametrize(("breaking", "problem"), BROKEN)
def test_start_with_an_invalid_folder_uses_the_kept_set(
    folder, open_store, caplog, breaking, problem
):
    """AZ-03, reliability finding 18: a crashed worker comes back, and is degraded."""
    digest = open_store().digest
    breaking(folder)
    for _ in range(2):
        store = open_store()
        assert (store.degraded, store.digest, store.decide(PROFILE)) == (True, digest, ALLOWED)
    message = caplog.records[-1].getMessage()
    assert digest in message
    assert message.endswith(problem)
    assert reload_twice(store).degraded
    assert len(caplog.records) == 2


def test_kept_set_is_the_last_valid_one(folder, open_store):
    """AZ-03, reliability finding 18: also if it was loaded while the service ran."""
    store = open_store()
    (folder / "closed.cedar").write_text(closing_policy("Closed."))
    reload_twice(store)
    _has_an_invalid_policy(folder)
    restarted = open_store()
    assert restarted.decide(PROFILE).notices == ("Closed.",)
    (folder / "more.cedar").unlink()
    (folder / "closed.cedar").unlink()
    assert not reload_twice(restarted).degraded
    assert restarted.decide(PROFILE) == ALLOWED


def test_set_that_another_wrote_is_not_used(folder, open_store, settings):
    """AZ-03, reliability finding 18: it takes the root secret, as for all that is stored."""
    open_store()
    file = settings.data_dir / "policies.json"
    assert file.stat().st_mode & 0o777 == 0o600
    content = json.loads(file.read_text())
    content["record"]["default.cedar"] = PERMIT.replace('"p"', '"q"')
    _has_an_invalid_policy(folder)
    for text in (json.dumps(content), "", "[]", '{"record": {}, "digest": 1}'):
        file.write_text(text)
        with pytest.raises(InvalidPolicies, match=r"more\.cedar"):
            open_store()


def test_kept_set_of_an_earlier_version_is_not_used(folder, open_store, settings):
    """AZ-03: it names what the document no longer has; the folder is reported."""
    open_store()
    keys = open_keyring(settings, make=False)
    old = {"a.cedar": '@id("p") permit (principal, action == Action::"gone", resource);'}
    write_record(settings.data_dir / "policies.json", old, keys, Purpose.POLICIES)
    _has_an_invalid_policy(folder)
    with pytest.raises(InvalidPolicies, match=r"more\.cedar"):
        open_store()


def test_unchanged_set_is_not_written_again(open_store, settings):
    """AZ-03: workers start often."""
    open_store()
    before = (settings.data_dir / "policies.json").stat().st_ino
    open_store()
    assert (settings.data_dir / "policies.json").stat().st_ino == before


def test_set_that_cannot_be_kept_is_used(open_store, monkeypatch, caplog):
    """AZ-03: a full disk stops nothing, and is logged."""

    def fail(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("oneself.runtime.authentic_files.write", fail)
    assert open_store().decide(PROFILE) == ALLOWED
    assert "cannot be kept" in caplog.records[-1].getMessage()


# Reloading


@pytest.mark.parametrize(("breaking", "problem"), BROKEN)
def test_last_valid_set_stays_until_there_is_another(folder, store, caplog, breaking, problem):
    """AZ-03: the error is logged once, and a repaired set is loaded."""
    backup = shutil.copytree(folder, folder.with_name("good"))
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
    backup.rename(folder)
    assert not reload_twice(store).degraded
    assert (store.digest, store.decide(PROFILE)) == (digest, ALLOWED)


def test_change_is_loaded_at_the_second_scan(folder, store, caplog):
    """AZ-03: and logged with its digest."""
    caplog.set_level(logging.INFO, "oneself.runtime.policy_store")
    before = store.digest
    (folder / "closed.cedar").write_text(closing_policy("Closed."))
    store.reload()
    assert store.decide(PROFILE) == ALLOWED
    store.reload()
    assert store.decide(PROFILE) == (False, None, ("Closed.",))
    assert store.digest == read_policies(folder, DOCUMENT).digest != before
    assert [record.getMessage() for record in caplog.records] == [
        f"the policies are {store.digest} now"
    ]
    (folder / "closed.cedar").unlink()
    assert reload_twice(store).decide(PROFILE) == ALLOWED


def test_unstable_folder_is_not_loaded(folder, store, caplog):
    """AZ-03: a set that differs at each scan is neither loaded nor logged, valid or not."""
    for notice in ("One.", "Two.", '")', "Three."):
        (folder / "closed.cedar").write_text(closing_policy(notice))
        store.reload()
        assert store.decide(PROFILE) == ALLOWED
    store.reload()
    assert store.decide(PROFILE).notices == ("Three.",)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_change_with_the_same_size_and_time_is_detected(folder, store):
    """AZ-03: file system clocks are coarse, and some tools set the time."""
    path = folder / "closed.cedar"
    path.write_text(closing_policy("Aaa."))
    reload_twice(store)
    before = path.stat()
    path.write_text(closing_policy("Bbb."))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert reload_twice(store).decide(PROFILE).notices == ("Bbb.",)


def test_unchanged_folder_is_not_parsed_again(store, monkeypatch):
    """AZ-18: a scan every two seconds only reads some files, and keeps cached decisions."""
    monkeypatch.setattr(
        "accounts.services.policies.policy_set.Policies.parse", lambda *_: pytest.fail("parsed")
    )
    for _ in range(5):
        store.reload()
    assert store.decide(PROFILE) == ALLOWED


@pytest.fixture
def frequent_switches():
    """Switch threads a hundred times as often as by default."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 100)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_switches")
def test_no_thread_sees_a_mix_of_two_sets(folder):
    """AZ-17: 4 threads decide during 80 reloads; both files of a set have the same word."""
    paths = {"/api/v1/me": DOCUMENT["paths"]["/api/v1/me"]}
    store = PolicyStore(folder, {**DOCUMENT, "paths": paths})
    one, two = folder / "one.cedar", folder / "two.cedar"
    stopping = threading.Event()

    def decide(number):
        decisions = set()
        while not stopping.is_set():
            for user in range(20):
                subject = ALICE._replace(user_id=f"usr_{number}_{user}")
                decisions.add(store.decide(PROFILE._replace(subject=subject)))
        return decisions

    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(decide, number) for number in range(4)]
        try:
            for turn in range(80):
                word = ("odd", "even")[turn % 2]
                one.write_text(closing_policy(word).replace("closed", "one"))
                store.reload()
                two.write_text(closing_policy(f"{word} too").replace("closed", "two"))
                assert reload_twice(store).decide(PROFILE).notices == (word, f"{word} too")
        finally:
            stopping.set()
    decisions = set().union(*(future.result() for future in futures))
    assert decisions <= {
        ALLOWED,
        (False, None, ("odd", "odd too")),
        (False, None, ("even", "even too")),
    }
    assert len(decisions) >= 2
