"""Pairs of acts on one account at once, in every order of their steps, on both databases.

Whatever the order, the outcome is one that there could be if one had come after the other (DB-02).
On SQLite an act has the database to itself from its first step to its commit, but for the hash; on
PostgreSQL it stops before it writes as well.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from sqlmodel import col, select

from accounts.crypto.keyring import Keyring
from accounts.errors import (
    AccountError,
    EmailTaken,
    InvalidGrant,
    InvalidToken,
    LimitReached,
    SecretInvalid,
    SecretUsed,
    WrongPassword,
)
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.oauth.refresh_tokens import (
    begin_family,
    find_refresh_token,
    revoke_family,
    rotate_refresh_token,
)
from accounts.flows.password.password_change import change_password
from accounts.flows.profile.pictures import UPLOADED, remove_picture, upload_picture
from accounts.flows.profile.profile import change_profile
from accounts.flows.profile.settings import change_settings, find_settings, replace_settings
from accounts.flows.sign_in.sessions import list_sessions, log_in, open_session, revoke_session
from accounts.flows.tokens.api_keys import create_api_key, list_api_keys
from accounts.flows.tokens.personal_access_tokens import create_pat, list_pats
from accounts.limits import Limits, RateLimit
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import lock_account
from accounts.services.principal import CredentialKind, Presented
from accounts.services.user_views import find_user_view
from accounts.services.users import open_user
from handlers.errors import PreconditionFailed
from handlers.etags import require_match, tag_of
from models import Client, LoginSession, OneTimeSecret, RefreshToken, Tenant, User
from oneself.conformance.pictures import encoded, gradient
from oneself.database import Database
from tests.support.databases import Files
from tests.support.interleaving import Act, interleavings, meet, stops
from tests.support.journal import Outcome
from tests.support.postgresql import connected
from tests.unit.conftest import COST, Clock, Env

NEXT = ("Silent meadow 83 lantern", "Amber canyon 29 whistle")
SCOPE = "me/profile:read"
ENDLESS = RateLimit(10**6, 1)
RULES = Limits(
    password_cost=COST,
    max_pats=2,
    max_api_keys=2,
    max_sessions=2,
    account_and_source_budget=ENDLESS,
    account_budget=ENDLESS,
    source_budget=ENDLESS,
    mail_budget=ENDLESS,
)
PICTURE = encoded(gradient())


@dataclass(frozen=True)
class There:
    """A database on which acts can meet, and what tells whether one waits for the other."""

    env: Env
    is_waiting: Callable[[int], bool] | None
    numbers: "count[int]"
    counted: Outcome

    @property
    def steps(self) -> int:
        """How many steps an act has that does not hash."""
        return 2 if self.env.on_sqlite else 3

    def user(self, **more: Any) -> Any:
        """Somebody new."""
        return self.env.user(f"person{next(self.numbers)}@example.com", **more)


@dataclass(frozen=True)
class Meeting:
    """Two acts that meet, and what has to be true of it when both have ended."""

    acts: tuple[Act, Act]
    check: Callable[[list[Any], list[str]], None]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def there(request, tmp_path_factory, outcomes):
    """A database of each kind, whatever the other tests run on."""
    folder = tmp_path_factory.mktemp("races")
    on_sqlite = request.param == "sqlite"
    storage = Files(folder) if on_sqlite else request.getfixturevalue("servers")
    folder = folder / "there"
    folder.mkdir()
    location = storage.make(folder)
    clock, keys = Clock(), Keyring(b"x" * 32)
    database = Database(location, keys=keys, limits=RULES, clock=clock)
    env = Env(database, location, clock, keys, RULES)
    counted = outcomes[f"two at once, in one order of their steps, on {request.param}"]
    if on_sqlite:
        yield There(env, None, count(), counted)
    else:
        with connected(location) as connection:

            def is_waiting(pid):
                asked = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
                return connection.execute(asked, (pid,)).fetchone() == ("Lock",)

            yield There(env, is_waiting, count(), counted)
    database.close()
    storage.drop(location)


def _in_every_order(there, arrange, *, slow=(False, False)):
    """Let them meet anew in each order; gives how many orders there were."""
    first, second = (there.steps + hashes for hashes in slow)
    orders = list(interleavings(first, second))
    with stops(writing=not there.env.on_sqlite):
        for order in orders:
            meeting = arrange(there)
            outcomes, ended = meet(
                there.env.database, meeting.acts, order, there.is_waiting, slow=slow
            )
            there.counted.rounds += 1
            there.counted.books.acknowledged += _kinds(outcomes).count(None)
            try:
                meeting.check(outcomes, ended)
            except AssertionError as broken:
                broken.add_note(f"order {order}, outcomes {outcomes}, ended {ended}")
                raise
    return len(orders)


def _kinds(outcomes):
    """The classes of refusals, and None for what was done."""
    return [type(each) if isinstance(each, Exception) else None for each in outcomes]


def _one_of(outcomes, *refusals):
    """That one was done, and the other refused for one of these reasons."""
    done, refused = sorted(_kinds(outcomes), key=lambda kind: kind is not None)
    assert done is None
    assert refused in refusals


# Access tokens


def _regenerate_and_regenerate(there):
    view = there.user().view
    tokens = {}

    def regenerating(name):
        def act(session):
            lock_account(session, view.user_id)
            tokens[name] = regenerate_access_token(session, view)

        return act

    def check(outcomes, ended):
        assert _kinds(outcomes) == [None, None]
        earlier, later = (tokens[name] for name in ended)
        assert there.env.act(reveal_access_token, view) == later
        assert there.env.recognise(CredentialKind.ACCESS_TOKEN, later).user == view
        with pytest.raises(InvalidToken):
            there.env.recognise(CredentialKind.ACCESS_TOKEN, earlier)

    return Meeting((regenerating("a"), regenerating("b")), check)


def test_of_two_tokens_that_are_regenerated_at_once_one_lives(there):
    """DB-02: the one that was put there last, and no third."""
    assert _in_every_order(there, _regenerate_and_regenerate)


# Passwords


def _change_and_change(there):
    user = there.user()

    def changing(new):
        return lambda session: change_password(
            session, user.principal, current=user.password, new=new
        )

    def check(outcomes, _ended):
        _one_of(outcomes, WrongPassword)
        won = _kinds(outcomes).index(None)
        email = user.view.email
        for number, new in enumerate(NEXT):
            entered = {"email": email, "password": new, "user_agent": None}
            if number == won:
                there.env.act(log_in, **entered)
            else:
                with pytest.raises(AccountError):
                    there.env.act(log_in, **entered)

    return Meeting((changing(NEXT[0]), changing(NEXT[1])), check)


def test_of_two_changes_of_a_password_at_once_one_wins(there):
    """PW-15: the other is told that what it took for the password is not it."""
    assert _in_every_order(there, _change_and_change, slow=(True, True))


def _change_and_log_in(there):
    user = there.user()

    def change(session):
        change_password(session, user.principal, current=user.password, new=NEXT[0])

    def enter(session):
        return log_in(
            session,
            email=user.view.email,
            password=user.password,
            user_agent=None,
        )

    def check(outcomes, ended):
        changed, entered = _kinds(outcomes)
        assert changed is None
        # Whoever comes in with the old password came in before it was changed.
        assert (entered is None) <= (ended == ["b", "a"])

    return Meeting((change, enter), check)


def test_nobody_comes_in_by_a_password_that_was_changed(there):
    """LG-12: also whoever was inside the hash when it happened."""
    assert _in_every_order(there, _change_and_log_in, slow=(True, True))


# Addresses


def _pending(there, user, address):
    _, secret = there.env.act(request_email_change, user.view, address)
    return {"identity_id": user.view.identity_id, "secret": secret}


def _validating(secret):
    return lambda session: validate_email_change(session, **secret)


def _owners(there, address):
    return [row["id"] for row in there.env.rows("user") if row["email_canonical"] == address]


def _validate_and_validate(there):
    user = there.user()
    address = f"new{next(there.numbers)}@example.com"
    secret = _pending(there, user, address)

    def check(outcomes, _ended):
        _one_of(outcomes, SecretUsed)
        assert _owners(there, address) == [user.user_id]

    return Meeting((_validating(secret), _validating(secret)), check)


def test_a_secret_is_used_once(there):
    """EM-07: by one of two who have it."""
    assert _in_every_order(there, _validate_and_validate)


def _two_want_one_address(there):
    address = f"new{next(there.numbers)}@example.com"
    secrets = [_pending(there, there.user(), address) for _ in range(2)]

    def check(outcomes, _ended):
        _one_of(outcomes, SecretInvalid)
        assert len(_owners(there, address)) == 1

    return Meeting((_validating(secrets[0]), _validating(secrets[1])), check)


def test_an_address_that_two_have_asked_for_is_given_to_one(there):
    """UN-01: the other hears what everybody hears whose secret is not good."""
    assert _in_every_order(there, _two_want_one_address)


def _validate_and_open(there):
    address = f"new{next(there.numbers)}@example.com"
    secret = _pending(there, there.user(), address)
    tenant = there.env.tenant()

    def opening(session):
        return open_user(
            session,
            session.get_one(Tenant, tenant.id),
            email=address,
            display_name="Another",
            record=None,
            provider="oidc",
        )

    def check(outcomes, _ended):
        _one_of(outcomes, SecretInvalid, EmailTaken)
        assert len(_owners(there, address)) == 1

    return Meeting((_validating(secret), opening), check)


def test_an_address_that_is_taken_meanwhile_is_not_given_twice(there):
    """UN-01: whoever comes first has it, and the other one is refused."""
    assert _in_every_order(there, _validate_and_open)


def _request_and_request(there):
    user = there.user()

    def requesting(session):
        address = f"new{next(there.numbers)}@example.com"
        return request_email_change(session, user.view, address)[1]

    def check(outcomes, ended):
        assert _kinds(outcomes) == [None, None]
        with there.env.database.transaction(writing=False) as session:
            pending = session.exec(
                select(OneTimeSecret).where(
                    col(OneTimeSecret.user_id) == user.user_id,
                    col(OneTimeSecret.purpose) == "email_change",
                    col(OneTimeSecret.superseded_at).is_(None),
                )
            ).all()
        assert len(pending) == 1
        later = outcomes["ab".index(ended[-1])]
        identity_id = user.view.identity_id
        there.env.act(validate_email_change, identity_id=identity_id, secret=later)

    return Meeting((requesting, requesting), check)


def test_of_two_requests_at_once_one_is_pending(there):
    """EM-09: the one that was made last."""
    assert _in_every_order(there, _request_and_request)


# Revoking


def _revoke_and_use(there):
    user = there.user()

    def revoking(session):
        lock_account(session, user.user_id)
        revoke_session(session, user.view, user.principal.credential.id)

    def using(session):
        # As an operation that writes does, after it has found out whose the credential is.
        lock_account(session, user.user_id)
        principal = authenticate(session, Presented(CredentialKind.SESSION, user.token))
        change_profile(session, principal.user, {"first_name": "Mallory"})

    def check(outcomes, ended):
        revoked, used = _kinds(outcomes)
        assert revoked is None
        assert used is (None if ended == ["b", "a"] else InvalidToken)
        [row] = [row for row in there.env.rows("user") if row["id"] == user.user_id]
        assert (row["first_name"] == "Mallory") is (used is None)

    return Meeting((revoking, using), check)


def test_nothing_is_written_by_what_was_revoked(there):
    """SE-06: from the moment on in which somebody was told that it is."""
    assert _in_every_order(there, _revoke_and_use)


# Limits


def _making_pats(there):
    user = there.user()
    view = user.view
    client, secret = there.env.client(view.tenant_id)

    def making(session):
        # Anew in each session: the client's row must be this transaction's own.
        assert session.get_one(Client, client.id)
        return create_pat(
            session,
            user.principal,
            name="A token",
            scopes=[SCOPE],
            expires_at=session.now.replace(year=session.now.year + 1),
            client_id=client.id,
            client_secret=secret,
        )

    there.env.act(making)
    return user, making


def _pat_and_pat(there):
    user, making = _making_pats(there)

    def check(outcomes, _ended):
        _one_of(outcomes, LimitReached)
        assert len(there.env.act(list_pats, user.user_id)) == RULES.max_pats

    return Meeting((making, making), check)


def test_the_limit_of_tokens_is_kept_by_two_at_once(there):
    """TK-15: the last place is one's."""
    assert _in_every_order(there, _pat_and_pat)


