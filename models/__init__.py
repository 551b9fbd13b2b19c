"""Database tables, one module per noun: columns and constraints, no behaviour."""

from sqlmodel import SQLModel

from models.access_token import AccessToken
from models.api_key import ApiKey
from models.client import Client
from models.idempotency_record import IdempotencyRecord
from models.one_time_secret import OneTimeSecret
from models.outbox import OutboxMessage
from models.password import PasswordRecord
from models.password_reset_request import PasswordResetRequest
from models.personal_access_token import PersonalAccessToken
from models.picture import Picture
from models.rate_limit_counter import RateLimitCounter
from models.refresh_token import RefreshToken
from models.revoked_jwt import RevokedJwt
from models.root_key import RootKey
from models.security_event import EventLink, SecurityEvent
from models.session import LoginSession
from models.settings import UserSettings
from models.signing_key import SigningKey
from models.tenant import Tenant
from models.user import User

__all__ = [
    "AccessToken",
    "ApiKey",
    "Client",
    "EventLink",
    "IdempotencyRecord",
    "LoginSession",
    "OneTimeSecret",
    "OutboxMessage",
    "PasswordRecord",
    "PasswordResetRequest",
    "PersonalAccessToken",
    "Picture",
    "RateLimitCounter",
    "RefreshToken",
    "RevokedJwt",
    "RootKey",
    "SecurityEvent",
    "SigningKey",
    "Tenant",
    "User",
    "UserSettings",
    "metadata",
]

#: All tables, for Alembic and the tests. `models/columns.py` sets the constraints' names.
metadata = SQLModel.metadata
