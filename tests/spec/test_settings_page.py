"""docs/settings.md lists each setting as the code declares it."""

from pathlib import Path

from oneself.settings import Settings
from oneself.settings_page import settings_page

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()


def test_settings_page_is_up_to_date():
    """`tox run -e codegen` updates it."""
    assert settings_page() == PAGE


def test_settings_page_has_a_heading_per_setting():
    headings = [line.strip("# `") for line in PAGE.splitlines() if line.startswith("### ")]
    assert headings == [f"ONESELF_{name.upper()}" for name in Settings.model_fields]