def _key_and_key(there):
    user = there.user()

    def making(session):
        return create_api_key(
            session,
            user.principal,
            name="A key",
            scopes=[SCOPE],
            dataset_access_mode="allow_list",
            expires_at=None,
        )

    there.env.act(making)

    def check(outcomes, _ended):
        _one_of(outcomes, LimitReached)
        assert len(there.env.act(list_api_keys, user.user_id)) == RULES.max_api_keys

    return Meeting((making, making), check)


def test_the_limit_of_keys_is_kept_by_two_at_once(there):
    """TK-15: the last place is one's."""
    assert _in_every_order(there, _key_and_key)


def _session_and_session(there):
    user = there.user()

    def opening(session):
        return open_session(session, user.user_id)

    there.env.act(opening)

    def check(outcomes, _ended):
        assert _kinds(outcomes) == [None, None]
        assert len(there.env.act(list_sessions, user.user_id)) == RULES.max_sessions

    return Meeting((opening, opening), check)


def test_the_limit_of_sessions_is_kept_by_two_at_once(there):
    """SE-10: for each that is opened the oldest ends."""
    assert _in_every_order(there, _session_and_session)


# Settings and pictures


@pytest.mark.parametrize("first", [True, False])
def test_of_two_patches_of_settings_at_once_none_is_lost(there, first):
    """DB-02: whether there were settings before or not."""

    def arrange(there):
        user_id = there.user().user_id
        if not first:
            there.env.act(change_settings, user_id, {"a": 0, "c": 0})

        def check(outcomes, _ended):
            assert _kinds(outcomes) == [None, None]
            expected = {"a": 1, "b": 2} if first else {"a": 1, "b": 2, "c": 0}
            assert there.env.act(find_settings, user_id) == expected

        return Meeting(
            (
                lambda session: change_settings(session, user_id, {"a": 1}),
                lambda session: change_settings(session, user_id, {"b": 2}),
            ),
            check,
        )

    assert _in_every_order(there, arrange)


