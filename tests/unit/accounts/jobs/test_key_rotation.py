"""After a change of the root secret: storing anew what can be, counting and ending the rest."""

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import event

from accounts.crypto import password_hashing, tokens
from accounts.crypto.keyring import Keyring, Purpose
from accounts.errors import InvalidClient, InvalidCredentials, InvalidToken, SecretSuperseded
from accounts.flows.administration.clients import add_client
from accounts.flows.idempotency import Attempt, find_response, store_response
from accounts.flows.sign_in.sessions import log_in
from accounts.flows.tokens.api_keys import create_api_key
from accounts.flows.tokens.personal_access_tokens import create_pat
from accounts.jobs.key_rotation import START, count_links, count_live, rekey_batch, retire_root
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.clients import ClientCredentials, authenticate_client
from accounts.services.one_time_secrets import (
    SecretPurpose,
    issue_secret,
    read_secret,
    redeem_secret,
)
from accounts.services.outbox import MessageKind, open_parameters, post_message
from accounts.services.principal import CredentialKind
from accounts.services.root_keys import remember_root, unknown_roots
from accounts.values.email_address import parse_address
from models import (
    EventLink,
    PasswordResetRequest,
    RefreshToken,
    SigningKey,
    Tenant,
)
from oneself.database import Database

OLD, NEW, OTHER = b"x" * 32, b"n" * 32, b"o" * 32  # OLD is the root of the house
NEW_ID = Keyring(NEW).key_id
ADDRESS = parse_address("new@example.com")
ATTEMPT = Attempt("ipto.createApiKey", "0b7ad1a2", "{}")


@pytest.fixture
def rotated(env):
    """The same house after a rotation: what is new is stored under another root."""
    keys = Keyring(NEW, OLD)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    env.act(remember_root, env.keys.key_id)
    rotated = replace(env, database=database, keys=keys)
    rotated.act(remember_root, keys.key_id)
    yield rotated
    database.close()


@pytest.fixture
def only_new(env):
    """The house for whoever knows the new root only."""
    keys = Keyring(NEW)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    yield replace(env, database=database, keys=keys)
    database.close()


def _rekey(env, **options):
    """Rekey in batches, each its own transaction: how many rows each rewrote, and which none."""
    batches, after = [], START
    while after is not None:
        batches.append(env.act(rekey_batch, after, **options))
        after = batches[-1].after
    return [batch.rewritten for batch in batches], [
        row for batch in batches for row in batch.unreadable
    ]


@pytest.fixture
def sealed(env, alice):
    """One row in each table that has a sealed column, under the root of the house."""
    with env.database.transaction(writing=True) as session:
        post_message(session, MessageKind.EMAIL_CHANGE_NOTICE, alice.view, new_address="a@b.c")
        session.add(
            SigningKey(
                kid="kid",
                private_sealed=session.keys.seal(Purpose.SIGNING_KEY, "PEM", "kid"),
                key_id=session.keys.key_id,
                created_at=session.now,
                active_from=session.now,
            )
        )
        session.add(
            PasswordResetRequest(
                id="prr_1",
                address_sealed=session.keys.seal(Purpose.RESET_REQUEST, "a@b.c", "prr_1"),
                key_id=session.keys.key_id,
                created_at=session.now,
            )
        )
    return env.act(reveal_access_token, alice.view)


def test_what_is_sealed_is_sealed_under_the_present_root(env, rotated, only_new, alice, sealed):
    """TK-07: each row opens without the former root, and says so in its key id."""
    [message_id] = [row["id"] for row in env.rows("outbox_message")]
    assert _rekey(rotated) == ([1, 1, 1, 1], [])
    for table in ("access_token", "signing_key", "password_reset_request", "outbox_message"):
        assert {row["key_id"] for row in env.rows(table)} == {only_new.keys.key_id}
    assert only_new.act(reveal_access_token, alice.view) == sealed
    assert only_new.recognise(CredentialKind.ACCESS_TOKEN, sealed).user == alice.view
    with only_new.database.transaction(writing=False) as session:
        keys = session.keys
        assert keys.open(Purpose.SIGNING_KEY, env.rows("signing_key")[0]["private_sealed"], "kid")
        [request] = env.rows("password_reset_request")
        assert keys.open(Purpose.RESET_REQUEST, request["address_sealed"], "prr_1") == "a@b.c"
    [message] = only_new.messages()
    assert message.id == message_id
    with only_new.database.transaction(writing=False) as session:
        assert open_parameters(session, message) == {"new_address": "a@b.c"}


