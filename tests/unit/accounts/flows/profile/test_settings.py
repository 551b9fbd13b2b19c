"""The settings of a user."""

import threading
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from accounts.errors import InvalidRequest
from accounts.flows.profile.settings import change_settings, find_settings, replace_settings

# RFC 7396 appendix A: the target, the patch, and what comes of it. Left out are the rows whose
# target or patch is no object, since settings and patches are objects, as the document has it.
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
def test_a_patch_is_merged_as_rfc_7396_says(env, alice, target, patch, outcome):
    """Each example of its appendix A comes out as printed there."""
    env.act(replace_settings, alice.user_id, target)
    assert env.act(change_settings, alice.user_id, patch) == outcome
    assert env.act(find_settings, alice.user_id) == outcome


def test_settings_that_were_never_set_are_empty(env, alice):
    """There is no row, and to read one makes none."""
    assert env.act(find_settings, alice.user_id) == {}
    assert env.count("user_settings") == 0


def test_the_first_patch_needs_no_settings(env, alice):
    """It is merged into an empty object."""
    assert env.act(change_settings, alice.user_id, {"a": 1, "b": None}) == {"a": 1}


def test_replacing_leaves_nothing_of_what_was(env, alice):
    """A null stays a null, where a patch would have removed the name."""
    env.act(replace_settings, alice.user_id, {"a": 1, "b": 2})
    assert env.act(replace_settings, alice.user_id, {"b": None}) == {"b": None}
    assert env.act(find_settings, alice.user_id) == {"b": None}


def test_settings_are_those_of_one_user(env, alice, bob):
    """Nobody's settings show up at somebody else's (AZ-10)."""
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
def test_whatever_is_set_comes_back(env, alice, document):
    """Names and values are the applications' own (AZ-05)."""
    env.act(replace_settings, alice.user_id, document)
    assert env.act(find_settings, alice.user_id) == document


@pytest.mark.parametrize("act", [replace_settings, change_settings])
@pytest.mark.parametrize(
    ("before", "after"),
    [(1, True), (True, 1), (0, False), (1, 1.0), ([0], [False])],
    ids=["one-true", "true-one", "zero-false", "one-float", "listed"],
)
def test_a_value_that_python_takes_for_the_same_is_changed(env, alice, act, before, after):
    """What is answered is what is stored: in JSON, 1 and true are two values (DB-02)."""
    env.act(replace_settings, alice.user_id, {"a": before})
    answered = env.act(act, alice.user_id, {"a": after})
    assert orjson.dumps(answered) == orjson.dumps({"a": after})
    assert orjson.dumps(env.act(find_settings, alice.user_id)) == orjson.dumps({"a": after})


def test_settings_have_at_most_a_hundred_names(env, alice):
    """The hundred-and-first is refused, in a patch too, and changes nothing."""
    full = {f"name{number}": number for number in range(100)}
    env.act(replace_settings, alice.user_id, full)
    for act, given in ((replace_settings, full | {"more": 1}), (change_settings, {"more": 1})):
        with pytest.raises(InvalidRequest) as refused:
            env.act(act, alice.user_id, given)
        (violation,) = refused.value.violations
        assert (violation.place, violation.field) == ("body", ())
        assert "100 names" in violation.rule
    assert env.act(find_settings, alice.user_id) == full
    env.act(change_settings, alice.user_id, {"name0": None, "more": 1})


def test_settings_have_at_most_so_many_bytes(open_house):
    """Counted in UTF-8, as they are stored, and at the boundary exactly."""
    env = open_house(max_settings_bytes=20)
    alice = env.user("alice@example.com")
    env.act(replace_settings, alice.user_id, {"a": "ß" * 6})  # {"a":""} is 8 bytes
    for act, given in (
        (replace_settings, {"a": "ß" * 6 + "s"}),
        (change_settings, {"b": 1}),
    ):
        with pytest.raises(InvalidRequest) as refused:
            env.act(act, alice.user_id, given)
        assert "20 bytes" in refused.value.violations[0].rule
    assert env.act(find_settings, alice.user_id) == {"a": "ß" * 6}


def test_a_patch_does_not_change_what_was_read_before(env, alice):
    """The merge is made on a copy, at every depth."""
    env.act(replace_settings, alice.user_id, {"a": {"b": 1}})
    with env.database.transaction(writing=True) as session:
        before = find_settings(session, alice.user_id)
        change_settings(session, alice.user_id, {"a": {"b": 2}})
        assert before == {"a": {"b": 1}}


def test_of_patches_in_one_transaction_none_is_lost(env, alice):
    """The second is merged into what the first has made."""
    with env.database.transaction(writing=True) as session:
        change_settings(session, alice.user_id, {"a": 1})
        change_settings(session, alice.user_id, {"b": 2})
        assert find_settings(session, alice.user_id) == {"a": 1, "b": 2}
        change_settings(session, alice.user_id, {"c": 3})
        assert find_settings(session, alice.user_id) == {"a": 1, "b": 2, "c": 3}
    assert env.act(find_settings, alice.user_id) == {"a": 1, "b": 2, "c": 3}


def test_of_patches_at_once_none_is_lost(env, alice):
    """Four threads set names at once, each in an object of its own (DB-02)."""
    threads, each = 4, 25
    ready = threading.Barrier(threads)

    def patch(thread):
        ready.wait(30)
        for number in range(each):
            env.act(change_settings, alice.user_id, {f"object{thread}": {f"n{number}": number}})

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(patch, range(threads)))
    settings = env.act(find_settings, alice.user_id)
    assert [len(settings[f"object{thread}"]) for thread in range(threads)] == [each] * threads
