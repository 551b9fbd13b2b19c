"""How many mutants are drawn."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mutants")
    group.addoption("--count", type=int, default=7, help="how many mutants are drawn")
    group.addoption("--seed", type=int, default=1, help="what they are drawn by")