def _replace_and_replace(there):
    """As an operation does: the account is held, and then looked at (oneself/http/execution.py)."""
    user_id = there.user().user_id
    tag = tag_of(there.env.act(find_settings, user_id))

    def replacing(document):
        def act(session):
            lock_account(session, user_id)
            require_match(tag, find_settings(session, user_id))
            return replace_settings(session, user_id, document)

        return act

    def check(outcomes, _ended):
        _one_of(outcomes, PreconditionFailed)
        [won] = [each for each in outcomes if not isinstance(each, Exception)]
        assert there.env.act(find_settings, user_id) == won

    return Meeting((replacing({"a": 1}), replacing({"b": 2})), check)


def test_of_two_who_replace_what_both_have_read_one_is_told(there):
    """HT-16, DB-02: the tag is compared in the transaction that writes."""
    assert _in_every_order(there, _replace_and_replace)


def _upload_and_remove(there):
    user_id = there.user().user_id
    there.env.act(upload_picture, there.env.view(user_id), PICTURE)

    def uploading(session):
        upload_picture(session, find_user_view(session, user_id), PICTURE)

    def removing(session):
        remove_picture(session, find_user_view(session, user_id))

    def check(outcomes, ended):
        assert _kinds(outcomes) == [None, None]
        said = there.env.view(user_id).picture == UPLOADED
        kept = user_id in {row["user_id"] for row in there.env.rows("picture")}
        assert said == kept == (ended[-1] == "a")

    return Meeting((uploading, removing), check)


