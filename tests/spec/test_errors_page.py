"""docs/errors.md lists each code as the refusals of the conformance tests explain it."""

from pathlib import Path

import pytest

from oneself.document import load_document
from oneself.error_catalogue import errors_page, read_catalogue
from oneself.http.response.dialects import dialect_of
from oneself.http.response.error_handler import status_of
from tests.support.error_classes import ALL_REFUSALS

PAGE = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
ENTRIES = read_catalogue(load_document())


def test_errors_page_is_up_to_date():
    """Contract section 6.6. `tox run -e codegen` updates it."""
    assert errors_page() == PAGE


def test_errors_page_has_a_heading_per_code():
    headings = [line.removeprefix("## ") for line in PAGE.splitlines() if line.startswith("## ")]
    assert headings == [each.code for each in ENTRIES]
    assert set(headings) == {each.code for each in ALL_REFUSALS.values()}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_catalogue_has_the_statuses_that_the_service_uses(entry):
    """Contract section 6.6."""
    [kind] = [each for each in ALL_REFUSALS.values() if each.code == entry.code]
    refusal = kind.__new__(kind)
    assert entry.statuses == {
        dialect: status_of(refusal, dialect_of(dialect)) for dialect in entry.statuses
    }
    listed = [dialect for dialects in entry.by_status.values() for dialect in dialects]
    assert sorted(listed) == sorted(entry.statuses)
    assert listed


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_catalogue_has_whole_sentences_without_markup(entry):
    for text in (entry.meaning, entry.action):
        assert text[0].isupper()
        assert text.endswith(".")
        assert not set(text) & set("<>&`*%")
