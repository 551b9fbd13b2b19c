"""Somebody with an account, whom the journeys follow."""

import base64
from dataclasses import dataclass

__all__ = ["Newcomer"]


@dataclass(frozen=True)
class Newcomer:
    """Somebody with an account, whose tenant has a client."""

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
        """The same as environment variables, for a program in another language."""
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
