"""What an orchestrator asks."""

from accounts import readiness
from accounts.database import AccountSession
from handlers.exchange import Reply
from models import wire


def get_health() -> Reply[wire.Health]:
    return Reply({"status": "ok"})


def get_readiness(session: AccountSession, *, degraded: bool) -> Reply[wire.Readiness]:
    readiness.require_ready(session)
    return Reply({"status": "degraded" if degraded else "ready"})
