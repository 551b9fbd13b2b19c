"""Which mutants are drawn: by a seed, from every dialect, and from every rule by turns."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from random import Random

from oneself.conformance.operations import OPERATIONS
from tests.mutants.answer_rules import ANSWER_RULES
from tests.mutants.mutation import Mutant
from tests.mutants.request_rules import REQUEST_RULES

__all__ = ["DIALECTS", "RULES", "Deck", "every_mutant", "shares"]

RULES: tuple[type[Mutant], ...] = (*ANSWER_RULES, *REQUEST_RULES)
DIALECTS = tuple(dict.fromkeys(each.dialect for each in OPERATIONS.values()))
_AT_LEAST = 10


@cache
def every_mutant() -> Mapping[str, Mutant]:
    """Each mutant of each rule, by its name."""
    found = [each for rule in RULES for known in OPERATIONS.values() for each in rule.every(known)]
    named = {str(each): each for each in found}
    if len(named) != len(found):
        message = "two mutants have one name"
        raise ValueError(message)
    return named


def shares(count: int, seed: int) -> Mapping[str, int]:
    """How many each dialect gives: ten, if there are to be so many, and more by its operations."""
    first = min(_AT_LEAST, count // len(DIALECTS))
    sizes = [sum(each.dialect == name for each in OPERATIONS.values()) for name in DIALECTS]
    chance = Random(seed)  # noqa: S311 # to be repeated, not to be secret
    more = chance.choices(DIALECTS, sizes, k=count - first * len(DIALECTS))
    return {name: first + more.count(name) for name in DIALECTS}


class Deck:
    """The mutants of one dialect in the order in which they are drawn, the rules by turns.

    A rule that knows few, such as that of the scopes, is drawn as often as one that knows
    thousands, until it has no more; so are successes beside refusals, of which there are more.
    """

    def __init__(self, dialect: str, seed: int) -> None:
        chance = Random(f"{dialect} {seed}")  # noqa: S311 # as above
        piles: dict[str, dict[bool, list[Mutant]]] = {}
        for mutant in every_mutant().values():
            if mutant.operation.dialect == dialect:
                refusing = getattr(mutant, "status", 0) >= HTTPStatus.BAD_REQUEST
                pile = piles.setdefault(mutant.rule, {True: [], False: []})
                pile[refusing].append(mutant)
        limits = [*piles]
        chance.shuffle(limits)
        for pile in piles.values():
            for part in pile.values():
                chance.shuffle(part)
        self._cards = _by_turns([[*_by_turns([*piles[rule].values()])] for rule in limits])

    def draw(self) -> Mutant:
        """The next one.

        Raises:
            StopIteration: There are no more.
        """
        return next(self._cards)


def _by_turns(piles: Sequence[Sequence[Mutant]]) -> Iterator[Mutant]:
    for turn in range(max(map(len, piles))):
        for pile in piles:
            if turn < len(pile):
                yield pile[turn]