def test_a_second_run_changes_nothing(env, rotated, sealed):
    """TK-07: idempotent."""
    assert sealed
    _rekey(rotated)
    before = {table: env.rows(table) for table in ("access_token", "outbox_message")}
    assert _rekey(rotated) == ([0, 0, 0, 0], [])
    assert before == {table: env.rows(table) for table in before}


def test_batches_have_a_size_and_miss_nothing(env, rotated):
    """TK-07: also where the last one is full to the brim."""
    residents = [env.user(f"person{number}@example.com") for number in range(6)]
    revealed = [env.act(reveal_access_token, user.view) for user in residents]
    done, _ = _rekey(rotated, size=3)
    assert done == [3, 3, 0, 0, 0, 0]
    assert [rotated.act(reveal_access_token, each.view) for each in residents] == revealed


@pytest.mark.parametrize("ended", ["delivered_at", "gave_up_at"])
def test_mail_that_is_delivered_or_given_up_is_left_alone(env, rotated, alice, ended):
    """There is nothing in it any more."""
    env.act(post_message, MessageKind.EMAIL_CHANGE_NOTICE, alice.view, new_address="a@b.c")
    env.execute(f"UPDATE outbox_message SET {ended} = created_at, parameters_sealed = x''")  # noqa: S608 # from the list above
    assert "outbox_message" not in rotated.act(count_live)[env.keys.key_id]
    assert _rekey(rotated) == ([1, 0, 0, 0], [])


def test_a_row_that_does_not_open_is_named_and_left(env, rotated, alice, bob):
    """TK-05: two tokens that were swapped, and a row under a root that nobody knows."""
    carol = env.user("carol@example.com")
    tokens_before = {row["user_id"]: row for row in env.rows("access_token")}
    for one, other in ((alice, bob), (bob, alice)):
        env.execute(
            "UPDATE access_token SET token_sealed = ? WHERE user_id = ?",
            tokens_before[other.user_id]["token_sealed"],
            one.user_id,
        )
    env.act(post_message, MessageKind.EMAIL_CHANGE_NOTICE, alice.view, new_address="a@b.c")
    env.execute("UPDATE outbox_message SET parameters_sealed = x'01', key_id = '00000000'")
    done, unreadable = _rekey(rotated, size=1)
    assert sum(done) == 1
    [message] = env.rows("outbox_message")
    assert set(unreadable) == {
        ("access_token", alice.user_id),
        ("access_token", bob.user_id),
        ("outbox_message", message["id"]),
    }
    assert rotated.act(reveal_access_token, carol.view)
    left = {row["user_id"] for row in env.rows("access_token") if row["key_id"] != NEW_ID}
    assert left == {alice.user_id, bob.user_id}


def test_a_token_that_is_regenerated_meanwhile_stays_the_new_one(rotated, alice):
    """TK-07, TK-14: what was read is compared in the statement that writes."""
    regenerated = []

    with rotated.database.transaction(writing=True) as session:

        def regenerate(_connection, _cursor, statement, *_rest):
            # SQLite lets nobody in between; a database with finer locks does.
            if statement.startswith("UPDATE access_token") and not regenerated:
                regenerated.append("")
                regenerated[0] = regenerate_access_token(session, alice.view)

        event.listen(session.core, "before_cursor_execute", regenerate)
        try:
            assert rekey_batch(session).rewritten == 0
        finally:
            event.remove(session.core, "before_cursor_execute", regenerate)
    assert rotated.act(reveal_access_token, alice.view) == regenerated[0]
    assert rotated.recognise(CredentialKind.ACCESS_TOKEN, regenerated[0])


