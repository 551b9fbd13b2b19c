"""Health and readiness probes for orchestrators."""

from accounts.jobs import readiness
from handlers.context import Context, DatabaseContext
from handlers.exchange import Reply
from handlers.problem_details import PROBLEM_DETAILS
from models import wire

DIALECT = PROBLEM_DETAILS


def get_health(_context: Context) -> Reply[wire.Health]:
    return Reply({"status": "ok"})


def get_readiness(context: DatabaseContext) -> Reply[wire.Readiness]:
    readiness.require_ready(context.session, leaving=context.service.is_draining)
    reason = context.service.find_degradation(context.session)
    return Reply(
        {"status": "ready"} if reason is None else {"status": "degraded", "reason": reason}
    )
