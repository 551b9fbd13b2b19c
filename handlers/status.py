"""What an orchestrator asks."""

from collections.abc import Callable

from accounts.jobs import readiness
from accounts.services.database import AccountSession
from handlers.exchange import Reply
from handlers.problem_details import PROBLEM_DETAILS
from models import wire

DIALECT = PROBLEM_DETAILS


def get_health() -> Reply[wire.Health]:
    return Reply({"status": "ok"})


def get_readiness(
    session: AccountSession, *, degraded: bool, leaving: Callable[[], bool]
) -> Reply[wire.Readiness]:
    readiness.require_ready(session, leaving=leaving())
    return Reply({"status": "degraded" if degraded else "ready"})
