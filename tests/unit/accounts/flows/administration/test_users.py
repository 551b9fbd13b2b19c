"""Opening, disabling and finding users."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.errors import EmailTaken, InvalidRequest, InvalidToken, NotFound
from accounts.flows.administration.users import (
    change_roles,
    disable_user,
    enable_user,
    find_user,
    find_user_by_email,
    list_users,
    show_user,
)
from accounts.services.access_tokens import reveal_access_token
from accounts.services.principal import CredentialKind
from accounts.services.users import is_taken, open_user
from models import Tenant
from tests.support.deadlines import patient


@pytest.fixture
def tenant(env):
    return env.tenant()


def _open(env, tenant, email, **overrides):
    with env.database.transaction(writing=True) as session:
        return open_user(
            session,
            session.get_one(Tenant, tenant.id),
            **({"email": email, "display_name": "UserView", "record": None} | overrides),
        )


def _change_roles(env, email, **changes):
    with env.database.transaction(writing=True) as session:
        change_roles(session, find_user_by_email(session, email), **changes)
    return env.act(find_user_by_email, email).roles


def test_user_is_opened_with_an_access_token(env, tenant):
    """Every user always has exactly one."""
    user = _open(env, tenant, "carol@example.com")
    assert env.authenticate(
        CredentialKind.ACCESS_TOKEN, env.act(reveal_access_token, env.view(user.id))
    ).user == env.view(user.id)


def test_user_without_a_record_has_no_password(env, tenant):
    """The identity provider keeps it."""
    _open(env, tenant, "carol@example.com", provider="oidc")
    assert env.count("password_record") == 0


def test_unknown_provider_is_rejected_by_the_table(env, tenant):
    """DB-14: the provider decides about logins, so the column is constrained."""
    with pytest.raises(IntegrityError):
        _open(env, tenant, "carol@example.com", provider="ldap")


@pytest.mark.parametrize("email", ["carol@example.com", "CAROL@example.com", "carol@EXAMPLE.com"])
def test_address_is_unique_across_tenants(env, tenant, email):
    """UN-01: login needs no tenant, so an address is unique over all tenants."""
    _open(env, tenant, "Carol@Example.com")
    with pytest.raises(EmailTaken):
        _open(env, env.tenant("Other"), email)


def test_spellings_of_an_internationalised_domain_are_one_address(env, tenant):
    """UN-01, EM-21: the canonical form is made in Python, not by the database."""
    _open(env, tenant, "carol@bücher.example")
    for email in (
        "carol@xn--bcher-kva.example",
        "Carol@BÜCHER.example",
        "carol@bu\u0308cher.example",
    ):
        with pytest.raises(EmailTaken):
            _open(env, tenant, email)


def test_one_of_many_concurrent_openings_gets_the_address(env, tenant):
    """UN-01: other spellings do not win the race either."""
    spellings = ["carol@example.com", "Carol@example.com", "CAROL@example.com", "caroL@EXAMPLE.com"]
    ready = threading.Barrier(len(spellings))

    def race(email):
        ready.wait(patient(30))
        try:
            _open(env, tenant, email)
        except EmailTaken:
            return 0
        return 1

    with ThreadPoolExecutor(len(spellings)) as threads:
        assert sum(threads.map(race, spellings)) == 1
    assert env.count("user") == 1


def test_table_rejects_a_duplicate_address(env, tenant):
    """UN-01: the constraint holds even if an act misses it."""
    _open(env, tenant, "carol@example.com")
    _open(env, tenant, "dave@example.com")
    with pytest.raises(IntegrityError):
        env.execute("UPDATE \"user\" SET email_canonical = 'carol@example.com'")


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"email": "carol"}, "email"),
        ({"display_name": "Carol\n"}, "display_name"),
        ({"roles": ("Owner",)}, "roles"),
        ({"roles": ("member\n",)}, "roles"),
        ({"roles": ("x" * 41,)}, "roles"),
        ({"roles": tuple(f"role{number}" for number in range(21))}, "roles"),
    ],
)
def test_invalid_value_opens_no_user(env, tenant, overrides, field):
    """DB-04: the refusal names the field, and no row is left."""
    with pytest.raises(InvalidRequest) as caught:
        _open(env, tenant, **({"email": "carol@example.com"} | overrides))
    assert [violation.field for violation in caught.value.violations] == [(field,)]
    assert env.count("user") == env.count("access_token") == 0


def test_user_name_is_derived_from_the_address(env, tenant):
    """Characters that are not allowed in it are dropped."""
    for email, username in (
        ("Carol.Chen-1@example.com", "carol.chen-1"),
        ("o'neill@example.com", "oneill"),
        ("+@example.com", "user"),
        (f"{'long' * 16}@example.com", "long" * 10),
    ):
        assert _open(env, tenant, email).username == username


def test_taken_user_name_gets_digits(env, tenant):
    """Two users with one local part have two user names."""
    first = _open(env, tenant, "carol@example.com").username
    second = _open(env, tenant, "carol@example.org").username
    assert first == "carol"
    assert second[:5] == "carol"
    assert len(second) == 13
    assert second[5:].isdigit()


def test_user_name_is_never_an_address(env, tenant):
    """UN-02: a login name can never be the address of another user."""
    for email in ("carol@example.com", "a@example.com", "=@example.com"):
        assert "@" not in _open(env, tenant, email).username


def test_is_taken_can_exclude_a_user(env, tenant):
    """A user's own address does not count as taken."""
    user = _open(env, tenant, "carol@example.com")
    assert env.act(is_taken, "carol@example.com")
    assert not env.act(is_taken, "carol@example.com", by_other_than=user.id)
    assert env.act(is_taken, "carol@example.com", by_other_than="usr_000000000000")
    assert not env.act(is_taken, "dave@example.com")


