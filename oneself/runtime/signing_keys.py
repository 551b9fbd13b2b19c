"""The signing keys as one worker holds them."""

from accounts.crypto.jwts import KeySet
from accounts.services.signing_keys import load_key_set
from oneself.database import Database

__all__ = ["SigningKeys"]


class SigningKeys:
    """The keys that JWTs are signed and verified with, read at once and again by a job.

    Never by a request: a token that names an unknown key would cost a query each, and whoever
    makes such names up has no end of them (JW-08). A key is in the table for `OVERLAP` before it
    signs, so that a job every 15 seconds is in time.
    """

    def __init__(self, database: Database) -> None:
        """Read them; there must be one.

        Raises:
            NoSigningKey: There is none.
            SealBroken: One cannot be opened.
        """
        self._database = database
        self._current = self._read()

    @property
    def current(self) -> KeySet:
        """What was read last; it does not change while a request holds it."""
        return self._current

    def refresh(self) -> None:
        """Read them again; where that fails, what was read before stays.

        Raises:
            NoSigningKey: There is none.
            SealBroken: One cannot be opened.
            sqlalchemy.exc.OperationalError: The database does not answer.
        """
        self._current = self._read()

    def _read(self) -> KeySet:
        with self._database.transaction(writing=False) as session:
            return load_key_set(session)
