"""Rotation of the root secret: resealing rows, counting live ones, retiring the old root."""

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
from accounts.services.mail.outbox import MessageKind, post_message, unseal_parameters
from accounts.services.one_time_secrets import (
    SecretPurpose,
    issue_secret,
    read_secret,
    redeem_secret,
)
from accounts.services.principal import CredentialKind
from accounts.services.root_keys import find_unknown_roots, remember_root
from accounts.values.email_address import parse_address
from models import EventLink, PasswordResetRequest, RefreshToken, SigningKey, Tenant
from oneself.database import Database

OLD, NEW, OTHER = b"x" * 32, b"n" * 32, b"o" * 32  # OLD is the root of `env`
NEW_ID = Keyring(NEW).key_id
ADDRESS = parse_address("new@example.com")
ATTEMPT = Attempt("ipto.createApiKey", "0b7ad1a2", "{}")


@pytest.fixture
def rotated(env):
    """The environment after a rotation, which stores new rows under another root."""
    keys = Keyring(NEW, OLD)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    env.act(remember_root, env.keys.key_id)
    rotated = replace(env, database=database, keys=keys)
    rotated.act(remember_root, keys.key_id)
    yield rotated
    database.close()


@pytest.fixture
def only_new(env):
    """The environment with the new root only."""
    keys = Keyring(NEW)
    database = Database(env.location, keys=keys, limits=env.limits, clock=env.clock)
    yield replace(env, database=database, keys=keys)
    database.close()


def _rekey(env, **options):
    """Rekey in batches, one transaction each; return their numbers of rows, and unreadable rows."""
    batches, after = [], START
    while after is not None:
        batches.append(env.act(rekey_batch, after, **options))
        after = batches[-1].after
    return [batch.rewritten for batch in batches], [
        row for batch in batches for row in batch.unreadable
    ]


@pytest.fixture
def sealed_token(env, alice):
    """A row in each table with a sealed column, under the old root."""
    with env.database.transaction(writing=True) as session:
        post_message(session, MessageKind.EMAIL_CHANGE_NOTICE, alice.view, secret="ots_1")
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


def test_sealed_rows_are_resealed_under_the_current_root(
    env, rotated, only_new, alice, sealed_token
):
    """TK-07: rows open without the old root, and have the new key id."""
    [message_id] = [row["id"] for row in env.rows("outbox_message")]
    assert _rekey(rotated) == ([1, 1, 0, 1, 1], [])
    for table in ("access_token", "signing_key", "password_reset_request", "outbox_message"):
        assert {row["key_id"] for row in env.rows(table)} == {only_new.keys.key_id}
    assert only_new.act(reveal_access_token, alice.view) == sealed_token
    assert only_new.authenticate(CredentialKind.ACCESS_TOKEN, sealed_token).user == alice.view
    with only_new.database.transaction(writing=False) as session:
        keys = session.keys
        assert keys.open(Purpose.SIGNING_KEY, env.rows("signing_key")[0]["private_sealed"], "kid")
        [request] = env.rows("password_reset_request")
        assert keys.open(Purpose.RESET_REQUEST, request["address_sealed"], "prr_1") == "a@b.c"
    [message] = only_new.messages()
    assert message.id == message_id
    with only_new.database.transaction(writing=False) as session:
        assert unseal_parameters(session, message) == {"secret": "ots_1"}


def test_second_run_changes_nothing(env, rotated, sealed_token):
    """TK-07: rekeying is idempotent."""
    assert sealed_token
    _rekey(rotated)
    rows_before = {table: env.rows(table) for table in ("access_token", "outbox_message")}
    assert _rekey(rotated) == ([0, 0, 0, 0, 0], [])
    assert rows_before == {table: env.rows(table) for table in rows_before}


def test_batches_are_bounded_and_complete(env, rotated):
    """TK-07: also if the last one is exactly full."""
    users = [env.user(f"person{number}@example.com") for number in range(6)]
    revealed = [env.act(reveal_access_token, user.view) for user in users]
    rewritten, _ = _rekey(rotated, size=3)
    assert rewritten == [3, 3, 0, 0, 0, 0, 0]
    assert [rotated.act(reveal_access_token, user.view) for user in users] == revealed


