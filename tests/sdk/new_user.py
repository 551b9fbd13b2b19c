"""A new user for the journeys."""

import base64
from dataclasses import dataclass

__all__ = ["NewUser"]


@dataclass(frozen=True)
class NewUser:
    """A user with a session, whose tenant has a client."""

    url: str
    user_id: str
    tenant_id: str
    email: str
    password: str
    session: str
    tenant_uuid: str
    client_id: str
    client_secret: str
    picture: bytes

    def as_settings(self) -> dict[str, str]:
        """Return the fields as environment variables, for programs in other languages."""
        return {
            "ONESELF_URL": self.url,
            "EMAIL": self.email,
            "PASSWORD": self.password,
            "SESSION": self.session,
            "TENANT_UUID": self.tenant_uuid,
            "CLIENT_ID": self.client_id,
            "CLIENT_SECRET": self.client_secret,
            "PICTURE": base64.b64encode(self.picture).decode(),
        }
