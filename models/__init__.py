"""Database tables, one module per subject: columns and constraints, no behaviour."""

from sqlmodel import SQLModel

from models.credentials import (
    AccessToken,
    ApiKey,
    Device,
    LoginSession,
    PersonalAccessToken,
    RefreshToken,
    RevokedJwt,
)
from models.factors import LoginChallenge, RecoveryCode, TotpFactor
from models.keys import RootKey, SigningKey
from models.mail import OneTimeSecret, OutboxMessage, PasswordResetRequest
from models.requests import IdempotencyRecord, LoginNetwork, RateLimitCounter
from models.security_event import EventErasure, EventLink, EventSeal, SecurityEvent
from models.tenant import Client, Tenant
from models.user import FormerEmail, PasswordRecord, Picture, User, UserSettings

__all__ = [
    "AccessToken",
    "ApiKey",
    "Client",
    "Device",
    "EventErasure",
    "EventLink",
    "EventSeal",
    "FormerEmail",
    "IdempotencyRecord",
    "LoginChallenge",
    "LoginNetwork",
    "LoginSession",
    "OneTimeSecret",
    "OutboxMessage",
    "PasswordRecord",
    "PasswordResetRequest",
    "PersonalAccessToken",
    "Picture",
    "RateLimitCounter",
    "RecoveryCode",
    "RefreshToken",
    "RevokedJwt",
    "RootKey",
    "SecurityEvent",
    "SigningKey",
    "Tenant",
    "TotpFactor",
    "User",
    "UserSettings",
    "metadata",
]

#: All tables, for Alembic and the tests. `models/columns.py` sets the constraints' names.
metadata = SQLModel.metadata
