"""fastapi-users with its database strategy over aiosqlite: /users/me with an opaque token.

As in its documentation: SQLAlchemy's own pool, no echo, no documentation pages.

`python fastapi_users_app.py prepare` creates tables and a user, and prints the token; `app` is for
an ASGI server. PEER_DATABASE is the path of the SQLite file.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport
from fastapi_users.authentication.strategy.db import AccessTokenDatabase, DatabaseStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SECONDS = 30 * 86_400

engine = create_async_engine(f"sqlite+aiosqlite:///{os.environ['PEER_DATABASE']}")
make_session = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def _prepare(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


class Base(DeclarativeBase):
    """The tables of this application."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """A user, with an additional field for a PATCH to change."""

    locale: Mapped[str | None] = mapped_column(default=None)


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    """An opaque token."""


class UserRead(schemas.BaseUser[uuid.UUID]):
    """The response body of a user."""

    locale: str | None


class UserUpdate(schemas.BaseUserUpdate):
    """The fields that a user may change."""

    locale: str | None = None


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """The user manager of the library, unchanged."""


async def open_session() -> AsyncIterator[AsyncSession]:
    """Open a session for one request."""
    async with make_session() as session:
        yield session


Opened = Annotated[AsyncSession, Depends(open_session)]


async def users_in(session: Opened) -> AsyncIterator[SQLAlchemyUserDatabase[User, uuid.UUID]]:
    """Yield the user database."""
    yield SQLAlchemyUserDatabase(session, User)


async def tokens_in(session: Opened) -> AsyncIterator[SQLAlchemyAccessTokenDatabase[AccessToken]]:
    """Yield the token database."""
    yield SQLAlchemyAccessTokenDatabase(session, AccessToken)


async def open_manager(
    users: Annotated[SQLAlchemyUserDatabase[User, uuid.UUID], Depends(users_in)],
) -> AsyncIterator[UserManager]:
    """Yield the user manager."""
    yield UserManager(users)


def strategy(
    tokens: Annotated[AccessTokenDatabase[AccessToken], Depends(tokens_in)],
) -> DatabaseStrategy[User, uuid.UUID, AccessToken]:
    """Return the strategy that looks up the token in the database with each request."""
    return DatabaseStrategy(tokens, lifetime_seconds=SECONDS)


backend = AuthenticationBackend(
    name="database", transport=BearerTransport(tokenUrl="login"), get_strategy=strategy
)
library = FastAPIUsers[User, uuid.UUID](open_manager, [backend])
app = FastAPI(openapi_url=None)
app.include_router(library.get_users_router(UserRead, UserUpdate), prefix="/users")


async def prepare() -> None:
    """Create the tables and a user; print their authentication header."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with make_session() as session:
        user = await SQLAlchemyUserDatabase[User, uuid.UUID](session, User).create(
            {"email": "alice.chen@example.com", "hashed_password": "none", "is_verified": True}
        )
        tokens = SQLAlchemyAccessTokenDatabase[AccessToken](session, AccessToken)
        made = DatabaseStrategy[User, uuid.UUID, AccessToken](tokens, lifetime_seconds=SECONDS)
        print(f"Authorization: Bearer {await made.write_token(user)}")


if __name__ == "__main__" and sys.argv[1:] == ["prepare"]:
    asyncio.run(prepare())
