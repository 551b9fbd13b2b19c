"""Mutation tests: the conformance suite fails on every mutant of the service.

Mutants are derived from the document by rules; `pytest tests/mutants --seed 2` draws others. The
suite is that of `python -m oneself prove`: the rows, then the fuzzer, for the mutated operation.
"""

from collections.abc import Callable, Iterator

import pytest
from rich.table import Table

from tests.mutants.sampling import DIALECTS, RULES, Sampler, all_mutants, shares
from tests.mutants.trials import Fate, MutantRunner, Trial
from tests.support.service import started


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dialect" in metafunc.fixturenames:
        counts = shares(_option(metafunc.config, "count", 7), _option(metafunc.config, "seed", 1))
        drawn = [(name, number) for name in DIALECTS for number in range(1, counts[name] + 1)]
        metafunc.parametrize(
            "dialect", [name for name, _ in drawn], ids=[f"{name}-{n}" for name, n in drawn]
        )


def _option(config: pytest.Config, name: str, default: int) -> int:
    # When tests of other folders run as well, this conftest may load too late for its options.
    return int(config.getoption(name, default))


@pytest.fixture(scope="module")
def mutant_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MutantRunner]:
    folder = tmp_path_factory.mktemp("mutants")
    # The suite must detect the mutants, not the service.
    settings = {"validate_responses": 0}
    with started(folder, module="tests.mutants.serving", **settings) as service:
        yield MutantRunner(service, suites=("rows", "fuzz"))


@pytest.fixture(scope="module")
def samplers(pytestconfig: pytest.Config) -> dict[str, Sampler]:
    seed = _option(pytestconfig, "seed", 1)
    return {name: Sampler(name, seed) for name in DIALECTS}


@pytest.fixture(scope="module")
def trials(pytestconfig: pytest.Config, show: Callable[[Table], None]) -> Iterator[list[Trial]]:
    trials: list[Trial] = []
    yield trials
    seed = _option(pytestconfig, "seed", 1)
    show(
        _count_table(
            trials, f"Mutants by dialect, seed {seed}", lambda each: each.mutant.operation.dialect
        )
    )
    show(_count_table(trials, "Mutants by rule", lambda each: each.mutant.rule))
    show(_trial_table(trials))


def test_suite_kills_mutant(
    dialect: str, samplers: dict[str, Sampler], mutant_runner: MutantRunner, trials: list[Trial]
):
    while True:
        trials.append(mutant_runner.run(samplers[dialect].draw()))
        if trials[-1].fate is not Fate.EQUIVALENT:
            break
    if trials[-1].fate is Fate.SURVIVED:
        pytest.fail(f"{trials[-1].mutant} passes every test", pytrace=False)


def test_every_rule_has_mutants_and_every_dialect_at_least_ten():
    mutants = [*all_mutants().values()]
    assert {each.rule for each in mutants} == {rule.__name__ for rule in RULES}
    for dialect in DIALECTS:
        assert sum(each.operation.dialect == dialect for each in mutants) >= 10


def test_sample_depends_only_on_the_seed():
    first, again, different = (
        [Sampler("ipto", seed).draw() for _ in range(1)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != different


def test_hundred_mutants_include_ten_of_each_dialect():
    counts = shares(100, seed=1)
    assert sum(counts.values()) == 100
    assert min(counts.values()) >= 10


def _count_table(trials: list[Trial], title: str, key: Callable[[Trial], str]) -> Table:
    table = Table(title=title)
    table.add_column("")
    for name in ("drawn", "killed by rows", "by fuzz", "survived", "equivalent", "seconds"):
        table.add_column(name, justify="right")
    for name in [*dict.fromkeys(key(each) for each in trials), "all"]:
        of_name = [each for each in trials if name in {key(each), "all"}]
        fates = [(each.fate, each.suite) for each in of_name]
        equivalent = fates.count((Fate.EQUIVALENT, ""))
        table.add_row(
            name,
            str(len(fates) - equivalent),
            str(fates.count((Fate.KILLED, "rows"))),
            str(fates.count((Fate.KILLED, "fuzz"))),
            str(fates.count((Fate.SURVIVED, ""))),
            str(equivalent),
            f"{sum(each.seconds for each in of_name):.0f}",
        )
    return table


def _trial_table(trials: list[Trial]) -> Table:
    table = Table(title="Fates")
    for name in ("mutant", "fate", "why"):
        table.add_column(name, overflow="fold")
    table.add_column("seconds", justify="right")
    for each in trials:
        fate = f"{each.fate} by {each.suite}" if each.suite else each.fate
        table.add_row(str(each.mutant), fate, each.why[:200], f"{each.seconds:.1f}")
    return table
