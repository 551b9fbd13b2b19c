"""Last-used recorder: uses of credentials, their sources and observed events, in batches."""

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from accounts.services.authentication import (
    RECORDED_KINDS,
    StaleDigest,
    replace_digests,
    write_uses,
)
from accounts.services.database import AccountSession
from accounts.services.events import Observation, write_observations
from accounts.services.principal import Credential, CredentialKind, Principal
from accounts.services.throttling import record_session_sources
from oneself.database import Database
from oneself.runtime.jobs import run_act

#: From how many addresses a user's reads are told apart in a batch. Each is an event, and an IPv6
#: customer has so many addresses that a single token could fill the table otherwise.
_MOST_ADDRESSES = 4


class _Batch(NamedTuple):
    used: dict[tuple[CredentialKind, str], datetime]
    #: By session: its user, and the client address.
    sources: dict[str, tuple[str, str | None]]
    observed: dict[Observation, tuple[int, datetime]]
    stale_digests: dict[tuple[CredentialKind, str], StaleDigest]

    def write(self, session: AccountSession) -> None:
        write_uses(session, self.used)
        record_session_sources(session, self.sources)
        replace_digests(session, self.stale_digests.values())
        write_observations(session, self.observed)


class UsageRecorder:
    """The latest use of each credential, and what was observed, until it is written.

    A write per request would make every read wait for the disk (TK-16). A crash loses less than a
    minute of this data, and nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batch = _Batch({}, {}, {}, {})
        #: By what was observed, without its origin.
        self._addresses: dict[tuple[object, ...], set[str | None]] = {}

    def record_use(self, credential: Credential, moment: datetime) -> None:
        """Remember that a credential was used; the use of a JWT is one of its session."""
        kind, credential_id = credential.kind, credential.id
        if kind is CredentialKind.JWT and credential.session_id is not None:
            kind, credential_id = CredentialKind.SESSION, credential.session_id
        if kind in RECORDED_KINDS:
            with self._lock:
                self._batch.used[kind, credential_id] = moment

    def record_source(self, principal: Principal, address: str | None) -> None:
        """Remember the client address that a session was used from."""
        credential = principal.credential
        # A JWT is used by a program, wherever that runs, and not by its user.
        if credential.kind is CredentialKind.SESSION:
            with self._lock:
                self._batch.sources[credential.id] = (principal.user.user_id, address)

    def record_observed(
        self, observed: Iterable[Observation | StaleDigest], moment: datetime
    ) -> None:
        """Remember the events that an act observed."""
        for each in observed:
            with self._lock:
                if isinstance(each, Observation):
                    observation = self._limit_addresses(each)
                    times, _ = self._batch.observed.get(observation, (0, moment))
                    self._batch.observed[observation] = (times + 1, moment)
                elif each.kind in RECORDED_KINDS:
                    self._batch.stale_digests[each.kind, each.id] = each

    def _limit_addresses(self, observation: Observation) -> Observation:
        """Return an observation without its address, if there are too many addresses already."""
        addresses = self._addresses.setdefault(observation[:3], set())
        if observation.origin.address in addresses or len(addresses) < _MOST_ADDRESSES:
            addresses.add(observation.origin.address)
            return observation
        return observation._replace(origin=observation.origin._replace(address=None))

    def write(self, database: Database) -> None:
        """Write what was recorded since the last time, in one transaction.

        Raises:
            sqlalchemy.exc.OperationalError: The database does not answer; nothing is lost.
        """
        with self._lock:
            batch, self._batch = self._batch, _Batch({}, {}, {}, {})
            self._addresses = {}
        if not any(batch):
            return
        try:
            run_act(database, batch.write)
        except BaseException:
            self._give_back(batch)
            raise

    def _give_back(self, batch: _Batch) -> None:
        with self._lock:
            present, self._batch = self._batch, batch
            self._batch.used.update(present.used)
            self._batch.sources.update(present.sources)
            self._batch.stale_digests.update(present.stale_digests)
            for each, (times, moment) in present.observed.items():
                before, _ = self._batch.observed.get(each, (0, moment))
                self._batch.observed[each] = (before + times, moment)