def test_a_picture_is_there_and_said_to_be_or_neither(there):
    """IM-09: whichever of an upload and a removal came last."""
    assert _in_every_order(there, _upload_and_remove)


# Refresh tokens


def _family(there):
    user = there.user()
    client, _ = there.env.client(user.view.tenant_id)
    with there.env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, user.principal.credential.session_id)
        token = begin_family(session, login, client, scopes=SESSION_RIGHTS, audience="a")
    [row] = [row for row in there.env.rows("refresh_token") if row["user_id"] == user.user_id]

    def rotating(session):
        return rotate_refresh_token(session, session.get_one(Client, client.id), token)[1]

    return user, row["family_id"], rotating


def _live(there, user):
    with there.env.database.transaction(writing=False) as session:
        return session.exec(
            select(RefreshToken).where(
                col(RefreshToken.user_id) == user.user_id,
                col(RefreshToken.used_at).is_(None),
                col(RefreshToken.revoked_at).is_(None),
            )
        ).all()


def _rotate_and_rotate(there):
    user, _, rotating = _family(there)

    def check(outcomes, _ended):
        _one_of(outcomes, InvalidGrant)
        assert _live(there, user) == []

    return Meeting((rotating, rotating), check)


def test_a_refresh_token_that_two_use_ends_its_family(there):
    """JW-12: one of the two may be a thief, and nobody knows which."""
    assert _in_every_order(there, _rotate_and_rotate)


