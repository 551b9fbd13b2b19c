"""The signing keys that a worker has in memory."""

from accounts.crypto.jwts import KeySet
from accounts.services.signing_keys import load_key_set
from oneself.database import Database


class SigningKeys:
    """The keys that JWTs are signed and verified with, refreshed by a job.

    A request never reads them: each token with an unknown key id would cost a query, and an
    attacker can make up any number of ids (JW-08). A key is in the table for `OVERLAP` before it
    signs, so that a job every 15 seconds is in time.
    """

    def __init__(self, database: Database) -> None:
        """Read the keys, as `refresh` does."""
        self._database = database
        #: The keys that were read last: an immutable set, which a request keeps to its end.
        self.current = self._read()

    def refresh(self) -> None:
        """Read the keys again; if that fails, the previous ones stay.

        Raises:
            NoSigningKey: There is none.
            SealBroken: One cannot be opened.
            sqlalchemy.exc.OperationalError: The database does not answer.
        """
        self.current = self._read()

    def _read(self) -> KeySet:
        with self._database.transaction(writing=False) as session:
            return load_key_set(session)
