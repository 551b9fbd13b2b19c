"""What the judges say at the end."""

from tests.support.tables import pytest_terminal_summary, show

__all__ = ["pytest_terminal_summary", "show"]