@pytest.fixture
def stored(env, alice):
    """One live row of each kind that is stored as a digest only, under the root of the house."""
    with env.database.transaction(writing=True) as session:
        client, client_secret = add_client(
            session,
            session.get_one(Tenant, alice.view.tenant_id),
            name="A program",
            scopes=["me/profile:read"],
        )
    with env.database.transaction(writing=True) as session:
        _, api_key = create_api_key(
            session,
            alice.principal,
            name="A key",
            scopes=["me/profile:read"],
            dataset_access_mode="all_available",
            expires_at=None,
        )
        _, pat = create_pat(
            session,
            alice.principal,
            name="A token",
            scopes=["me/profile:read"],
            expires_at=session.now + timedelta(days=300),
            client_id=client.id,
            client_secret=client_secret,
        )
        session.add(
            RefreshToken(
                id="ref_1",
                family_id="fam_1",
                session_id=alice.principal.credential.id,
                user_id=alice.user_id,
                client_id=client.id,
                scopes=[],
                audience="a",
                token_digest=session.keys.digest(Purpose.REFRESH_TOKEN, "token"),
                key_id=session.keys.key_id,
                created_at=session.now,
                expires_at=session.now + timedelta(days=30),
            )
        )
        secret = issue_secret(session, SecretPurpose.EMAIL_CHANGE, alice.user_id, ADDRESS)
    return SimpleNamespace(
        client_id=client.id,
        client_secret=client_secret,
        api_key=api_key,
        pat=pat,
        secret=secret,
    )


ONE_OF_EACH = {
    "login_session": 1,
    "api_key": 1,
    "personal_access_token": 1,
    "refresh_token": 1,
    "one_time_secret": 1,
    "client": 1,
    "password_record": 1,
}


def test_live_rows_are_counted_for_each_root(env, rotated, stored, sealed):
    """TK-07: what a former root is still needed for."""
    assert stored
    assert sealed
    everything = ONE_OF_EACH | {
        "access_token": 1,
        "outbox_message": 3,
        "password_reset_request": 1,
        "signing_key": 1,
    }
    assert rotated.act(count_live) == {env.keys.key_id: everything}
    rotated.user("bob@example.org")
    assert rotated.act(count_live) == {
        env.keys.key_id: everything,
        NEW_ID: {"access_token": 1, "login_session": 1, "password_record": 1},
    }


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("login_session", "revoked_at = created_at"),
        ("api_key", "revoked_at = created_at"),
        ("personal_access_token", "revoked_at = created_at"),
        ("refresh_token", "revoked_at = created_at"),
        ("one_time_secret", "used_at = created_at"),
        ("one_time_secret", "superseded_at = created_at"),
        ("client", "is_public = true"),
        ("password_record", "record = '!'"),
    ],
)
def test_what_is_over_is_not_counted(env, rotated, stored, table, change):
    """TK-07: a dead row needs no root."""
    assert stored
    env.execute(f"UPDATE {table} SET {change}")  # noqa: S608 # from the list above
    counted = rotated.act(count_live)[env.keys.key_id]
    assert {name for name in ONE_OF_EACH if name not in counted} == {table}


def test_what_has_expired_is_not_counted(env, rotated, stored, clock):
    """TK-07: at the very moment; a used refresh token until then, since its reuse is noticed."""
    assert stored
    env.execute("UPDATE refresh_token SET used_at = created_at")
    assert "refresh_token" in rotated.act(count_live)[env.keys.key_id]
    clock.move(days=365)
    assert rotated.act(count_live) == {
        env.keys.key_id: {
            "access_token": 1,
            "client": 1,
            "outbox_message": 2,
            "password_record": 1,
        }
    }


def test_a_root_with_live_rows_is_not_retired(env, rotated, stored):
    """TK-07: nothing is ended by the way, and it says what is in the way."""
    outcome = rotated.act(retire_root, env.keys.key_id, revoke=False)
    assert outcome == (False, ONE_OF_EACH, 0)
    assert {row["key_id"] for row in env.rows("root_key")} == {env.keys.key_id, NEW_ID}
    assert rotated.recognise(CredentialKind.API_KEY, stored.api_key)
    assert rotated.recognise(CredentialKind.PAT, stored.pat)
    assert rotated.act(redeem_secret, SecretPurpose.EMAIL_CHANGE, stored.secret)


