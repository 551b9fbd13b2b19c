"""Whoever breaks a promise of the document fails the suite, whichever promise it is.

`tox run -e mutants -- --seed 2` draws others. Mutants are made by rule from the document, and the
suite is the one of `python -m oneself prove`: the rows, then the fuzzer, about the one operation.
"""

from collections.abc import Callable, Iterator

import pytest
from rich.table import Table

from tests.mutants.drawing import DIALECTS, RULES, Deck, every_mutant, shares
from tests.mutants.judging import End, Judged, Laboratory
from tests.support.service import started


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dialect" in metafunc.fixturenames:
        given = shares(_option(metafunc.config, "count", 7), _option(metafunc.config, "seed", 1))
        drawn = [(name, number) for name in DIALECTS for number in range(1, given[name] + 1)]
        metafunc.parametrize(
            "dialect", [name for name, _ in drawn], ids=[f"{name}-{n}" for name, n in drawn]
        )


def _option(config: pytest.Config, name: str, usual: int) -> int:
    # Where tests of other folders run as well, this one may be found too late for its options.
    return int(config.getoption(name, usual))


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("mutants")
    # The suite has to find out, and not the service by itself.
    settings = {"validate_responses": 0}
    with started(folder, module="tests.mutants.serving", **settings) as service:
        yield Laboratory(service, suites=("rows", "fuzz"))


@pytest.fixture(scope="module")
def decks(pytestconfig: pytest.Config) -> dict[str, Deck]:
    seed = _option(pytestconfig, "seed", 1)
    return {name: Deck(name, seed) for name in DIALECTS}


@pytest.fixture(scope="module")
def judged(pytestconfig: pytest.Config, show: Callable[[Table], None]) -> Iterator[list[Judged]]:
    found: list[Judged] = []
    yield found
    seed = _option(pytestconfig, "seed", 1)
    show(
        _counted(
            found, f"Mutants by dialect, seed {seed}", lambda each: each.mutant.operation.dialect
        )
    )
    show(_counted(found, "Mutants by rule", lambda each: each.mutant.rule))
    show(_told(found))


def test_the_suite_fails_on_a_mutant(
    dialect: str, decks: dict[str, Deck], laboratory: Laboratory, judged: list[Judged]
):
    while True:
        judged.append(laboratory.judge(decks[dialect].draw()))
        if judged[-1].end is not End.EQUIVALENT:
            break
    if judged[-1].end is End.SURVIVED:
        pytest.fail(f"{judged[-1].mutant} keeps every promise", pytrace=False)


def test_every_rule_knows_mutants_and_every_dialect_at_least_ten():
    made = [*every_mutant().values()]
    assert {each.rule for each in made} == {rule.__name__ for rule in RULES}
    for dialect in DIALECTS:
        assert sum(each.operation.dialect == dialect for each in made) >= 10


def test_a_seed_draws_the_same_again_and_another_seed_others():
    first, again, other = ([Deck("ipto", seed).draw() for _ in range(1)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_hundred_are_at_least_ten_of_each_dialect():
    given = shares(100, seed=1)
    assert sum(given.values()) == 100
    assert min(given.values()) >= 10


def _counted(found: list[Judged], title: str, key: Callable[[Judged], str]) -> Table:
    table = Table(title=title)
    table.add_column("")
    for name in ("drawn", "killed by rows", "by fuzz", "survived", "equivalent", "seconds"):
        table.add_column(name, justify="right")
    for name in [*dict.fromkeys(key(each) for each in found), "all"]:
        of_name = [each for each in found if name in {key(each), "all"}]
        ends = [(each.end, each.suite) for each in of_name]
        equivalent = ends.count((End.EQUIVALENT, ""))
        table.add_row(
            name,
            str(len(ends) - equivalent),
            str(ends.count((End.KILLED, "rows"))),
            str(ends.count((End.KILLED, "fuzz"))),
            str(ends.count((End.SURVIVED, ""))),
            str(equivalent),
            f"{sum(each.seconds for each in of_name):.0f}",
        )
    return table


def _told(found: list[Judged]) -> Table:
    table = Table(title="What became of each")
    for name in ("mutant", "end", "why"):
        table.add_column(name, overflow="fold")
    table.add_column("seconds", justify="right")
    for each in found:
        end = f"{each.end} by {each.suite}" if each.suite else each.end
        table.add_row(str(each.mutant), end, each.why[:200], f"{each.seconds:.1f}")
    return table
