"""Security events of accounts, for their owners and for investigations."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Text, bindparam, cast, exists, func, insert, select
from sqlmodel import col

from accounts.origin import Origin
from accounts.services.database import AccountSession
from accounts.services.user_views import UserView
from accounts.values.identifiers import new_uuid
from models import SecurityEvent, metadata
from models.columns import UtcDateTime


class EventKind(StrEnum):
    """The kinds of event, in the terms of OWASP's logging vocabulary where it has one (LO-02)."""

    LOGIN_SUCCESS = "authn_login_success"
    LOGIN_SUCCESS_AFTER_FAIL = "authn_login_successafterfail"
    LOGIN_FAIL = "authn_login_fail"
    PASSWORD_CHANGE = "authn_password_change"  # noqa: S105 # the name of an event
    PASSWORD_CHANGE_FAIL = "authn_password_change_fail"  # noqa: S105 # as above
    TOKEN_CREATED = "authn_token_created"  # noqa: S105 # as above
    TOKEN_REVOKED = "authn_token_revoked"  # noqa: S105 # as above
    TOKEN_REUSE = "authn_token_reuse"  # noqa: S105 # as above
    SESSION_CREATED = "session_created"
    SESSION_RENEWED = "session_renewed"
    SESSION_LOGOUT = "session_logout"
    USER_CREATED = "user_created"
    USER_UPDATED = "user_updated"
    USER_ARCHIVED = "user_archived"
    USER_DELETED = "user_deleted"
    ADMINISTRATION = "authz_admin"
    PERMISSIONS_CHANGED = "privilege_permissions_changed"
    SENSITIVE_READ = "sensitive_read"
    DECRYPT_FAIL = "crypt_decrypt_fail"


class Observation(NamedTuple):
    """An event without a change, such as a sensitive read; equal ones are counted together."""

    kind: EventKind
    tenant_id: str
    user_id: str | None
    origin: Origin


def record_event(
    session: AccountSession, kind: EventKind, user: UserView, **details: str | int
) -> None:
    """Record an event of a user, in the transaction of the change itself (LO-03).

    `details` name things by ids and kinds only: no user input and no secrets.
    """
    record_events(session, kind, user, [details])


def record_update(session: AccountSession, user: UserView, *fields: str) -> None:
    """Record that fields of a user were changed, in the transaction of the change.

    Repeated changes of the same fields, by one credential from one address and within a minute, are
    one event: otherwise a single token could fill the table, from which nothing is deleted.
    """
    observation = Observation(EventKind.USER_UPDATED, user.tenant_id, user.user_id, session.origin)
    row = _row(observation, session.now, {"fields": ", ".join(fields)})
    values = {f"new_{name}": value for name, value in row.items()}
    # It may be a repetition, and so is no `session.event_id`.
    session.defer(_INSERT_UNLESS_REPEATED, {**values, "since": session.now - _REPEATED})


def record_events(
    session: AccountSession,
    kind: EventKind,
    user: UserView,
    details: Iterable[Mapping[str, str | int]],
) -> None:
    """Record several events of one kind, one for each mapping of details."""
    record_events_of(session, kind, user.tenant_id, [(user.user_id, event) for event in details])


def record_events_of(
    session: AccountSession,
    kind: EventKind,
    tenant_id: str,
    details: Iterable[tuple[str | None, Mapping[str, str | int]]],
) -> None:
    """Record events of one kind in a tenant, each with the id of its user.

    The id is None for an event about the tenant itself or a client of it.
    """
    rows = [
        _row(Observation(kind, tenant_id, user_id, session.origin), session.now, event)
        for user_id, event in details
    ]
    _write(session, rows)


def record_administration(
    session: AccountSession, tenant_id: str, act: str, **details: str | int
) -> None:
    """Record what an operator did to a tenant or a client of it."""
    event = {"act": act, **details}
    record_events_of(session, EventKind.ADMINISTRATION, tenant_id, [(None, event)])


def observe_event(session: AccountSession, kind: EventKind, user: UserView) -> None:
    """Record an event of a read, to be written later in a batch.

    A read changes nothing that the event would have to be atomic with, and one write for each read
    would make every reader wait for the disk.
    """
    origin = session.origin._replace(request_id=None)
    session.observed.append(Observation(kind, user.tenant_id, user.user_id, origin))


def write_observations(
    session: AccountSession, observed: Mapping[Observation, tuple[int, datetime]]
) -> None:
    """Write observations, each with how often it was made, and when last.

    A row stands for several requests, so it has no request id.
    """
    _write(
        session,
        [
            _row(observation, last_at, {"times": times})
            for observation, (times, last_at) in observed.items()
        ],
    )


def latest_event_time(session: AccountSession) -> datetime | None:
    """Return when the latest event of any user happened; None if there is no event."""
    latest: datetime | None = session.core.execute(
        select(func.max(col(SecurityEvent.occurred_at)))
    ).scalar()
    return latest


#: Built once: creating an entity for each event took a quarter of the time of a change.
_INSERT = insert(SecurityEvent)

#: Changes of the same fields within this time are one event.
_REPEATED = timedelta(minutes=1)
_COLUMNS = metadata.tables["security_event"].columns
_NEW = {column.name: bindparam(f"new_{column.name}", type_=column.type) for column in _COLUMNS}
#: One statement, so that it costs a change no more than the event itself.
_INSERT_UNLESS_REPEATED = _INSERT.from_select(
    list(_NEW),
    select(*_NEW.values()).where(
        ~exists().where(
            _COLUMNS["user_id"] == _NEW["user_id"],
            # Not later than now: the clock may have been ahead (OP-10).
            _COLUMNS["occurred_at"].between(
                bindparam("since", type_=UtcDateTime), _NEW["occurred_at"]
            ),
            *(
                _COLUMNS[name] == _NEW[name]
                for name in ("kind", "credential_kind", "credential_id")
            ),
            _COLUMNS["source"].is_not_distinct_from(_NEW["source"]),
            # PostgreSQL cannot compare JSON.
            cast(_COLUMNS["details"], Text) == cast(_NEW["details"], Text),
        )
    ),
)


def _write(session: AccountSession, rows: Sequence[Mapping[str, Any]]) -> None:
    if len(rows) == 1:
        session.defer(_INSERT, rows[0])
    elif rows:
        session.core.execute(_INSERT, rows)
    if rows:
        session.event_id = rows[-1]["id"]


def _row(
    observation: Observation, occurred_at: datetime, details: Mapping[str, str | int]
) -> dict[str, Any]:
    origin = observation.origin
    return {
        "id": new_uuid(),
        "kind": observation.kind,
        "tenant_id": observation.tenant_id,
        "user_id": observation.user_id,
        "occurred_at": occurred_at,
        "request_id": origin.request_id,
        "source": origin.address,
        "credential_kind": origin.credential_kind,
        "credential_id": origin.credential_id,
        "details": dict(details),
    }
