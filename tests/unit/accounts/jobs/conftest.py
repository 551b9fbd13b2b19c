"""Fixtures of the tests of jobs."""

import pytest

from accounts.crypto.keyring import Keyring
from oneself.database import Database


@pytest.fixture
def open_with(env, clock):
    """Open the same database with other root secrets."""
    databases = []

    def open_with(*roots, **options):
        databases.append(
            Database(env.location, keys=Keyring(*roots, **options), limits=env.limits, clock=clock)
        )
        return databases[-1]

    yield open_with
    for database in databases:
        database.close()
