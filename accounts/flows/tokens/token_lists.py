"""Lists of API keys and personal access tokens, by state and by times."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, false, func, select

from accounts.services.credentials import CredentialType, is_live
from accounts.services.database import AccountSession, columns_of
from accounts.services.idle_sessions import idle_since

_Shape = TypeVar("_Shape", bound=tuple[Any, ...])

#: The longest list, which is also the largest number of active tokens.
_AT_MOST = 50


class TokenState(StrEnum):
    """States by which a list of tokens can be filtered."""

    ACTIVE = "active"
    ROTATED = "rotated"
    EXPIRED = "expired"
    REVOKED = "revoked"


class TokenFilter(NamedTuple):
    """A selection of tokens; a token that was never used counts as used when it was created."""

    state: TokenState = TokenState.ACTIVE
    last_used_before: datetime | None = None
    expires_before: datetime | None = None


#: What a list contains without parameters.
ACTIVE = TokenFilter()


def find_tokens(
    session: AccountSession,
    type_: CredentialType,
    shape: type[_Shape],
    user_id: str,
    selection: TokenFilter,
) -> Sequence[_Shape]:
    """Return a selection of the user's tokens of a kind, newest first, and fifty at most."""
    table = type_.table
    conditions = [type_.column("user_id") == user_id, _is_in(selection.state, type_, session)]
    if selection.last_used_before is not None:
        last_use = func.coalesce(table.last_used_at, table.created_at)
        conditions.append(last_use < selection.last_used_before)
    if selection.expires_before is not None:
        conditions.append(table.expires_at < selection.expires_before)
    rows = session.core.execute(
        select(*columns_of(table, shape))
        .where(*conditions)
        .order_by(table.created_at.desc(), table.id)
        .limit(_AT_MOST)
    )
    return [shape(*row) for row in rows]


def _is_in(
    state: TokenState, type_: CredentialType, session: AccountSession
) -> ColumnElement[bool]:
    table = type_.table
    is_rotated: ColumnElement[bool] = (
        table.rotated_at.is_not(None) if type_.has("rotated_at") else false()
    )
    if state in {TokenState.ACTIVE, TokenState.ROTATED}:
        live = is_live(table, session.now, idle_since(session.limits, session.now))
        return live & (is_rotated if state is TokenState.ROTATED else ~is_rotated)
    is_revoked: ColumnElement[bool] = table.revoked_at.is_not(None)
    if state is TokenState.REVOKED:
        return is_revoked
    is_expired: ColumnElement[bool] = table.expires_at <= session.now
    return ~is_revoked & is_expired