@pytest.mark.parametrize("column", ["delivered_at", "gave_up_at"])
def test_finished_mail_is_not_resealed(env, rotated, alice, column):
    """Its parameters are empty."""
    env.act(post_message, MessageKind.EMAIL_CHANGE_NOTICE, alice.view, secret="ots_1")
    env.execute(f"UPDATE outbox_message SET {column} = created_at, parameters_sealed = x''")  # noqa: S608 # from the list above
    assert "outbox_message" not in rotated.act(count_live)[env.keys.key_id]
    assert _rekey(rotated) == ([1, 0, 0, 0, 0], [])


def test_unreadable_row_is_reported_and_kept(env, rotated, alice, bob):
    """TK-05: two swapped tokens, and a row under an unknown root."""
    carol = env.user("carol@example.com")
    tokens_before = {row["user_id"]: row for row in env.rows("access_token")}
    for user, other_user in ((alice, bob), (bob, alice)):
        env.execute(
            "UPDATE access_token SET token_sealed = ? WHERE user_id = ?",
            tokens_before[other_user.user_id]["token_sealed"],
            user.user_id,
        )
    env.act(post_message, MessageKind.EMAIL_CHANGE_NOTICE, alice.view, secret="ots_1")
    env.execute("UPDATE outbox_message SET parameters_sealed = x'01', key_id = '00000000'")
    rewritten, unreadable = _rekey(rotated, size=1)
    assert sum(rewritten) == 1
    [message] = env.rows("outbox_message")
    assert set(unreadable) == {
        ("access_token", alice.user_id),
        ("access_token", bob.user_id),
        ("outbox_message", message["id"]),
    }
    assert rotated.act(reveal_access_token, carol.view)
    remaining = {row["user_id"] for row in env.rows("access_token") if row["key_id"] != NEW_ID}
    assert remaining == {alice.user_id, bob.user_id}


def test_token_regenerated_during_rekeying_is_kept(rotated, alice):
    """TK-07, TK-14: the update compares the value that was read."""
    regenerated = []

    with rotated.database.transaction(writing=True) as session:

        def regenerate(_connection, _cursor, statement, *_rest):
            # SQLite allows no other writer here; databases with row locks do.
            if statement.startswith("UPDATE access_token") and not regenerated:
                regenerated.append("")
                regenerated[0] = regenerate_access_token(session, alice.view)

        event.listen(session.core, "before_cursor_execute", regenerate)
        try:
            assert rekey_batch(session).rewritten == 0
        finally:
            event.remove(session.core, "before_cursor_execute", regenerate)
    assert rotated.act(reveal_access_token, alice.view) == regenerated[0]
    assert rotated.authenticate(CredentialKind.ACCESS_TOKEN, regenerated[0])


@pytest.fixture
def digest_rows(env, alice):
    """A live row of each kind that is stored as a digest only, under the old root."""
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
        client_id=client.id, client_secret=client_secret, api_key=api_key, pat=pat, secret=secret
    )


LIVE_ROWS = {
    "login_session": 1,
    "api_key": 1,
    "personal_access_token": 1,
    "refresh_token": 1,
    "one_time_secret": 1,
    "client": 1,
    "password_record": 1,
}


