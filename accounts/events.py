"""What happened to an account, remembered for its owner and for whoever investigates."""

from enum import StrEnum

from accounts.database import AccountSession
from accounts.identifiers import new_uuid
from models import SecurityEvent

__all__ = ["EventKind", "record_event"]


class EventKind(StrEnum):
    """What happened, in the words of OWASP's logging vocabulary where it has one (LO-02)."""

    LOGIN_SUCCESS = "authn_login_success"
    LOGIN_SUCCESS_AFTER_FAIL = "authn_login_successafterfail"
    PASSWORD_CHANGE = "authn_password_change"  # noqa: S105 # the name of an event
    PASSWORD_CHANGE_FAIL = "authn_password_change_fail"  # noqa: S105 # as above
    TOKEN_CREATED = "authn_token_created"  # noqa: S105 # as above
    TOKEN_REVOKED = "authn_token_revoked"  # noqa: S105 # as above
    TOKEN_REUSE = "authn_token_reuse"  # noqa: S105 # as above
    SESSION_CREATED = "session_created"
    SESSION_LOGOUT = "session_logout"
    USER_CREATED = "user_created"
    USER_UPDATED = "user_updated"
    USER_ARCHIVED = "user_archived"
    PERMISSIONS_CHANGED = "privilege_permissions_changed"
    SENSITIVE_READ = "sensitive_read"
    DECRYPT_FAIL = "crypt_decrypt_fail"


def record_event(
    session: AccountSession, kind: EventKind, *, user_id: str, tenant_id: str, **details: str | int
) -> None:
    """Remember an event, in the transaction of the change that it describes (LO-03).

    `details` name things by their ids and kinds: nothing that a user wrote, and no secret.
    """
    session.add(
        SecurityEvent(
            id=new_uuid(),
            kind=kind,
            tenant_id=tenant_id,
            user_id=user_id,
            occurred_at=session.now,
            request_id=session.origin.request_id,
            source=session.origin.address,
            credential_kind=session.origin.credential_kind,
            credential_id=session.origin.credential_id,
            details=details,
        )
    )
