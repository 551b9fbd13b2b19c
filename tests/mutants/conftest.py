"""How many mutants are drawn, and what is said of them at the end."""

import pytest

from tests.support.tables import pytest_terminal_summary, show

__all__ = ["pytest_addoption", "pytest_terminal_summary", "show"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mutants")
    group.addoption("--count", type=int, default=7, help="how many mutants are drawn")
    group.addoption("--seed", type=int, default=1, help="what they are drawn by")