def test_user_is_found_by_any_spelling_of_the_address(env, tenant):
    """Commands name users by their address."""
    user = _open(env, tenant, "carol@example.com")
    assert env.act(find_user_by_email, "CAROL@example.com").id == user.id


@pytest.mark.parametrize("email", ["dave@example.com", "no address", ""])
def test_unknown_address_is_not_found(env, email):
    """Neither is a malformed one."""
    with pytest.raises(NotFound):
        env.act(find_user_by_email, email)


def test_user_is_disabled_once(env, alice, clock):
    """SE-06: the time of the first call is kept, and the session is rejected."""
    for _ in range(2):
        with env.database.transaction(writing=True) as session:
            disable_user(session, find_user_by_email(session, alice.view.email))
        clock.move(days=1)
    disabled_at = env.act(find_user_by_email, alice.view.email).disabled_at
    assert (clock.now - disabled_at).days == 2
    with pytest.raises(InvalidToken):
        env.authenticate(CredentialKind.SESSION, alice.token)


def test_roles_are_added_and_removed(env, alice):
    """Adding a role twice, or removing one that is not held, changes nothing."""
    email = alice.view.email
    assert _change_roles(env, email, add=["owner", "member"]) == ["member", "owner"]
    assert _change_roles(env, email, add=["auditor"], remove=["owner", "nobody"]) == [
        "member",
        "auditor",
    ]
    assert env.authenticate(CredentialKind.SESSION, alice.token).user.roles == ["member", "auditor"]


def test_role_is_held_once(env, alice):
    """Repeated roles in one command are merged."""
    assert _change_roles(env, alice.view.email, add=["owner", "owner"]) == ["member", "owner"]


def test_invalid_role_changes_nothing(env, alice):
    """None of the named roles is added."""
    for add in (["owner", "No Role"], [f"role{number}" for number in range(20)]):
        with pytest.raises(InvalidRequest):
            _change_roles(env, alice.view.email, add=add)
    assert env.act(find_user_by_email, alice.view.email).roles == ["member"]


def test_user_is_found_by_id(env, alice):
    """Events and the list name users by their id."""
    assert env.act(find_user, alice.user_id).id == alice.user_id
    assert env.act(find_user, alice.view.email.upper()).id == alice.user_id
    for unknown in ("usr_000000000000", "usr_", "dave@example.com", ""):
        with pytest.raises(NotFound):
            env.act(find_user, unknown)


def test_enabled_user_has_the_same_credentials_again(env, alice):
    """Attack finding 10: a mistaken `disable` is undone, as an event, and once."""
    with env.database.transaction(writing=True) as session:
        disable_user(session, find_user(session, alice.user_id))
    for _ in range(2):
        with env.database.transaction(writing=True) as session:
            enable_user(session, find_user(session, alice.user_id))
    assert env.authenticate(CredentialKind.SESSION, alice.token).user == alice.view
    events = [row["details"] for row in env.rows("security_event") if row["kind"] == "authz_admin"]
    assert [json.loads(details) for details in events] == [{"act": "user_enabled"}]


def test_users_are_listed_newest_first(env, alice, bob, clock):
    """Attack finding 10: at most as many as asked for."""
    clock.move(minutes=1)
    carol = env.user("carol@example.com")
    listed = env.act(list_users, limit=10)
    assert listed[0].user_id == carol.user_id
    assert {user.user_id for user in listed} == {alice.user_id, bob.user_id, carol.user_id}
    assert [user.user_id for user in env.act(list_users, limit=1)] == [carol.user_id]


def test_users_are_searched_by_address_name_and_id(env, alice, bob):
    """A search is a plain text, in any case, and not a pattern."""

    def find(search):
        return [user.email for user in env.act(list_users, search=search, limit=10)]

    for search in ("ALICE@", "example.com", alice.user_id, alice.view.tenant_id, "alice"):
        assert find(search) == [alice.view.email], search
    assert sorted(find("a person")) == [alice.view.email, bob.view.email]
    for search in ("%", "_lice", "nobody", "\\"):
        assert find(search) == []


def test_user_is_found_by_the_owned_and_the_claimed_address(env, alice):
    """The owner tells the operator the one, and a person who is pestered the other."""
    env.execute(
        'UPDATE "user" SET claimed_email = ?, claimed_email_canonical = ? WHERE id = ?',
        "Thief@example.org",
        "thief@example.org",
        alice.user_id,
    )
    for address in ("alice@example.com", "thief@example.org"):
        [listed] = env.act(list_users, search=address, limit=10)
        assert (listed.user_id, listed.email) == (alice.user_id, "alice@example.com")
    details = env.act(lambda session: show_user(session, find_user(session, alice.user_id)))
    assert details.claimed_email == "Thief@example.org"


def test_user_is_shown_with_the_state_of_the_account(env, alice, clock):
    """Attack finding 10."""
    details = env.act(lambda session: show_user(session, find_user(session, alice.user_id)))
    assert details.record.email == alice.view.email
    assert (details.email_verified, details.claimed_email) == (False, None)
    assert (details.created_at, details.disabled_at) == (clock.now, None)
    assert details.live == {"session": 1, "apiKey": 0, "pat": 0}