def test_live_rows_are_counted_by_root(env, rotated, digest_rows, sealed_token):
    """TK-07: these still need the old root."""
    assert digest_rows
    assert sealed_token
    everything = LIVE_ROWS | {
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
def test_ended_rows_are_not_counted(env, rotated, digest_rows, table, change):
    """TK-07: a dead row needs no root."""
    assert digest_rows
    env.execute(f"UPDATE {table} SET {change}")  # noqa: S608 # from the list above
    live_rows = rotated.act(count_live)[env.keys.key_id]
    assert {name for name in LIVE_ROWS if name not in live_rows} == {table}


def test_expired_rows_are_not_counted(env, rotated, digest_rows, clock):
    """TK-07: at the exact time; a used refresh token counts until then, to detect reuse."""
    assert digest_rows
    env.execute("UPDATE refresh_token SET used_at = created_at")
    assert "refresh_token" in rotated.act(count_live)[env.keys.key_id]
    clock.move(days=365)
    assert rotated.act(count_live) == {
        env.keys.key_id: {"access_token": 1, "client": 1, "outbox_message": 2, "password_record": 1}
    }


def test_root_with_live_rows_is_not_retired(env, rotated, digest_rows):
    """TK-07: nothing is revoked, and the result names the rows."""
    outcome = rotated.act(retire_root, env.keys.key_id, revoke=False)
    assert outcome == (False, LIVE_ROWS, 0)
    assert {row["key_id"] for row in env.rows("root_key")} == {env.keys.key_id, NEW_ID}
    assert rotated.authenticate(CredentialKind.API_KEY, digest_rows.api_key)
    assert rotated.authenticate(CredentialKind.PAT, digest_rows.pat)
    assert rotated.act(redeem_secret, SecretPurpose.EMAIL_CHANGE, digest_rows.secret)


def test_revoking_ends_all_rows_under_the_root(env, rotated, alice, digest_rows):
    """TK-07: while both roots are known, before any restart."""
    outcome = rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert outcome == (True, LIVE_ROWS, 0)
    assert rotated.act(count_live) == {
        NEW_ID: {"access_token": 1, "client": 1, "outbox_message": 2}
    }
    assert [row["key_id"] for row in env.rows("root_key")] == [NEW_ID]
    for kind, token in (
        (CredentialKind.SESSION, alice.token),
        (CredentialKind.API_KEY, digest_rows.api_key),
        (CredentialKind.PAT, digest_rows.pat),
    ):
        with pytest.raises(InvalidToken):
            rotated.authenticate(kind, token)
    with pytest.raises(SecretSuperseded):
        rotated.act(redeem_secret, SecretPurpose.EMAIL_CHANGE, digest_rows.secret)
    with pytest.raises(InvalidClient):
        rotated.act(
            authenticate_client, ClientCredentials(digest_rows.client_id, digest_rows.client_secret)
        )
    assert env.rows("refresh_token")[0]["revoked_at"] is not None
    with pytest.raises(InvalidCredentials):
        rotated.act(log_in, email=alice.view.email, password=alice.password, user_agent=None)


def test_revoking_spares_other_roots(env, rotated, digest_rows, clock):
    """TK-07: rows under the current root stay."""
    assert digest_rows
    bob = rotated.user("bob@example.org")
    secret = rotated.act(issue_secret, SecretPurpose.EMAIL_CHANGE, bob.user_id, ADDRESS)
    live_before = rotated.act(count_live)[NEW_ID]
    clock.move(hours=1)
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert rotated.act(read_secret, SecretPurpose.EMAIL_CHANGE, secret)
    assert rotated.authenticate(CredentialKind.SESSION, bob.token)
    assert rotated.act(log_in, email=bob.view.email, password=bob.password, user_agent=None)
    live_after = rotated.act(count_live)[NEW_ID]
    assert {name: live_after[name] for name in live_before} == live_before | {
        "login_session": 2,
        "access_token": 2,
    }


def test_revoked_password_matches_nothing(env, rotated, alice):
    """PW-14: its row stays for a reset to replace, and no password matches."""
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    [row] = env.rows("password_record")
    assert row["user_id"] == alice.user_id
    for password in ("", "!", alice.password):
        assert not password_hashing.verify(password, row["record"], rotated.keys, rotated.limits)


def test_root_without_live_rows_is_retired_and_sealed_rows_kept(env, rotated, only_new, alice):
    """TK-07: without revocation, and without changing dead rows."""
    token = env.act(reveal_access_token, alice.view)
    env.execute("UPDATE login_session SET revoked_at = created_at")
    env.execute("DELETE FROM password_record")
    rows_before = env.rows("login_session")
    assert rotated.act(retire_root, env.keys.key_id, revoke=False) == (True, {}, 0)
    assert only_new.act(find_unknown_roots) == []
    assert only_new.act(reveal_access_token, alice.view) == token
    assert env.rows("login_session") == rows_before


def test_unreadable_rows_keep_a_root_until_revoked(env, rotated, alice, sealed_token):
    """TK-05: access tokens are replaced, since every user has one; other rows are deleted."""
    assert sealed_token
    env.execute("UPDATE login_session SET revoked_at = created_at")
    env.execute("DELETE FROM password_record")
    for table, column in (
        ("access_token", "token_sealed"),
        ("outbox_message", "parameters_sealed"),
        ("password_reset_request", "address_sealed"),
        ("signing_key", "private_sealed"),
    ):
        env.execute(f"UPDATE {table} SET {column} = x'01'")  # noqa: S608 # from the list above
    tables = {"access_token", "outbox_message", "password_reset_request", "signing_key"}
    refusal = rotated.act(retire_root, env.keys.key_id, revoke=False)
    assert (refusal.done, set(refusal.rows)) == (False, tables)
    outcome = rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert (outcome.done, set(outcome.rows)) == (True, tables)
    assert [env.count(table) for table in sorted(tables)] == [1, 0, 0, 0]
    with pytest.raises(InvalidToken):
        rotated.authenticate(CredentialKind.ACCESS_TOKEN, sealed_token)
    new_token = rotated.act(reveal_access_token, alice.view)
    assert tokens.is_well_formed(new_token, tokens.ACCESS_TOKEN)
    assert rotated.authenticate(CredentialKind.ACCESS_TOKEN, new_token).user == alice.view


def test_retired_root_with_links_is_remembered(env, rotated):
    """TK-07, LO-04: links are never rewritten, and need the root for verification."""
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


def test_current_root_is_never_retired(env, rotated, digest_rows):
    """TK-07: not even on request."""
    assert digest_rows
    with pytest.raises(ValueError, match="present root"):
        rotated.act(retire_root, NEW_ID, revoke=True)
    assert {row["key_id"] for row in env.rows("root_key")} == {env.keys.key_id, NEW_ID}


def test_root_is_remembered_once(env):
    """PW-17: with its check value, and the time of its first use."""
    env.act(remember_root, env.keys.key_id)
    env.clock.move(days=1)
    env.act(remember_root, env.keys.key_id)
    [row] = env.rows("root_key")
    assert row["check_value"] == env.keys.check_value()
    assert row["created_at"].startswith("2026-04-05")


def test_unknown_roots_are_named(env, rotated, only_new):
    """TK-07: missing ones, and ones with a wrong check value."""
    assert rotated.act(find_unknown_roots) == []
    assert only_new.act(find_unknown_roots) == [env.keys.key_id]
    assert env.act(find_unknown_roots) == [NEW_ID]
    env.execute("UPDATE root_key SET check_value = ?", Keyring(OTHER).check_value())
    assert rotated.act(find_unknown_roots) == [env.keys.key_id, NEW_ID]


@pytest.mark.parametrize(
    "hashed", [f"$2b$04${'a' * 21}u{'b' * 30}u", f"{{SSHA}}{'a' * 40}"], ids=["bcrypt", "ssha"]
)
def test_imported_hash_belongs_to_its_root(env, rotated, alice, hashed):
    """TK-07: it is counted until a login rehashes it, and revoking deletes it."""
    imported = password_hashing.import_hash(hashed, env.keys)
    assert imported is not None
    env.execute("UPDATE password_record SET record = ?", imported[0])
    assert rotated.act(count_live)[env.keys.key_id]["password_record"] == 1
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    [row] = env.rows("password_record")
    assert (row["user_id"], row["record"]) == (alice.user_id, "!")


def test_argon2id_hash_belongs_to_its_root(env, rotated, alice):
    """TK-07, PW-14: it is counted until a login rehashes it, and revoking deletes it."""
    argon2id = replace(env.limits, password_scheme="argon2id")
    record = password_hashing.hash_password(alice.password, env.keys, argon2id)
    env.execute("UPDATE password_record SET record = ?", record)
    assert rotated.act(count_live)[env.keys.key_id]["password_record"] == 1
    rotated.act(log_in, email=alice.view.email, password=alice.password, user_agent=None)
    assert rotated.act(count_live)[NEW_ID]["password_record"] == 1
    env.execute("UPDATE password_record SET record = ?", record)
    rotated.act(retire_root, env.keys.key_id, revoke=True)
    assert env.rows("password_record")[0]["record"] == "!"


def test_idempotency_record_is_found_under_the_old_root(env, rotated):
    """HT-18, TK-07: retries after a rotation get the same response."""
    env.act(store_response, ATTEMPT, "made")
    assert rotated.act(find_response, ATTEMPT) == "made"
    refusal = rotated.act(retire_root, env.keys.key_id, revoke=False)
    assert (refusal.done, refusal.rows) == (False, {"kept_answer": 1})
    rotated.clock.move(hours=24)
    assert rotated.act(retire_root, env.keys.key_id, revoke=False).done


def test_revoking_a_root_deletes_its_idempotency_records(env, rotated):
    """TK-07, HT-19."""
    env.act(store_response, ATTEMPT, "made")
    rotated.act(store_response, ATTEMPT._replace(key="later"), "made later")
    assert rotated.act(retire_root, env.keys.key_id, revoke=True).done
    assert rotated.act(find_response, ATTEMPT) is None
    assert rotated.act(find_response, ATTEMPT._replace(key="later")) == "made later"
