"""The shipped message catalogues."""

import re
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from tests.support.languages import LANGUAGES

ROOT = Path(__file__).parents[3]
CATALOGS = ROOT / "locales"
PLACEHOLDER = re.compile(r"%\(\w+\)s|%")

every_catalog = pytest.mark.parametrize("language", LANGUAGES[1:])


def _forms(message):
    return message if isinstance(message, tuple | list) else (message,)


@pytest.fixture(scope="module")
def messages():
    """The messages of all templates."""
    with (CATALOGS / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    messages = {
        message
        for folder in ("templates", "openapi")
        for _, _, message, _, _ in extract_from_dir(ROOT / folder, methods, options)
    }
    assert len(messages) > 100
    return messages


def _read(language):
    """Read a catalogue; the first message is its header, whose id is empty."""
    with (CATALOGS / language / "LC_MESSAGES" / "oneself.po").open("rb") as file:
        catalog = read_po(file, language, abort_invalid=True)
    return catalog, [message for message in catalog if message.id]


def test_every_language_but_the_source_language_has_a_catalogue():
    found = {path.parent.parent.name for path in CATALOGS.glob("*/LC_MESSAGES/oneself.po")}
    assert found == set(LANGUAGES[1:])


@every_catalog
def test_every_message_is_translated(messages, language):
    catalog, entries = _read(language)
    translated = [entry for entry in entries if all(_forms(entry.string)) and not entry.fuzzy]
    assert messages - {entry.id for entry in translated} == set()
    plural = [len(entry.string) for entry in translated if entry.pluralizable]
    assert set(plural) == {catalog.num_plurals}


@every_catalog
def test_no_message_is_obsolete(messages, language):
    catalog, entries = _read(language)
    assert {entry.id for entry in entries} - messages == set()
    assert list(catalog.obsolete) == []


@every_catalog
def test_placeholders_agree(language):
    """A singular may leave out the number."""
    _, entries = _read(language)
    for entry in entries:
        sources = [set(PLACEHOLDER.findall(form)) for form in _forms(entry.id)]
        for form in _forms(entry.string):
            assert sources[0] <= set(PLACEHOLDER.findall(form)) <= sources[-1], entry.id


@every_catalog
def test_no_message_has_markup(messages, language):
    """A message is part of HTML, unescaped, and of plain text."""
    _, entries = _read(language)
    forms = {form for entry in entries for form in _forms(entry.string)}
    forms |= {form for message in messages for form in _forms(message)}
    assert [form for form in forms if re.search("[<>&]", form)] == []
