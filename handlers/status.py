"""What an orchestrator asks."""

from collections.abc import Callable

from accounts.jobs import readiness
from accounts.services.database import AccountSession
from handlers.exchange import Reply
from models import wire


def get_health() -> Reply[wire.Health]:
    return Reply({"status": "ok"})


def get_readiness(
    session: AccountSession, *, degraded: bool, leaving: Callable[[], bool]
) -> Reply[wire.Readiness]:
    readiness.require_ready(session, leaving=leaving())
    return Reply({"status": "degraded" if degraded else "ready"})
