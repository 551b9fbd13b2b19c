"""Opening, disabling and finding users."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError

from accounts.errors import EmailTaken, InvalidRequest, InvalidToken, NotFound
from accounts.flows.administration.users import change_roles, disable_user, find_user_by_email
from accounts.services.access_tokens import reveal_access_token
from accounts.services.principal import CredentialKind
from accounts.services.users import is_taken, open_user
from models import Tenant


@pytest.fixture
def tenant(env):
    return env.tenant()


def _open(env, tenant, email, **changed):
    with env.database.transaction(writing=True) as session:
        return open_user(
            session,
            session.get_one(Tenant, tenant.id),
            **({"email": email, "display_name": "UserView", "record": None} | changed),
        )


def _change_roles(env, email, **changes):
    with env.database.transaction(writing=True) as session:
        change_roles(session, find_user_by_email(session, email), **changes)
    return env.act(find_user_by_email, email).roles


def test_a_user_is_opened_with_an_access_token(env, tenant):
    """Every user has exactly one, from the beginning."""
    user = _open(env, tenant, "carol@example.com")
    assert env.recognise(
        CredentialKind.ACCESS_TOKEN, env.act(reveal_access_token, env.view(user.id))
    ).user == env.view(user.id)


def test_a_user_without_a_record_has_no_password(env, tenant):
    """The identity provider keeps it."""
    _open(env, tenant, "carol@example.com", provider="oidc")
    assert env.count("password_record") == 0


def test_a_provider_that_there_is_not_is_refused_by_the_table(env, tenant):
    """Who keeps the password decides too much to be any text (DB-14)."""
    with pytest.raises(IntegrityError):
        _open(env, tenant, "carol@example.com", provider="ldap")


@pytest.mark.parametrize(
    "email",
    ["carol@example.com", "CAROL@example.com", "carol@EXAMPLE.com"],
)
def test_an_address_belongs_to_one_user_of_all_tenants(env, tenant, email):
    """Login needs no tenant, so an address is unique over all of them (UN-01)."""
    _open(env, tenant, "Carol@Example.com")
    with pytest.raises(EmailTaken):
        _open(env, env.tenant("Other"), email)


def test_an_internationalised_domain_is_one_in_both_spellings(env, tenant):
    """The canonical form is made in Python, not by the database (UN-01, EM-21)."""
    _open(env, tenant, "carol@bücher.example")
    for email in (
        "carol@xn--bcher-kva.example",
        "Carol@BÜCHER.example",
        "carol@bu\u0308cher.example",
    ):
        with pytest.raises(EmailTaken):
            _open(env, tenant, email)


def test_of_many_who_open_one_address_at_once_one_does(env, tenant):
    """No spelling slips past another in a race (UN-01)."""
    spellings = ["carol@example.com", "Carol@example.com", "CAROL@example.com", "caroL@EXAMPLE.com"]
    ready = threading.Barrier(len(spellings))

    def race(email):
        ready.wait(30)
        try:
            _open(env, tenant, email)
        except EmailTaken:
            return 0
        return 1

    with ThreadPoolExecutor(len(spellings)) as threads:
        assert sum(threads.map(race, spellings)) == 1
    assert env.count("user") == 1


def test_the_table_itself_takes_an_address_once(env, tenant):
    """Whatever an act overlooks, the constraint does not (UN-01)."""
    _open(env, tenant, "carol@example.com")
    _open(env, tenant, "dave@example.com")
    with pytest.raises(IntegrityError):
        env.execute("UPDATE \"user\" SET email_canonical = 'carol@example.com'")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "carol"}, "email"),
        ({"display_name": "Carol\n"}, "display_name"),
        ({"roles": ("Owner",)}, "roles"),
        ({"roles": ("member\n",)}, "roles"),
        ({"roles": ("x" * 41,)}, "roles"),
        ({"roles": tuple(f"role{number}" for number in range(21))}, "roles"),
    ],
)
def test_a_value_that_breaks_its_rule_opens_nobody(env, tenant, changed, field):
    """The field is named, and no row is left (DB-04)."""
    with pytest.raises(InvalidRequest) as refused:
        _open(env, tenant, **({"email": "carol@example.com"} | changed))
    assert [violation.field for violation in refused.value.violations] == [(field,)]
    assert env.count("user") == env.count("access_token") == 0


def test_the_user_name_is_made_from_the_address(env, tenant):
    """What cannot be in one is left out."""
    for email, username in (
        ("Carol.Chen-1@example.com", "carol.chen-1"),
        ("o'neill@example.com", "oneill"),
        ("+@example.com", "user"),
        (f"{'long' * 16}@example.com", "long" * 10),
    ):
        assert _open(env, tenant, email).username == username


def test_a_taken_user_name_gets_digits(env, tenant):
    """Two people with one local part have two user names."""
    first = _open(env, tenant, "carol@example.com").username
    second = _open(env, tenant, "carol@example.org").username
    assert first == "carol"
    assert second[:5] == "carol"
    assert len(second) == 13
    assert second[5:].isdigit()


def test_no_user_name_is_an_address(env, tenant):
    """A name to log in with can never be another user's address (UN-02)."""
    for email in ("carol@example.com", "a@example.com", "=@example.com"):
        assert "@" not in _open(env, tenant, email).username


