"""Random sample of mutants: by a seed, from every dialect, and from the rules in turn."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from random import Random

from oneself_conformance.operations import OPERATIONS
from tests.mutants.answer_rules import ANSWER_RULES
from tests.mutants.mutation import Mutant
from tests.mutants.request_rules import REQUEST_RULES

__all__ = ["DIALECTS", "RULES", "Sampler", "all_mutants", "shares"]

RULES: tuple[type[Mutant], ...] = (*ANSWER_RULES, *REQUEST_RULES)
DIALECTS = tuple(dict.fromkeys(each.dialect for each in OPERATIONS.values()))
_MIN_PER_DIALECT = 10


@cache
def all_mutants() -> Mapping[str, Mutant]:
    """Return all mutants of all rules, by name."""
    mutants = [
        each
        for rule in RULES
        for operation in OPERATIONS.values()
        for each in rule.generate(operation)
    ]
    by_name = {str(each): each for each in mutants}
    if len(by_name) != len(mutants):
        message = "two mutants have the same name"
        raise ValueError(message)
    return by_name


def shares(count: int, seed: int) -> Mapping[str, int]:
    """Return the number of mutants per dialect: at least ten if possible, more by operations."""
    minimum = min(_MIN_PER_DIALECT, count // len(DIALECTS))
    sizes = [sum(each.dialect == name for each in OPERATIONS.values()) for name in DIALECTS]
    random = Random(seed)  # noqa: S311 # reproducible, not secret
    additional = random.choices(DIALECTS, sizes, k=count - minimum * len(DIALECTS))
    return {name: minimum + additional.count(name) for name in DIALECTS}


class Sampler:
    """The mutants of a dialect in random order, with the rules in turn.

    A rule with few mutants, such as the one of scopes, is drawn as often as one with thousands,
    until it is exhausted. Successes and refusals alternate as well, because refusals are more
    numerous.
    """

    def __init__(self, dialect: str, seed: int) -> None:
        random = Random(f"{dialect} {seed}")  # noqa: S311 # as above
        groups: dict[str, dict[bool, list[Mutant]]] = {}
        for mutant in all_mutants().values():
            if mutant.operation.dialect == dialect:
                refusing = getattr(mutant, "status", 0) >= HTTPStatus.BAD_REQUEST
                group = groups.setdefault(mutant.rule, {True: [], False: []})
                group[refusing].append(mutant)
        rules = [*groups]
        random.shuffle(rules)
        for group in groups.values():
            for part in group.values():
                random.shuffle(part)
        self._mutants = _interleave([[*_interleave([*groups[rule].values()])] for rule in rules])

    def draw(self) -> Mutant:
        """Return the next mutant.

        Raises:
            StopIteration: All mutants are drawn.
        """
        return next(self._mutants)


def _interleave(groups: Sequence[Sequence[Mutant]]) -> Iterator[Mutant]:
    for turn in range(max(map(len, groups))):
        for group in groups:
            if turn < len(group):
                yield group[turn]
