"""Pairs of concurrent acts on one account, in every order of their steps, on both databases.

In any order, the outcome is one that a serial execution could have had (DB-02). On SQLite an act
has the database to itself from its first step to its commit, except during a hash; on PostgreSQL it
also stops before it writes.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlmodel import col, select

from accounts.crypto.keyring import Keyring
from accounts.errors import (
    AccountError,
    AlreadyRotated,
    EmailTaken,
    InvalidCredentials,
    InvalidGrant,
    InvalidToken,
    LimitReached,
    NotFound,
    SecretInvalid,
    SecretUsed,
    WrongCode,
    WrongPassword,
)
from accounts.flows.deletion.account_deletion import delete_account
from accounts.flows.email.email_change import request_email_change, validate_email_change
from accounts.flows.factors.enrolment import confirm_totp, enrol_totp, remove_factor
from accounts.flows.factors.recovery_codes import regenerate_codes
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
from accounts.flows.tokens.personal_access_tokens import create_pat, list_pats, revoke_pat
from accounts.flows.tokens.rotation import rotate_own_pat, rotate_pat
from accounts.limits import Limits, RateLimit
from accounts.services.access_tokens import regenerate_access_token, reveal_access_token
from accounts.services.authentication import authenticate
from accounts.services.credentials import SESSION_RIGHTS
from accounts.services.database import lock_account
from accounts.services.factors.codes import reserve_code_attempt, use_code
from accounts.services.principal import Authentication, CredentialKind, Presented
from accounts.services.user_views import find_user_view
from accounts.services.users import open_user
from handlers.errors import PreconditionFailed
from handlers.etags import require_match, tag_of
from models import Client, LoginSession, OneTimeSecret, RefreshToken, Tenant, User
from oneself.database import Database
from tests.support.authenticator import code_at
from tests.support.databases import SqliteStorage
from tests.support.interleaving import Act, interleavings, run_interleaved, stop_points
from tests.support.journal import Outcome
from tests.support.pictures import encoded, gradient
from tests.support.postgresql import direct_connection
from tests.unit.conftest import COST, Clock, Env

NEXT = ("Silent meadow 83 lantern", "Amber canyon 29 whistle")
SCOPE = "me/profile:read"
ENDLESS = RateLimit(10**6, 1)
LIMITS = Limits(
    password_cost=COST,
    max_pats=2,
    max_api_keys=2,
    max_sessions=2,
    account_and_source_budget=ENDLESS,
    account_budget=ENDLESS,
    source_budget=ENDLESS,
    mail_budget=ENDLESS,
    second_factor_budget=ENDLESS,
)
PICTURE = encoded(gradient())


@dataclass(frozen=True)
class RaceContext:
    """A database for races, and a check of whether one act waits for the other."""

    env: Env
    is_waiting: Callable[[int], bool] | None
    numbers: "count[int]"
    outcome: Outcome

    @property
    def steps(self) -> int:
        """The number of steps of an act that does not hash."""
        return 2 if self.env.on_sqlite else 3

    def user(self, **options: Any) -> Any:
        """Create a new user."""
        return self.env.user(f"user{next(self.numbers)}@example.com", **options)


@dataclass(frozen=True)
class Race:
    """Two concurrent acts, and a check of their outcome."""

    acts: tuple[Act, Act]
    check: Callable[[list[Any], list[str]], None]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)]
)
def context(request, tmp_path_factory, outcomes):
    """A database of each kind, regardless of the one chosen for the other tests."""
    folder = tmp_path_factory.mktemp("races")
    on_sqlite = request.param == "sqlite"
    storage = SqliteStorage(folder) if on_sqlite else request.getfixturevalue("servers")
    folder = folder / "database"
    folder.mkdir()
    location = storage.make(folder)
    clock, keys = Clock(), Keyring(b"x" * 32)
    database = Database(location, keys=keys, limits=LIMITS, clock=clock)
    env = Env(database, location, clock, keys, LIMITS)
    outcome = outcomes[f"two concurrent acts in one order of their steps, on {request.param}"]
    if on_sqlite:
        yield RaceContext(env, None, count(), outcome)
    else:
        with direct_connection(location) as connection:

            def is_waiting(pid):
                query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
                return connection.execute(query, (pid,)).fetchone() == ("Lock",)

            yield RaceContext(env, is_waiting, count(), outcome)
    database.close()
    storage.drop(location)


def _in_every_order(context, arrange, *, slow=(False, False)):
    """Run a new race in each order of steps; return the number of orders."""
    first, second = (context.steps + hashes for hashes in slow)
    orders = list(interleavings(first, second))
    with stop_points(writing=not context.env.on_sqlite):
        for order in orders:
            race = arrange(context)
            outcomes, ended = run_interleaved(
                context.env.database, race.acts, order, context.is_waiting, slow=slow
            )
            context.outcome.rounds += 1
            context.outcome.journal.acknowledged += _refusals_of(outcomes).count(None)
            try:
                race.check(outcomes, ended)
            except AssertionError as error:
                error.add_note(f"order {order}, outcomes {outcomes}, ended {ended}")
                raise
    return len(orders)


def _refusals_of(outcomes):
    """Return the class of each refusal, and None for an act that succeeded."""
    return [type(outcome) if isinstance(outcome, Exception) else None for outcome in outcomes]


def _require_one_success(outcomes, *refusals):
    """Check that one act succeeded, and the other was refused for one of these reasons."""
    success, refusal = sorted(_refusals_of(outcomes), key=lambda kind: kind is not None)
    assert success is None
    assert refusal in refusals


# Access tokens


def _regenerate_and_regenerate(context):
    view = context.user().view
    tokens = {}

    def regenerate_as(name):
        def act(session):
            lock_account(session, view.user_id)
            tokens[name] = regenerate_access_token(session, view)

        return act

    def check(outcomes, ended):
        assert _refusals_of(outcomes) == [None, None]
        earlier, later = (tokens[name] for name in ended)
        assert context.env.act(reveal_access_token, view) == later
        assert context.env.authenticate(CredentialKind.ACCESS_TOKEN, later).user == view
        with pytest.raises(InvalidToken):
            context.env.authenticate(CredentialKind.ACCESS_TOKEN, earlier)

    return Race((regenerate_as("a"), regenerate_as("b")), check)


def test_concurrent_regenerations_leave_one_access_token(context):
    """DB-02: the last one."""
    assert _in_every_order(context, _regenerate_and_regenerate)


# Passwords


def _change_and_change(context):
    user = context.user()

    def change_to(new):
        return lambda session: change_password(
            session, user.principal, current=user.password, new=new
        )

    def check(outcomes, _ended):
        _require_one_success(outcomes, WrongPassword)
        winner = _refusals_of(outcomes).index(None)
        email = user.view.email
        for number, new in enumerate(NEXT):
            credentials = {"email": email, "password": new, "user_agent": None}
            if number == winner:
                context.env.act(log_in, **credentials)
            else:
                with pytest.raises(AccountError):
                    context.env.act(log_in, **credentials)

    return Race((change_to(NEXT[0]), change_to(NEXT[1])), check)


def test_one_of_two_concurrent_password_changes_wins(context):
    """PW-15: the other is refused for a wrong current password."""
    assert _in_every_order(context, _change_and_change, slow=(True, True))


def _change_and_log_in(context):
    user = context.user()

    def change(session):
        change_password(session, user.principal, current=user.password, new=NEXT[0])

    def log_in_with_old_password(session):
        return log_in(session, email=user.view.email, password=user.password, user_agent=None)

    def check(outcomes, ended):
        change_refusal, login_refusal = _refusals_of(outcomes)
        assert change_refusal is None
        # A login with the old password has ended before the change.
        assert (login_refusal is None) <= (ended == ["b", "a"])

    return Race((change, log_in_with_old_password), check)


def test_old_password_is_refused_after_a_concurrent_change(context):
    """LG-12: also if the login was hashing when the password was changed."""
    assert _in_every_order(context, _change_and_log_in, slow=(True, True))


# Addresses


def _pending(context, user, address):
    _, secret = context.env.act(request_email_change, user.view, address)
    # As if the service had mailed it: using it proves the address, and does not only claim it.
    context.env.execute("UPDATE one_time_secret SET is_mailed = true")
    return {"identity_id": user.view.identity_id, "secret": secret}


def _validate_with(secret):
    return lambda session: validate_email_change(session, **secret)


def _owners(context, address):
    return [row["id"] for row in context.env.rows("user") if row["email_canonical"] == address]


def _validate_and_validate(context):
    user = context.user()
    address = f"new{next(context.numbers)}@example.com"
    secret = _pending(context, user, address)

    def check(outcomes, _ended):
        _require_one_success(outcomes, SecretUsed)
        assert _owners(context, address) == [user.user_id]

    return Race((_validate_with(secret), _validate_with(secret)), check)


def test_concurrent_uses_of_a_secret_succeed_once(context):
    """EM-07."""
    assert _in_every_order(context, _validate_and_validate)


def _validate_one_address_twice(context):
    address = f"new{next(context.numbers)}@example.com"
    secrets = [_pending(context, context.user(), address) for _ in range(2)]

    def check(outcomes, _ended):
        _require_one_success(outcomes, SecretInvalid)
        assert len(_owners(context, address)) == 1

    return Race((_validate_with(secrets[0]), _validate_with(secrets[1])), check)


def test_address_requested_by_two_users_goes_to_one(context):
    """UN-01: the other is refused as with any invalid secret."""
    assert _in_every_order(context, _validate_one_address_twice)


def _validate_and_open(context):
    address = f"new{next(context.numbers)}@example.com"
    secret = _pending(context, context.user(), address)
    tenant = context.env.tenant()

    def create_user(session):
        return open_user(
            session,
            session.get_one(Tenant, tenant.id),
            email=address,
            display_name="Another",
            record=None,
            provider="oidc",
        )

    def check(outcomes, _ended):
        _require_one_success(outcomes, SecretInvalid, EmailTaken)
        assert len(_owners(context, address)) == 1

    return Race((_validate_with(secret), create_user), check)


def test_address_taken_by_a_new_user_is_not_assigned_twice(context):
    """UN-01: the first one gets it, and the other is refused."""
    assert _in_every_order(context, _validate_and_open)


def _request_and_request(context):
    user = context.user()

    def request_change(session):
        address = f"new{next(context.numbers)}@example.com"
        return request_email_change(session, user.view, address)[1]

    def check(outcomes, ended):
        assert _refusals_of(outcomes) == [None, None]
        with context.env.database.transaction(writing=False) as session:
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
        context.env.act(validate_email_change, identity_id=identity_id, secret=later)

    return Race((request_change, request_change), check)


def test_one_of_two_concurrent_email_change_requests_is_pending(context):
    """EM-09: the last one."""
    assert _in_every_order(context, _request_and_request)


# Revocation


def _revoke_and_use(context):
    user = context.user()

    def revoke(session):
        lock_account(session, user.user_id)
        revoke_session(session, user.view, user.principal.credential.id)

    def use(session):
        # As a writing operation does, once it knows the account.
        lock_account(session, user.user_id)
        principal = authenticate(session, Presented(CredentialKind.SESSION, user.token))
        change_profile(session, principal.user, {"first_name": "Mallory"})

    def check(outcomes, ended):
        revoke_refusal, use_refusal = _refusals_of(outcomes)
        assert revoke_refusal is None
        assert use_refusal is (None if ended == ["b", "a"] else InvalidToken)
        [row] = [row for row in context.env.rows("user") if row["id"] == user.user_id]
        assert (row["first_name"] == "Mallory") is (use_refusal is None)

    return Race((revoke, use), check)


def test_revoked_session_writes_nothing(context):
    """SE-06: from the moment at which the revocation was acknowledged."""
    assert _in_every_order(context, _revoke_and_use)


# Limits


def _pat_creation(context):
    user = context.user()
    view = user.view
    client, secret = context.env.client(view.tenant_id)

    def create(session):
        # Loaded in each session: the client's row must belong to this transaction.
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

    context.env.act(create)
    return user, create


def _rotating_pat(context):
    """Create a token, and the acts that rotate and use it as a request does."""
    user, create = _pat_creation(context)
    old, token = context.env.act(create)
    presented = Presented(CredentialKind.PAT, token)

    def rotate(session):
        lock_account(session, user.user_id)
        principal = authenticate(session, presented)
        return rotate_own_pat(session, principal, expires_at=None, grace=timedelta(0))

    def use(session):
        return authenticate(session, presented)

    return user, old, rotate, use


def _rotate_and_rotate(context):
    user, old, rotate, _ = _rotating_pat(context)

    def rotate_by_id(session):
        return rotate_pat(
            session, user.principal, old.id, expires_at=None, grace=timedelta(hours=1)
        )

    def check(outcomes, _ended):
        _require_one_success(outcomes, InvalidToken, AlreadyRotated, NotFound)
        [new] = [each for each in outcomes if not isinstance(each, Exception)]
        live = {pat.id for pat in context.env.act(list_pats, user.user_id)}
        assert new.pat.id in live
        assert len(live) == LIMITS.max_pats
        context.env.authenticate(CredentialKind.PAT, new.token)

    return Race((rotate, rotate_by_id), check)


def _rotate_and_revoke(context):
    user, old, rotate, _ = _rotating_pat(context)

    def revoke(session):
        revoke_pat(session, user.view, old.id)

    def check(outcomes, _ended):
        rotated, revoked = _refusals_of(outcomes)
        assert rotated in {None, InvalidToken}
        assert revoked is None
        # The other token of the user.
        assert len(context.env.act(list_pats, user.user_id)) == 1

    return Race((rotate, revoke), check)


def _rotate_and_use(context):
    _, _, rotate, use = _rotating_pat(context)

    def check(outcomes, ended):
        rotated, used = _refusals_of(outcomes)
        assert rotated is None
        assert used in {None, InvalidToken}
        assert used is None or ended == ["a", "b"]
        context.env.authenticate(CredentialKind.PAT, outcomes[0].token)

    return Race((rotate, use), check)


@pytest.mark.parametrize("arrange", [_rotate_and_rotate, _rotate_and_revoke, _rotate_and_use])
def test_concurrent_acts_leave_one_token_of_a_family(context, arrange):
    """DB-02: of two rotations one is made, and a revoked token leaves no successor."""
    assert _in_every_order(context, arrange)


def _pat_and_pat(context):
    user, create = _pat_creation(context)

    def check(outcomes, _ended):
        _require_one_success(outcomes, LimitReached)
        assert len(context.env.act(list_pats, user.user_id)) == LIMITS.max_pats

    return Race((create, create), check)


def test_token_limit_holds_for_concurrent_requests(context):
    """TK-15."""
    assert _in_every_order(context, _pat_and_pat)


def _key_and_key(context):
    user = context.user()

    def create(session):
        return create_api_key(
            session,
            user.principal,
            name="A key",
            scopes=[SCOPE],
            dataset_access_mode="allow_list",
            expires_at=None,
        )

    context.env.act(create)

    def check(outcomes, _ended):
        _require_one_success(outcomes, LimitReached)
        assert len(context.env.act(list_api_keys, user.user_id)) == LIMITS.max_api_keys

    return Race((create, create), check)


def test_api_key_limit_holds_for_concurrent_requests(context):
    """TK-15."""
    assert _in_every_order(context, _key_and_key)


def _session_and_session(context):
    user = context.user()

    def open_another(session):
        return open_session(session, user.user_id)

    context.env.act(open_another)

    def check(outcomes, _ended):
        assert _refusals_of(outcomes) == [None, None]
        assert len(context.env.act(list_sessions, user.user_id)) == LIMITS.max_sessions

    return Race((open_another, open_another), check)


def test_session_limit_holds_for_concurrent_logins(context):
    """SE-10: for each new session the oldest ends."""
    assert _in_every_order(context, _session_and_session)


# Settings and pictures


@pytest.mark.parametrize("is_first", [True, False])
def test_concurrent_patches_of_settings_are_both_kept(context, is_first):
    """DB-02: whether or not there were settings before."""

    def arrange(context):
        user_id = context.user().user_id
        if not is_first:
            context.env.act(change_settings, user_id, {"a": 0, "c": 0})

        def check(outcomes, _ended):
            assert _refusals_of(outcomes) == [None, None]
            expected = {"a": 1, "b": 2} if is_first else {"a": 1, "b": 2, "c": 0}
            assert context.env.act(find_settings, user_id) == expected

        return Race(
            (
                lambda session: change_settings(session, user_id, {"a": 1}),
                lambda session: change_settings(session, user_id, {"b": 2}),
            ),
            check,
        )

    assert _in_every_order(context, arrange)


def _replace_and_replace(context):
    """As an operation does: lock the account, then read (oneself/http/execution.py)."""
    user_id = context.user().user_id
    tag = tag_of(context.env.act(find_settings, user_id))

    def replace_with(document):
        def act(session):
            lock_account(session, user_id)
            require_match(tag, find_settings(session, user_id))
            return replace_settings(session, user_id, document)

        return act

    def check(outcomes, _ended):
        _require_one_success(outcomes, PreconditionFailed)
        [winner] = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
        assert context.env.act(find_settings, user_id) == winner

    return Race((replace_with({"a": 1}), replace_with({"b": 2})), check)


def test_one_of_two_replacements_with_the_same_tag_is_refused(context):
    """HT-16, DB-02: the tag is compared in the transaction that writes."""
    assert _in_every_order(context, _replace_and_replace)


def _upload_and_remove(context):
    user_id = context.user().user_id
    context.env.act(upload_picture, context.env.view(user_id), PICTURE)

    def upload(session):
        upload_picture(session, find_user_view(session, user_id), PICTURE)

    def remove(session):
        remove_picture(session, find_user_view(session, user_id))

    def check(outcomes, ended):
        assert _refusals_of(outcomes) == [None, None]
        in_profile = context.env.view(user_id).picture == UPLOADED
        stored = user_id in {row["user_id"] for row in context.env.rows("picture")}
        assert in_profile == stored == (ended[-1] == "a")

    return Race((upload, remove), check)


def test_profile_and_stored_picture_agree(context):
    """IM-09: after an upload and a removal in either order."""
    assert _in_every_order(context, _upload_and_remove)


# Refresh tokens


def _family(context):
    user = context.user()
    client, _ = context.env.client(user.view.tenant_id)
    with context.env.database.transaction(writing=True) as session:
        login = session.get_one(LoginSession, user.principal.credential.session_id)
        authentication = Authentication(login.created_at, ("pwd",))
        token = begin_family(
            session, login, client, authentication, scopes=SESSION_RIGHTS, audience="a"
        )
    [row] = [row for row in context.env.rows("refresh_token") if row["user_id"] == user.user_id]

    def rotate(session):
        return rotate_refresh_token(session, session.get_one(Client, client.id), token)[1]

    return user, row["family_id"], rotate


def _live(context, user):
    with context.env.database.transaction(writing=False) as session:
        return session.exec(
            select(RefreshToken).where(
                col(RefreshToken.user_id) == user.user_id,
                col(RefreshToken.used_at).is_(None),
                col(RefreshToken.revoked_at).is_(None),
            )
        ).all()


def _rotate_and_rotate(context):
    user, _, rotate = _family(context)

    def check(outcomes, _ended):
        _require_one_success(outcomes, InvalidGrant)
        assert _live(context, user) == []

    return Race((rotate, rotate), check)


def test_refresh_token_used_twice_ends_its_family(context):
    """JW-12: one of the two clients may be an attacker, and it is unknown which."""
    assert _in_every_order(context, _rotate_and_rotate)


def _rotate_and_revoke(context):
    user, family_id, rotate = _family(context)

    def revoke(session):
        return revoke_family(session, family_id)

    def check(outcomes, ended):
        rotate_refusal, revoke_refusal = _refusals_of(outcomes)
        assert revoke_refusal is None
        assert rotate_refusal is (None if ended == ["a", "b"] else InvalidGrant)
        assert _live(context, user) == []
        if rotate_refusal is None:
            assert context.env.act(find_refresh_token, outcomes[0]) is None

    return Race((rotate, revoke), check)


def test_no_refresh_token_outlives_its_revoked_family(context):
    """JW-12: also one that was being created at that moment."""
    assert _in_every_order(context, _rotate_and_revoke)


# Check of the tests themselves


def _count_and_count(context):
    """An act that does not lock what it reads."""
    user_id = context.user().user_id
    context.env.act(lambda session: _set_epoch(session, user_id, 0))

    def increment(session):
        epoch = session.exec(select(User.credential_epoch).where(col(User.id) == user_id)).one()
        _set_epoch(session, user_id, epoch + 1)

    def check(outcomes, _ended):
        assert _refusals_of(outcomes) == [None, None]
        [row] = [row for row in context.env.rows("user") if row["id"] == user_id]
        assert row["credential_epoch"] == 2

    return Race((increment, increment), check)


def _set_epoch(session, user_id, epoch):
    user = session.get_one(User, user_id, populate_existing=True)
    user.credential_epoch = epoch
    session.add(user)
    session.flush()


def test_unlocked_read_loses_an_update_in_some_order(context):
    """DB-02: found on PostgreSQL; on SQLite, writers are serial."""
    if context.env.on_sqlite:
        assert _in_every_order(context, _count_and_count)
        return
    with pytest.raises(AssertionError):
        _in_every_order(context, _count_and_count)
    assert threading.active_count() < 10


# Second factors, and the deletion of the account


def _with_app(context):
    """Return a user with an authenticator app in force, its id, and an unused code of it."""
    env, user = context.env, context.user()
    enrolled = env.act(enrol_totp, user.view)
    code = code_at(enrolled.secret, env.clock.now)
    env.act(confirm_totp, user.principal, code=code, password=user.password)
    env.clock.move(seconds=30)
    return user, enrolled.id, code_at(enrolled.secret, env.clock.now)


def _use_of(user, code):
    def use(session):
        lock_account(session, user.user_id)
        return use_code(session, reserve_code_attempt(session, user.view), code)

    return use


def _code_and_code(context):
    user, _, code = _with_app(context)

    def check(outcomes, _ended):
        _require_one_success(outcomes, WrongCode)

    return Race((_use_of(user, code), _use_of(user, code)), check)


def _recovery_code_and_recovery_code(context):
    user, _, _ = _with_app(context)
    [code, *_] = context.env.act(regenerate_codes, user.view).codes

    def check(outcomes, _ended):
        _require_one_success(outcomes, WrongCode)

    return Race((_use_of(user, code), _use_of(user, code)), check)


def _code_and_removal(context):
    user, factor_id, code = _with_app(context)

    def remove(session):
        remove_factor(session, user.view, factor_id)

    def check(outcomes, ended):
        used, removed = _refusals_of(outcomes)
        assert removed is None
        assert used == (None if ended == ["a", "b"] else WrongCode)
        assert not context.env.view(user.user_id).has_second_factor

    return Race((_use_of(user, code), remove), check)


def _enrolment_and_enrolment(context):
    user = context.user()
    secrets = {}

    def enrol_as(name):
        def enrol(session):
            secrets[name] = enrol_totp(session, user.view).secret

        return enrol

    def check(outcomes, ended):
        assert _refusals_of(outcomes) == [None, None]
        code = code_at(secrets[ended[-1]], context.env.clock.now)
        context.env.act(confirm_totp, user.principal, code=code, password=user.password)

    return Race((enrol_as("a"), enrol_as("b")), check)


@pytest.mark.parametrize(
    "arrange",
    [_code_and_code, _recovery_code_and_recovery_code, _code_and_removal, _enrolment_and_enrolment],
)
def test_concurrent_acts_use_a_second_factor_once(context, arrange):
    """MF-03, MF-04, DB-02: a code is used once, and the last enrolment is the one in force."""
    assert _in_every_order(context, arrange)


def _deletion_and_login(context):
    user = context.user()

    def delete(session):
        delete_account(session, user.view)

    def log_in_again(session):
        return log_in(session, email=user.view.email, password=user.password, user_agent=None)

    def check(outcomes, _ended):
        deleted, logged_in = _refusals_of(outcomes)
        assert deleted is None
        assert logged_in in {None, InvalidCredentials}
        assert context.env.act(list_sessions, user.user_id) == []

    return Race((delete, log_in_again), check)


def test_login_during_a_deletion_leaves_no_session(context):
    """AD-01, DB-02."""
    assert _in_every_order(context, _deletion_and_login, slow=(False, True))
