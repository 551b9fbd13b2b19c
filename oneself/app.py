"""Builds the application out of the document, the handlers and the settings."""

import importlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from accounts.errors import NotFound
from oneself.delivery import Delivery
from oneself.dialects import Dialects
from oneself.document import load_document
from oneself.framework import ConnexionMiddleware, LifespanMiddleware, Resolver
from oneself.guard import Guard
from oneself.jobs import repeated
from oneself.keys import open_keyring
from oneself.operations import Edge, Operations
from oneself.published import Published
from oneself.routing import Routing
from oneself.settings import Settings
from oneself.transactions import Database
from oneself.usage import UsageRecorder
from oneself.workloads import Pool

__all__ = ["create_app", "find_handler"]

_SECONDS_BETWEEN_DELIVERIES = 1.0
_SECONDS_BETWEEN_USAGE_WRITES = 30.0


def create_app(settings: Settings, *, database: Database | None = None) -> ASGIApp:
    """The whole application: the guard around Connexion around the operations.

    Raises:
        UnknownRootKey: The secret key is not the one that the database was made with.
    """
    document = load_document()
    database = database or Database(
        settings.sqlite_path, keys=open_keyring(settings), rules=settings.rules
    )
    usage = UsageRecorder()
    pools = {
        "database": Pool("database", threads=settings.database_threads, queue=1024),
        "password": Pool(
            "password", threads=settings.password_threads, queue=settings.password_queue
        ),
    }
    connexion = ConnexionMiddleware(
        _nowhere,
        middlewares=[LifespanMiddleware, Routing, Operations],
        lifespan=partial(_lifespan, settings=settings, database=database, usage=usage, pools=pools),
        resolver=Resolver(find_handler),
        pythonic_params=True,
    )
    edge = Edge(
        database=database,
        usage=usage,
        pools=pools,
        origins=frozenset({settings.public_origin}),
        api_key_brand=settings.api_key_brand,
        body_bytes=settings.body_bytes,
        body_seconds=settings.body_seconds,
        check_responses=settings.validate_responses,
    )
    connexion.add_api(dict(document), base_path="", edge=edge)
    return Guard(
        Published(connexion, document),
        dialects=Dialects(document),
        hosts=settings.known_hosts,
        clock=partial(datetime.now, UTC),
    )


def find_handler(operation_id: str) -> Callable[..., Any]:
    """The handler of an operation: `ipto.getCurrentUser` is `handlers.ipto.get_current_user`.

    Raises:
        ImportError, AttributeError: There is none, and so the service does not start.
    """
    tag, _, name = operation_id.partition(".")
    module = importlib.import_module(f"handlers.{tag}")
    handler: Callable[..., Any] = getattr(module, re.sub(r"(?=[A-Z])", "_", name).lower())
    return handler


async def _nowhere(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """What would come after the operations, which answer everything that routing lets through."""
    raise NotFound


@asynccontextmanager
async def _lifespan(
    _app: object,
    *,
    settings: Settings,
    database: Database,
    usage: UsageRecorder,
    pools: Mapping[str, Pool],
) -> AsyncIterator[None]:
    """Start what runs beside the requests; at the end let it finish, and close the database."""
    delivery = Delivery(
        database, settings.data_dir / "mail", host=settings.public_url.host or "localhost"
    )
    jobs = (
        (delivery.deliver_pending, _SECONDS_BETWEEN_DELIVERIES),
        (partial(usage.write, database), _SECONDS_BETWEEN_USAGE_WRITES),
    )
    async with AsyncExitStack() as stack:
        stack.callback(database.close)
        for pool in pools.values():
            stack.callback(pool.close)
        for work, seconds in jobs:
            await stack.enter_async_context(repeated(work, seconds, pools["database"]))
        yield
