"""Options of the mutation tests."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mutants")
    group.addoption("--count", type=int, default=7, help="number of mutants to draw")
    group.addoption("--seed", type=int, default=1, help="seed of the draw")
