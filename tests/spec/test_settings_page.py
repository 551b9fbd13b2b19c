"""docs/settings.md lists each setting as the code declares it."""

from pathlib import Path
from typing import get_args

from pydantic import SecretStr

from oneself.settings import Settings
from oneself.settings_page import settings_page

SECRETS = {
    name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation)
}
FILES = {f"{name}_file" for name in SECRETS}
PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()


def test_settings_page_is_up_to_date():
    """`tox run -e codegen` updates it."""
    assert settings_page() == PAGE


def test_settings_page_has_a_heading_per_setting():
    headings = [line.strip("# `") for line in PAGE.splitlines() if line.startswith("### ")]
    names = [f"ONESELF_{name.upper()}" for name in Settings.model_fields if name not in FILES]
    assert sorted(headings) == sorted(names)


def test_settings_page_names_the_file_of_each_secret():
    """Attack finding 22."""
    assert "secret_key_file" in FILES
    assert all(f"From a file: `ONESELF_{name.upper()}`." in PAGE for name in FILES)
