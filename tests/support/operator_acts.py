"""Acts on accounts without HTTP: by an operator, by time, and by received email."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from oneself.commands.conformance.acts import DemoActs
from oneself.database import Database
from oneself.runtime.key_file import open_keyring
from oneself_conformance.actors import Actors, Operator, with_client
from tests.support.deadlines import patient
from tests.support.service import Service
from tests.support.stored import settings_of

__all__ = ["OperatorActs", "open_actors"]

_SECONDS_TO_DELIVER = 10


class OperatorActs(Operator):
    """The acts of `demo-operator`, without the second that its process takes to start."""

    is_available = True

    def __init__(self, service: Service) -> None:
        settings = settings_of(service)
        self._database = Database(
            settings.location, keys=open_keyring(settings), limits=settings.limits
        )
        self._acts = DemoActs(
            self._database, service.data / "mail", seconds_to_deliver=patient(_SECONDS_TO_DELIVER)
        )

    def act(self, name: str, user_id: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Apply the act of this name to a user or their tenant, and return its results by name."""
        return with_client(self._acts.act(name, user_id, arguments))

    def find_tenant_uuid(self, tenant_id: str) -> str:
        """Return the UUID of a tenant, which no dialect shows."""
        return self._acts.find_tenant_uuid(tenant_id)

    def wait_for_mail(self, recipient: str, subject: str) -> Mapping[str, str]:
        """Wait for the newest email to a recipient with a subject."""
        return self._acts.wait_for_mail(recipient, subject)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


@contextmanager
def open_actors(service: Service) -> Iterator[Actors]:
    """Open the actors of a service, with an operator, for as long as it runs."""
    operator = OperatorActs(service)
    try:
        yield Actors(service, operator)
    finally:
        operator.close()