def test_whether_an_address_is_taken_may_leave_one_out(env, tenant):
    """One's own address is not taken by somebody else."""
    user = _open(env, tenant, "carol@example.com")
    assert env.act(is_taken, "carol@example.com")
    assert not env.act(is_taken, "carol@example.com", by_other_than=user.id)
    assert env.act(is_taken, "carol@example.com", by_other_than="usr_000000000000")
    assert not env.act(is_taken, "dave@example.com")


def test_a_user_is_found_by_any_spelling_of_the_address(env, tenant):
    """Commands name users by their address."""
    user = _open(env, tenant, "carol@example.com")
    assert env.act(find_user_by_email, "CAROL@example.com").id == user.id


@pytest.mark.parametrize("email", ["dave@example.com", "no address", ""])
def test_an_unknown_address_is_not_found(env, email):
    """Neither is what is no address at all."""
    with pytest.raises(NotFound):
        env.act(find_user_by_email, email)


def test_a_user_is_disabled_once(env, alice, clock):
    """The first moment is kept, and their session is refused (SE-06)."""
    for _ in range(2):
        with env.database.transaction(writing=True) as session:
            disable_user(session, find_user_by_email(session, alice.view.email))
        clock.move(days=1)
    disabled_at = env.act(find_user_by_email, alice.view.email).disabled_at
    assert (clock.now - disabled_at).days == 2
    with pytest.raises(InvalidToken):
        env.recognise(CredentialKind.SESSION, alice.token)


def test_roles_are_given_and_taken(env, alice):
    """One that is held already, or is not held, makes no difference."""
    email = alice.view.email
    assert _change_roles(env, email, add=["owner", "member"]) == ["member", "owner"]
    assert _change_roles(env, email, add=["auditor"], remove=["owner", "nobody"]) == [
        "member",
        "auditor",
    ]
    assert env.recognise(CredentialKind.SESSION, alice.token).user.roles == [
        "member",
        "auditor",
    ]


def test_a_role_is_held_once(env, alice):
    """Naming it twice in one command is naming it."""
    assert _change_roles(env, alice.view.email, add=["owner", "owner"]) == ["member", "owner"]


def test_a_role_that_breaks_the_rule_changes_nothing(env, alice):
    """None of the roles that were named with it is given."""
    for add in (["owner", "No Role"], [f"role{number}" for number in range(20)]):
        with pytest.raises(InvalidRequest):
            _change_roles(env, alice.view.email, add=add)
    assert env.act(find_user_by_email, alice.view.email).roles == ["member"]