def _rotate_and_revoke(there):
    user, family_id, rotating = _family(there)

    def revoking(session):
        return revoke_family(session, family_id)

    def check(outcomes, ended):
        rotated, revoked = _kinds(outcomes)
        assert revoked is None
        assert rotated is (None if ended == ["a", "b"] else InvalidGrant)
        assert _live(there, user) == []
        if rotated is None:
            assert there.env.act(find_refresh_token, outcomes[0]) is None

    return Meeting((rotating, revoking), check)


def test_no_token_outlives_the_end_of_its_family(there):
    """JW-12: also one that was being made when it ended."""
    assert _in_every_order(there, _rotate_and_revoke)


# The tester itself


def _count_and_count(there):
    """As an act would be that forgets to hold what it reads."""
    user_id = there.user().user_id
    there.env.act(lambda session: _set_epoch(session, user_id, 0))

    def counting(session):
        found = session.exec(select(User.credential_epoch).where(col(User.id) == user_id)).one()
        _set_epoch(session, user_id, found + 1)

    def check(outcomes, _ended):
        assert _kinds(outcomes) == [None, None]
        [row] = [row for row in there.env.rows("user") if row["id"] == user_id]
        assert row["credential_epoch"] == 2

    return Meeting((counting, counting), check)


def _set_epoch(session, user_id, epoch):
    user = session.get_one(User, user_id, populate_existing=True)
    user.credential_epoch = epoch
    session.add(user)
    session.flush()


def test_what_is_read_and_not_held_is_lost_in_some_order(there):
    """DB-02: on PostgreSQL these tests would find it; on SQLite there is nothing to find."""
    if there.env.on_sqlite:
        assert _in_every_order(there, _count_and_count)
        return
    with pytest.raises(AssertionError):
        _in_every_order(there, _count_and_count)
    assert threading.active_count() < 10
