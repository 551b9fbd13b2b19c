"""Second factors of users, and logins that wait for one."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from models.columns import digest, instant, optional_index, optional_instant


class TotpFactor(SQLModel, table=True):
    """An authenticator app of a user, which makes time-based codes (RFC 6238).

    It is in force once a code has confirmed it. `last_step` is the last time step whose code was
    used, so that each is used once (section 5.2).
    """

    __tablename__ = "totp_factor"

    id: str = Field(primary_key=True, max_length=36)
    user_id: str = Field(foreign_key="user.id", unique=True, max_length=16)
    secret_sealed: bytes
    key_id: str = Field(max_length=8)
    last_step: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = instant()
    confirmed_at: datetime | None = optional_instant()
    last_used_at: datetime | None = optional_instant()


class RecoveryCode(SQLModel, table=True):
    """A code in place of a second factor, good once."""

    __tablename__ = "recovery_code"

    id: str = Field(primary_key=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    code_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    created_at: datetime = instant()
    used_at: datetime | None = optional_instant()


class LoginChallenge(SQLModel, table=True):
    """A login by the right password, which waits for a second factor."""

    __tablename__ = "login_challenge"
    __table_args__ = (optional_index("login_challenge", "ended_at"),)

    id: str = Field(primary_key=True, max_length=16)
    user_id: str = Field(foreign_key="user.id", index=True, max_length=16)
    challenge_digest: bytes = digest()
    key_id: str = Field(max_length=8)
    attempts_left: int
    created_at: datetime = instant()
    expires_at: datetime = instant(index=True)
    ended_at: datetime | None = optional_instant()
