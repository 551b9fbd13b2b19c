"""Message catalogues: the sentences of templates in other languages (gettext)."""

import gettext
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

#: The language that templates are written in. It needs no catalogue.
SOURCE_LANGUAGE = "en"

# Not `**`, which does not follow symbolic links, and the folders of a ConfigMap are links.
_PATTERN = "*/LC_MESSAGES/oneself.po"
#: `%(name)s`, or an escaped percent sign, whose name is empty.
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")


class TemplateBroken(Exception):
    """A template or catalogue that cannot be used: its file, the line if it is known, and why."""

    def __init__(self, file: Path, line: int | None, problem: str) -> None:
        place = str(file) if line is None else f"{file}, line {line}"
        super().__init__(f"{place}: {problem}")
        self.file = file
        self.line = line


class Translation(NamedTuple):
    """The messages of one language; `ids` are those that it translates."""

    language: str
    messages: gettext.NullTranslations
    ids: frozenset[str]


def read_translations(folders: Sequence[Path]) -> Mapping[str, Translation]:
    """Read the catalogues of all folders; a message of a later folder replaces an earlier one.

    Keys are languages as BCP 47 tags: the folder `pt_BR` is the language `pt-BR`. A message that no
    catalogue translates stays in English, as does a fuzzy one.

    Raises:
        TemplateBroken: A catalogue cannot be read, or a translation cannot be filled in.
    """
    untranslated = Translation(SOURCE_LANGUAGE, gettext.NullTranslations(), frozenset())
    translations = {SOURCE_LANGUAGE: untranslated}
    for folder in folders:
        for file in sorted(folder.glob(_PATTERN)):
            language = file.parent.parent.name.replace("_", "-")
            catalog = _read_catalog(file, language)
            messages = _compile(file, catalog)
            translated = (message for message in catalog if message.string and not message.fuzzy)
            ids = frozenset(_forms(message.id)[0] for message in translated if message.id)
            if language in translations:
                messages.add_fallback(translations[language].messages)
                ids |= translations[language].ids
            translations[language] = Translation(language, messages, ids)
    return translations


def _forms(text: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the singular and the plurals of a message, or its only form."""
    return (text,) if isinstance(text, str) else tuple(text or ())


def _read_catalog(file: Path, language: str) -> Catalog:
    try:
        with file.open("rb") as source:
            catalog = read_po(source, Locale.parse(language, sep="-"), abort_invalid=True)
    except PoFileError as error:
        problem = str(error).rpartition(" on ")[0]
        raise TemplateBroken(file, error.lineno + 1, f"{problem}.") from None
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({type(error).__name__})."
        raise TemplateBroken(file, None, problem) from None
    except (UnknownLocaleError, ValueError):
        raise TemplateBroken(file, None, f"{language!r} is not a known language.") from None
    for message in catalog:
        if not all(_forms(message.string)):
            # A missing plural would be compiled as an empty text.
            message.string = ""
        if message.id and not message.fuzzy:
            _check_placeholders(file, message)
    return catalog


def _check_placeholders(file: Path, message: Message) -> None:
    """Reject a translation that would fail, or show a placeholder, when it is rendered."""
    sources = _forms(message.id)
    names = {name for source in sources for name in _PLACEHOLDER.findall(source)} | {"num", ""}
    for string in _forms(message.string):
        unknown = set(_PLACEHOLDER.findall(string)) - names
        if unknown or "%" in _PLACEHOLDER.sub("", string):
            problem = f"a placeholder is wrong in the translation of {sources[0]!r}."
            raise TemplateBroken(file, message.lineno, problem)


def _compile(file: Path, catalog: Catalog) -> gettext.GNUTranslations:
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    try:
        return gettext.GNUTranslations(compiled)
    except ValueError as error:
        raise TemplateBroken(file, None, f"its Plural-Forms cannot be used ({error}).") from None
