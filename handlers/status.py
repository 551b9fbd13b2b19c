"""Health and readiness probes for orchestrators, and the OpenAPI document."""

from functools import lru_cache

from accounts.errors import NotFound
from accounts.jobs import readiness
from handlers.context import Context, DatabaseContext
from handlers.etags import tag_of
from handlers.exchange import Reply
from handlers.problem_details import PROBLEM_DETAILS
from models import wire

DIALECT = PROBLEM_DETAILS
#: How long caches may keep the document.
_SECONDS = 300


def get_health(_context: Context) -> Reply[wire.Health]:
    return Reply({"status": "ok"})


def get_readiness(context: DatabaseContext) -> Reply[wire.Readiness]:
    service = context.service
    readiness.require_ready(
        context.session, leaving=service.is_draining, unready_reason=service.unready_reason
    )
    reason = service.find_degradation(context.session)
    return Reply(
        {"status": "ready"} if reason is None else {"status": "degraded", "reason": reason}
    )


def get_document(context: Context, if_none_match: str | None) -> Reply[bytes]:
    return _document(context, "/openapi.json", if_none_match)


def get_yaml_document(context: Context, if_none_match: str | None) -> Reply[bytes]:
    return _document(context, "/openapi.yaml", if_none_match, "application/yaml")


def get_upgraded_document(context: Context, if_none_match: str | None) -> Reply[bytes]:
    return _document(context, "/openapi-3.1.json", if_none_match)


def get_dialect_document(context: Context, dialect: str, if_none_match: str | None) -> Reply[bytes]:
    return _document(context, f"/openapi/{dialect}.json", if_none_match)


def _document(
    context: Context, path: str, if_none_match: str | None, media_type: str = "application/json"
) -> Reply[bytes]:
    content = context.service.find_document(path)
    if content is None:
        raise NotFound
    return Reply.cacheable(
        content, if_none_match, seconds=_SECONDS, media_type=media_type, tag=_tag_of(content)
    )


#: The bytes of each version stay the same object all day, so that a look-up does not read them.
_tag_of = lru_cache(maxsize=16)(tag_of)
