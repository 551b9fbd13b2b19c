"""The settings of a user."""

import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from accounts.errors import InvalidRequest
from accounts.flows.profile.settings import (
    change_settings,
    find_setting,
    find_settings,
    replace_setting,
    replace_settings,
)
from tests.support.deadlines import patient

# RFC 7396 appendix A: target, patch and result. Rows whose target or patch is no object are left
# out, since the document requires objects.
APPENDIX_A = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "outcome"), APPENDIX_A)
def test_patch_is_merged_as_in_rfc_7396(env, alice, target, patch, outcome):
    """All examples of its appendix A."""
    env.act(replace_settings, alice.user_id, target)
    assert env.act(change_settings, alice.user_id, patch) == outcome
    assert env.act(find_settings, alice.user_id) == outcome


def test_settings_are_empty_by_default(env, alice):
    """There is no row, and reading creates none."""
    assert env.act(find_settings, alice.user_id) == {}
    assert env.count("user_settings") == 0


def test_first_patch_needs_no_settings(env, alice):
    """It is merged into an empty object."""
    assert env.act(change_settings, alice.user_id, {"a": 1, "b": None}) == {"a": 1}


def test_replacing_keeps_nothing(env, alice):
    """A null is stored as null, where a patch would remove the name."""
    env.act(replace_settings, alice.user_id, {"a": 1, "b": 2})
    assert env.act(replace_settings, alice.user_id, {"b": None}) == {"b": None}
    assert env.act(find_settings, alice.user_id) == {"b": None}


def test_settings_are_per_user(env, alice, bob):
    """AZ-10: other users' settings are separate."""
    env.act(replace_settings, alice.user_id, {"a": 1})
    assert env.act(find_settings, bob.user_id) == {}


@pytest.mark.parametrize(
    "document",
    [
        {"€": "ß", "": {"": []}},
        {"__entity": {"type": "User", "id": "alice"}},
        {"deep": {"deep": {"deep": [[[{"deep": None}]]]}}},
        {"large": 2**63 - 1, "small": -(2**63), "half": 0.5},
        {"nul": "\x00", "line": "\u2028", "emoji": "👩‍🚀"},
    ],
)
def test_any_json_object_is_returned_unchanged(env, alice, document):
    """AZ-05: names and values belong to the applications."""
    env.act(replace_settings, alice.user_id, document)
    assert env.act(find_settings, alice.user_id) == document


@pytest.mark.parametrize("act", [replace_settings, change_settings])
@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (True, 1), (0, False), (1, 1.0), ([0], [False])],
    ids=["one-true", "true-one", "zero-false", "one-float", "listed"],
)
def test_value_equal_in_python_but_not_in_json_is_changed(env, alice, act, before, after):
    """DB-02: the response is what is stored; in JSON, 1 and true are two values."""
    env.act(replace_settings, alice.user_id, {"a": before})
    response = env.act(act, alice.user_id, {"a": after})
    assert orjson.dumps(response) == orjson.dumps({"a": after})
    assert orjson.dumps(env.act(find_settings, alice.user_id)) == orjson.dumps({"a": after})


def test_number_of_names_is_limited(env, alice):
    """The hundred-and-first is rejected, also in a patch, and nothing changes."""
    full = {f"name{number}": number for number in range(100)}
    env.act(replace_settings, alice.user_id, full)
    for act, argument in ((replace_settings, full | {"more": 1}), (change_settings, {"more": 1})):
        with pytest.raises(InvalidRequest) as caught:
            env.act(act, alice.user_id, argument)
        (violation,) = caught.value.violations
        assert violation.field == ()
        assert "100 names" in violation.rule
    assert env.act(find_settings, alice.user_id) == full
    env.act(change_settings, alice.user_id, {"name0": None, "more": 1})


def test_size_is_limited(make_env):
    """Counted in UTF-8 as stored, to the exact byte."""
    env = make_env(max_settings_bytes=20)
    alice = env.user("alice@example.com")
    env.act(replace_settings, alice.user_id, {"a": "ß" * 6})  # {"a":""} is 8 bytes
    for act, argument in ((replace_settings, {"a": "ß" * 6 + "s"}), (change_settings, {"b": 1})):
        with pytest.raises(InvalidRequest) as caught:
            env.act(act, alice.user_id, argument)
        assert "20 bytes" in caught.value.violations[0].rule
    assert env.act(find_settings, alice.user_id) == {"a": "ß" * 6}


def test_patch_does_not_change_earlier_results(env, alice):
    """The merge works on a deep copy."""
    env.act(replace_settings, alice.user_id, {"a": {"b": 1}})
    with env.database.transaction(writing=True) as session:
        before = find_settings(session, alice.user_id)
        change_settings(session, alice.user_id, {"a": {"b": 2}})
        assert before == {"a": {"b": 1}}


def test_patches_in_one_transaction_are_all_kept(env, alice):
    """The second patch is merged into the result of the first."""
    with env.database.transaction(writing=True) as session:
        change_settings(session, alice.user_id, {"a": 1})
        change_settings(session, alice.user_id, {"b": 2})
        assert find_settings(session, alice.user_id) == {"a": 1, "b": 2}
        change_settings(session, alice.user_id, {"c": 3})
        assert find_settings(session, alice.user_id) == {"a": 1, "b": 2, "c": 3}
    assert env.act(find_settings, alice.user_id) == {"a": 1, "b": 2, "c": 3}


def test_concurrent_patches_are_all_kept(env, alice):
    """DB-02: four threads set names at once, each in its own object."""
    threads, patches_each = 4, 25
    ready = threading.Barrier(threads)

    def patch(thread):
        ready.wait(patient(30))
        for number in range(patches_each):
            env.act(change_settings, alice.user_id, {f"object{thread}": {f"n{number}": number}})

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(patch, range(threads)))
    settings = env.act(find_settings, alice.user_id)
    assert [len(settings[f"object{thread}"]) for thread in range(threads)] == [
        patches_each
    ] * threads


def test_one_setting_is_replaced_and_the_others_stay(env, alice):
    """Clients C5: it is not merged, so that names can be removed."""
    env.act(replace_settings, alice.user_id, {"theme": "dark", "shortcuts": {"old": "o"}})
    env.act(replace_setting, alice.user_id, "shortcuts", {"new": "n"})
    assert env.act(find_settings, alice.user_id) == {"theme": "dark", "shortcuts": {"new": "n"}}
    assert env.act(find_setting, alice.user_id, "shortcuts") == {"new": "n"}


@pytest.mark.parametrize("stored", [{}, {"shortcuts": 5}, {"shortcuts": None}, {"shortcuts": []}])
def test_setting_that_is_no_object_is_empty(env, alice, stored):
    """Clients C5: another application may have set anything."""
    env.act(replace_settings, alice.user_id, stored)
    assert env.act(find_setting, alice.user_id, "shortcuts") == {}
