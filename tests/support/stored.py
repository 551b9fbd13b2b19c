"""Read access to the database of a running service."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from oneself.database import open_engine
from oneself.settings import Settings
from tests.support.service import Service, settings_in

__all__ = ["reading", "settings_of"]


def settings_of(service: Service) -> Settings:
    """Return the settings of a service, which are not those of the test process."""
    return settings_in(service.environment)


@contextmanager
def reading(service: Service) -> Iterator[Connection]:
    """Open a read-only connection to the database of a service."""
    engine = open_engine(settings_of(service).location)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
