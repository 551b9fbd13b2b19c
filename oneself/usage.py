"""When credentials were last used, written down in batches."""

import threading
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update

from accounts.principal import Credential, CredentialKind
from models import ApiKey, LoginSession, PersonalAccessToken
from oneself.transactions import Database

__all__ = ["UsageRecorder"]

# Any, because the three have no base in common but each has the two columns.
_TABLES: dict[CredentialKind, Any] = {
    CredentialKind.SESSION: LoginSession,
    CredentialKind.API_KEY: ApiKey,
    CredentialKind.PAT: PersonalAccessToken,
}


class UsageRecorder:
    """Keeps the latest use of each credential until it is written.

    A write for each request would make every read wait for the disk (TK-16). What a crash loses
    is less than a minute of this, and nothing else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[tuple[CredentialKind, str], datetime] = {}

    def note(self, credential: Credential, moment: datetime) -> None:
        """Remember that a credential was used."""
        if credential.kind in _TABLES:
            self._noted[credential.kind, credential.id] = moment

    def write(self, database: Database) -> None:
        """Write down what was noted since the last time, in one transaction.

        Raises:
            sqlalchemy.exc.OperationalError: The database does not answer; nothing is forgotten.
        """
        with self._lock:
            noted = dict(self._noted)
            if not noted:
                return
            with database.transaction(writing=True) as session:
                for kind, table in _TABLES.items():
                    used = [
                        {"credential_id": name, "moment": moment}
                        for (noted_kind, name), moment in noted.items()
                        if noted_kind is kind
                    ]
                    if used:
                        session.core.execute(
                            update(table)
                            .where(table.id == bindparam("credential_id"))
                            .values(last_used_at=bindparam("moment")),
                            used,
                        )
            for key, moment in noted.items():
                if self._noted.get(key) == moment:
                    self._noted.pop(key, None)