def test_revoking_ends_what_is_under_the_root(env, rotated, alice, stored):
    """TK-07: for whoever knows both roots still, before any restart."""
    outcome = rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert outcome == (True, ONE_OF_EACH, 0)
    assert rotated.act(count_live) == {
        NEW_ID: {"access_token": 1, "client": 1, "outbox_message": 2}
    }
    assert [row["key_id"] for row in env.rows("root_key")] == [NEW_ID]
    for kind, token in (
        (CredentialKind.SESSION, alice.token),
        (CredentialKind.API_KEY, stored.api_key),
        (CredentialKind.PAT, stored.pat),
    ):
        with pytest.raises(InvalidToken):
            rotated.recognise(kind, token)
    with pytest.raises(SecretSuperseded):
        rotated.act(redeem_secret, SecretPurpose.EMAIL_CHANGE, stored.secret)
    with pytest.raises(InvalidClient):
        rotated.act(authenticate_client, ClientCredentials(stored.client_id, stored.client_secret))
    assert env.rows("refresh_token")[0]["revoked_at"] is not None
    with pytest.raises(InvalidCredentials):
        rotated.act(log_in, email=alice.view.email, password=alice.password, user_agent=None)


def test_revoking_keeps_to_its_root(env, rotated, stored, clock):
    """TK-07: what is under the present one stays."""
    assert stored
    bob = rotated.user("bob@example.org")
    secret = rotated.act(issue_secret, SecretPurpose.EMAIL_CHANGE, bob.user_id, ADDRESS)
    before = rotated.act(count_live)[NEW_ID]
    clock.move(hours=1)
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert rotated.act(read_secret, SecretPurpose.EMAIL_CHANGE, secret)
    assert rotated.recognise(CredentialKind.SESSION, bob.token)
    assert rotated.act(log_in, email=bob.view.email, password=bob.password, user_agent=None)
    after = rotated.act(count_live)[NEW_ID]
    assert {name: after[name] for name in before} == before | {
        "login_session": 2,
        "access_token": 2,
    }


def test_a_password_that_nobody_has_is_none(env, rotated, alice):
    """PW-14: its row is there to be written over by a reset, and no password is right."""
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    [row] = env.rows("password_record")
    assert row["user_id"] == alice.user_id
    for password in ("", "!", alice.password):
        assert not password_hashing.verify(password, row["record"], rotated.keys, 4)


def test_a_root_without_live_rows_is_retired_with_what_it_sealed_stored_anew(
    env, rotated, only_new, alice
):
    """TK-07: without a word of revoking, and nothing that is over is touched."""
    token = env.act(reveal_access_token, alice.view)
    env.execute("UPDATE login_session SET revoked_at = created_at")
    env.execute("DELETE FROM password_record")
    before = env.rows("login_session")
    assert rotated.act(retire_root, env.keys.key_id, revoke=False) == (True, {}, 0)
    assert only_new.act(unknown_roots) == []
    assert only_new.act(reveal_access_token, alice.view) == token
    assert env.rows("login_session") == before


def test_what_does_not_open_keeps_a_root_until_it_is_ended(env, rotated, alice, sealed):
    """TK-05: an access token is made anew, since everybody has one; the rest is gone."""
    assert sealed
    env.execute("UPDATE login_session SET revoked_at = created_at")
    env.execute("DELETE FROM password_record")
    for table, column in (
        ("access_token", "token_sealed"),
        ("outbox_message", "parameters_sealed"),
        ("password_reset_request", "address_sealed"),
        ("signing_key", "private_sealed"),
    ):
        env.execute(f"UPDATE {table} SET {column} = x'01'")  # noqa: S608 # from the list above
    four = {"access_token", "outbox_message", "password_reset_request", "signing_key"}
    refused = rotated.act(retire_root, env.keys.key_id, revoke=False)
    assert (refused.done, set(refused.rows)) == (False, four)
    outcome = rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert (outcome.done, set(outcome.rows)) == (True, four)
    assert [env.count(table) for table in sorted(four)] == [1, 0, 0, 0]
    with pytest.raises(InvalidToken):
        rotated.recognise(CredentialKind.ACCESS_TOKEN, sealed)
    made = rotated.act(reveal_access_token, alice.view)
    assert tokens.well_formed(made, tokens.ACCESS_TOKEN)
    assert rotated.recognise(CredentialKind.ACCESS_TOKEN, made).user == alice.view


