"""Registry of the kinds of second factor.

An account has a second factor if a row of one of these kinds is in force for it. Every read of a
user asks for that (`UserView.has_second_factor`), so a new kind is one entry here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists, false, or_
from sqlmodel import col

from models import TotpFactor, User


@dataclass(frozen=True, slots=True)
class SecondFactorKind:
    """One kind of second factor.

    `name` is its name in security events. `table` has a row for each factor, with an indexed
    `user_id`; `in_force` is the condition that the row counts, such as that it was confirmed.
    """

    name: str
    table: Any  # the tables have no base class in common
    in_force: ColumnElement[bool]


#: Every kind of second factor.
SECOND_FACTOR_KINDS: tuple[SecondFactorKind, ...] = (
    SecondFactorKind("totp", TotpFactor, col(TotpFactor.confirmed_at).is_not(None)),
)


def has_second_factor(
    kinds: Iterable[SecondFactorKind] = SECOND_FACTOR_KINDS,
) -> ColumnElement[bool]:
    """Return the condition that a row of `User` has a second factor of one of these kinds."""
    return or_(
        false(),
        *(exists().where(kind.table.user_id == col(User.id), kind.in_force) for kind in kinds),
    )
