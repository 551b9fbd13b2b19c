"""Last-used recorder: uses of credentials and observed events, written in batches."""

import threading
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import bindparam, or_, update

from accounts.services.authentication import StoredAnew
from accounts.services.events import Observation, write_observations
from accounts.services.principal import Credential, CredentialKind
from models import ApiKey, LoginSession, PersonalAccessToken
from oneself.database import Database

__all__ = ["UsageRecorder"]

# Any, because the three have no base in common but each has these columns. An access token is
# stored anew by whoever rewrites what is sealed, since it can be read.
_TABLES: dict[CredentialKind, tuple[Any, str]] = {
    CredentialKind.SESSION: (LoginSession, "token_digest"),
    CredentialKind.API_KEY: (ApiKey, "key_digest"),
    CredentialKind.PAT: (PersonalAccessToken, "token_digest"),
}


class _Batch(NamedTuple):
    used: dict[tuple[CredentialKind, str], datetime]
    observed: dict[Observation, tuple[int, datetime]]
    stored_anew: dict[tuple[CredentialKind, str], StoredAnew]


class UsageRecorder:
    """The latest use of each credential, and what was observed, until it is written.

    A write per request would make every read wait for the disk (TK-16). A crash loses less than a
    minute of this data, and nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batch = _Batch({}, {}, {})

    def note(self, credential: Credential, moment: datetime) -> None:
        """Remember that a credential was used."""
        if credential.kind in _TABLES:
            with self._lock:
                self._batch.used[credential.kind, credential.id] = moment

    def record_observed(
        self, observed: Iterable[Observation | StoredAnew], moment: datetime
    ) -> None:
        """Remember the events that an act observed."""
        for each in observed:
            with self._lock:
                if isinstance(each, Observation):
                    times, _ = self._batch.observed.get(each, (0, moment))
                    self._batch.observed[each] = (times + 1, moment)
                elif each.kind in _TABLES:
                    self._batch.stored_anew[each.kind, each.id] = each

    def write(self, database: Database) -> None:
        """Write what was recorded since the last time, in one transaction.

        Raises:
            sqlalchemy.exc.OperationalError: The database does not answer; nothing is lost.
        """
        with self._lock:
            batch, self._batch = self._batch, _Batch({}, {}, {})
        if not any(batch):
            return
        try:
            database.attempt(partial(_write, database, batch))
        except BaseException:
            self._give_back(batch)
            raise

    def _give_back(self, batch: _Batch) -> None:
        with self._lock:
            present, self._batch = self._batch, batch
            self._batch.used.update(present.used)
            self._batch.stored_anew.update(present.stored_anew)
            for each, (times, moment) in present.observed.items():
                before, _ = self._batch.observed.get(each, (0, moment))
                self._batch.observed[each] = (before + times, moment)


def _write(database: Database, batch: _Batch) -> None:
    with database.transaction(writing=True) as session:
        for kind, (table, digest) in _TABLES.items():
            _write_uses(session.core, table, kind, batch)
            for (anew_kind, name), anew in batch.stored_anew.items():
                if anew_kind is kind:
                    # Only if it is still what was read: it may be another token by now.
                    session.core.execute(
                        update(table)
                        .where(table.id == name, getattr(table, digest) == anew.before)
                        .values({digest: anew.after, "key_id": session.keys.key_id})
                    )
        write_observations(session, batch.observed)


def _write_uses(core: Any, table: Any, kind: CredentialKind, batch: _Batch) -> None:
    # In one order: two replicas that lock the same rows would otherwise wait for each other.
    used = [
        {"credential_id": name, "moment": moment}
        for (used_kind, name), moment in sorted(batch.used.items())
        if used_kind is kind
    ]
    if used:
        core.execute(
            update(table)
            .where(
                table.id == bindparam("credential_id"),
                # Another replica may have seen a later use, and have written it sooner.
                or_(table.last_used_at.is_(None), table.last_used_at < bindparam("moment")),
            )
            .values(last_used_at=bindparam("moment")),
            used,
        )
