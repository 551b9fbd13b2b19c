"""Events in a chain, and verifying it."""

from datetime import datetime, timedelta
from typing import Any

from accounts.jobs.event_chain import chain_events, find_unchained
from accounts.jobs.event_verification import ChainReport, Verified, verify_chain
from accounts.services.database import AccountSession
from accounts.values.identifiers import new_uuid
from models import SecurityEvent

__all__ = ["add_events", "chain_pending", "id_at", "verify"]


def chain_pending(session: AccountSession, *, at_most: int = 10_000) -> int:
    """Append links for the oldest events without one, in one transaction; returns how many."""
    session.flush()
    return chain_events(session, find_unchained(session, at_most=at_most))


def add_events(env: Any, count: int) -> list[str]:
    """Add events, a second apart, and chain them; returns their ids."""
    ids = []
    for _ in range(count):
        env.clock.now += timedelta(seconds=1)
        ids.append(id_at(env.clock.now))
        with env.database.transaction(writing=True) as session:
            session.add(
                SecurityEvent(id=ids[-1], kind="a", occurred_at=session.now, details={"a": 1})
            )
    env.act(chain_pending)
    return ids


def id_at(time: datetime) -> str:
    """Return an id as if it were made at a time."""
    digits = f"{int(time.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}{new_uuid()[13:]}"


def verify(env: Any, since: Verified | None = None, **options: int) -> ChainReport:
    """Verify the chain in a snapshot."""
    with env.database.transaction(writing=False, snapshot=True) as session:
        return verify_chain(session, since, **options)