def test_a_root_with_links_is_remembered_when_it_is_retired(env, rotated):
    """TK-07, LO-04: links are never written anew, and can be verified under it only."""
    with env.database.transaction(writing=True) as session:
        session.add(
            EventLink(
                sequence=1,
                event_id="an event",
                chain_digest=session.keys.digest(Purpose.EVENT_CHAIN, "link"),
                key_id=session.keys.key_id,
                chained_at=session.now,
            )
        )
    assert rotated.act(count_live) == {}
    assert rotated.act(count_links) == {env.keys.key_id: 1}
    assert rotated.act(retire_root, env.keys.key_id, revoke=False) == (True, {}, 1)
    assert {row["key_id"] for row in env.rows("root_key")} == {env.keys.key_id, NEW_ID}
    assert env.count("event_link") == 1


def test_the_present_root_is_never_retired(env, rotated, stored):
    """TK-07: not even on request."""
    assert stored
    with pytest.raises(ValueError, match="present root"):
        rotated.act(retire_root, NEW_ID, revoke=True)
    assert {row["key_id"] for row in env.rows("root_key")} == {env.keys.key_id, NEW_ID}


def test_a_root_is_remembered_once(env):
    """PW-17: with a value that proves it, and the moment from which on it was used."""
    env.act(remember_root, env.keys.key_id)
    env.clock.move(days=1)
    env.act(remember_root, env.keys.key_id)
    [row] = env.rows("root_key")
    assert row["check_value"] == env.keys.check_value()
    assert row["created_at"].startswith("2026-04-05")


def test_roots_that_are_not_known_are_named(env, rotated, only_new):
    """TK-07: one that is missing, and one whose id is right and whose proof is not."""
    assert rotated.act(unknown_roots) == []
    assert only_new.act(unknown_roots) == [env.keys.key_id]
    assert env.act(unknown_roots) == [NEW_ID]
    env.execute("UPDATE root_key SET check_value = ?", Keyring(OTHER).check_value())
    assert rotated.act(unknown_roots) == [env.keys.key_id, NEW_ID]


def test_an_adopted_hash_is_under_its_root_like_any_record(env, rotated, alice):
    """TK-07: it is counted until a login renews it, and revoking leaves nothing of it."""
    adopted = password_hashing.adopt_hash(f"$2b$04${'a' * 21}u{'b' * 30}u", env.keys)
    assert adopted is not None
    env.execute("UPDATE password_record SET record = ?", adopted[0])
    assert rotated.act(count_live)[env.keys.key_id]["password_record"] == 1
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    [row] = env.rows("password_record")
    assert (row["user_id"], row["record"]) == (alice.user_id, "!")


def test_a_kept_answer_is_found_under_the_former_root_for_its_day(env, rotated):
    """HT-18, TK-07: who asks again after a rotation is answered as before it."""
    env.act(store_response, ATTEMPT, "made")
    assert rotated.act(find_response, ATTEMPT) == "made"
    refused = rotated.act(retire_root, env.keys.key_id, revoke=False)
    assert (refused.done, refused.rows) == (False, {"kept_answer": 1})
    rotated.clock.move(hours=24)
    assert rotated.act(retire_root, env.keys.key_id, revoke=False).done


def test_a_root_that_is_retired_at_once_takes_the_kept_answers_with_it(env, rotated):
    """TK-07, HT-19."""
    env.act(store_response, ATTEMPT, "made")
    rotated.act(store_response, ATTEMPT._replace(key="later"), "made later")
    assert rotated.act(retire_root, env.keys.key_id, revoke=True).done
    assert rotated.act(find_response, ATTEMPT) is None
    assert rotated.act(find_response, ATTEMPT._replace(key="later")) == "made later"
