"""Export files of other systems, written from their documentation, and logins with their hashes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from accounts.flows.administration.user_imports import import_users, prepare_import
from accounts.flows.sign_in.sessions import log_in
from accounts.limits import Limits
from models import Tenant
from oneself.commands.administration.user_files import (
    Format,
    MalformedFile,
    guess_format,
    read_users,
)

EXPORTS = Path(__file__).parent / "exports"
PASSWORD = "Violet tangent 47 harbour"
FIREBASE_PASSWORD = "user1password"
FILES = {
    "keycloak.json": Format.KEYCLOAK,
    "auth0.ndjson": Format.AUTH0,
    "firebase.json": Format.FIREBASE,
    "django.json": Format.DJANGO,
    "supabase.sql": Format.SUPABASE,
    "people.ldif": Format.LDIF,
    "laravel.sql": Format.LARAVEL,
    "cognito.csv": Format.COGNITO,
    "oneself.ndjson": Format.NDJSON,
}


def read(name, format_=Format.AUTO):
    parameters = (EXPORTS / "firebase_parameters.txt").read_text()
    content = (EXPORTS / name).read_text(encoding="utf-8")
    return list(read_users(content, format_, hash_parameters=parameters))


def users(name):
    """Return the users of a file by the local parts of their addresses."""
    return {row.user.email.partition("@")[0]: row.user for row in read(name) if row.user}


@pytest.mark.parametrize(("name", "format_"), FILES.items())
def test_format_is_guessed(name, format_):
    assert guess_format((EXPORTS / name).read_text(encoding="utf-8")) is format_


def test_our_csv_is_the_default_format():
    assert guess_format("email,name,password_hash\n") is Format.CSV
    assert guess_format("") is Format.CSV


@pytest.mark.parametrize(
    ("name", "imported", "verified", "disabled"),
    [
        ("keycloak.json", "alice bob carol dave", "alice carol", "carol"),
        ("auth0.ndjson", "alice bob carol dave", "alice", "bob"),
        ("firebase.json", "alice bob", "alice bob", "bob"),
        ("django.json", "alice bob carol dave erin frank grace", "alice", "bob"),
        ("supabase.sql", "alice bob dave", "alice dave", "bob"),
        ("people.ldif", "alice bob carol dave", "", "bob"),
        ("laravel.sql", "alice bob", "alice", ""),
        ("cognito.csv", "alice bob", "alice", ""),
        ("oneself.ndjson", "alice bob", "alice", "bob"),
    ],
)
def test_users_are_verified_and_enabled_as_the_export_says(name, imported, verified, disabled):
    """Attack finding 16: no address counts as verified without a word of the other system."""
    read_ = users(name)
    assert list(read_) == imported.split()
    assert [each for each, user in read_.items() if user.is_verified] == verified.split()
    assert [each for each, user in read_.items() if not user.is_enabled] == disabled.split()


@pytest.mark.parametrize(
    ("name", "display_name", "created_at"),
    [
        ("keycloak.json", "Alice Chen", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("auth0.ndjson", "Alice Chen", datetime(2025, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)),
        ("firebase.json", "Alice Chen", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("django.json", "Alice Chen", datetime(2024, 5, 6, 7, 8, 9, 123000, tzinfo=UTC)),
        ("supabase.sql", "Alice Chen", datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)),
        ("people.ldif", "Alice Chén", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("laravel.sql", 'Alice O\'Chen, née "Doe"', datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
        ("cognito.csv", "Alice Chen", None),
        ("oneself.ndjson", "Alice Chen", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)),
    ],
)
def test_name_and_time_are_read(name, display_name, created_at):
    alice = users(name)["alice"]
    assert (alice.name, alice.created_at) == (display_name, created_at)


def test_values_of_dumps_are_unescaped():
    assert users("laravel.sql")["bob"].name == "Bob 'B' (; )"


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        (
            "keycloak.json",
            {
                "user 5": "it is the service account of a client",
                "user 6": "it has no email address",
            },
        ),
        ("auth0.ndjson", {"line 5": "it has no email address"}),
        ("firebase.json", {"user 3": "it has no email address"}),
        ("supabase.sql", {"line 14": "it is deleted"}),
        ("people.ldif", {"entry at line 43": "it has no email address"}),
    ],
)
def test_entries_that_will_not_come_have_a_reason(name, reasons):
    assert {row.place: row.reason for row in read(name) if row.user is None} == reasons


@pytest.mark.parametrize("name", FILES)
def test_imported_users_log_in_and_their_hashes_are_renewed(env, name):
    """PW-14, PW-15: every hash of an export that is accepted, by the password behind it."""
    tenant = env.tenant()
    hashed = []
    with env.database.transaction(writing=True) as session:
        batch = []
        for row in read(name):
            if row.user is None or (row.user.password_hash or "").startswith("md5$"):
                continue
            batch.append(prepare_import(row.user, keys=env.keys, limits=Limits()))
            if row.user.password_hash and row.user.is_enabled:
                hashed.append(row.user)
        import_users(session, session.get_one(Tenant, tenant.id), batch)
    for user in hashed:
        is_firebase = name == "firebase.json" or (user.password_hash or "").startswith("$fbscrypt")
        password = FIREBASE_PASSWORD if is_firebase else PASSWORD
        opened = env.act(log_in, email=user.email, password=password, user_agent=None)
        assert opened.user.email_verified is user.is_verified
        [record] = [
            row["record"]
            for row in env.rows("password_record")
            if row["user_id"] == opened.user.user_id
        ]
        assert record.startswith(f"1${env.keys.key_id}$")
    assert bool(hashed) is (name != "cognito.csv")


@pytest.mark.parametrize(
    ("format_", "content", "message"),
    [
        (Format.KEYCLOAK, "{}", "has no users"),
        (Format.KEYCLOAK, "{", "is not a JSON file"),
        (Format.FIREBASE, "[]", "has no users"),
        (Format.FIREBASE, '{"users": [{"passwordHash": "x", "salt": "x"}]}', "--hash-parameters"),
        (Format.AUTH0, "{}\nx", "line 2: it must be a JSON object"),
        (Format.AUTH0, "[1]", "user 1: it must be a JSON object"),
        (Format.COGNITO, "email\na@example.com\n", "no column cognito:username"),
        (Format.DJANGO, "{}", "is not an output of dumpdata"),
        (Format.SUPABASE, "COPY public.other (id) FROM stdin;\n1\n\\.\n", "no rows of a table"),
        (Format.SUPABASE, "COPY auth.users (id, email) FROM stdin;\n1\n", "line 2: the number"),
        (Format.LARAVEL, "INSERT INTO users (id, email) VALUES (1);", "line 1: the number"),
        (Format.LARAVEL, "INSERT INTO users (id) VALUES (now());", "line 1: a value cannot"),
        (Format.LDIF, "dn: x\nmail\n", "line 2: it is no attribute"),
        (Format.NDJSON, '{"email": "a@example.com", "password": "x"}', "unknown names: password"),
        (Format.NDJSON, '{"email": "a@example.com", "enabled": "maybe"}', "enabled must be"),
        (Format.NDJSON, '{"email": "a@example.com", "created_at": "x"}', "created_at must be"),
    ],
)
def test_malformed_file_is_rejected(format_, content, message):
    with pytest.raises(MalformedFile) as caught:
        list(read_users(content, format_))
    assert message in str(caught.value)


def test_value_of_another_type_is_no_user():
    [row] = read_users('{"email": 1, "user_id": "x"}', Format.AUTH0)
    assert (row.user, row.reason) == (None, "email must be a text")
