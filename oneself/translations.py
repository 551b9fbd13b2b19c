"""Message catalogues: the sentences of templates in other languages (gettext)."""

import gettext
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

__all__ = [
    "SOURCE_LANGUAGE",
    "TemplateBroken",
    "Translation",
    "count_untranslated",
    "read_translations",
]

#: The language that templates are written in. It needs no catalogue.
SOURCE_LANGUAGE = "en"

# Not `**`, which does not follow symbolic links, and the folders of a ConfigMap are links.
_PATTERN = "*/LC_MESSAGES/oneself.po"
#: `%(name)s`, or an escaped percent sign, whose name is empty.
_PLACEHOLDER = re.compile(r"%\((\w+)\)s|%%")


class TemplateBroken(Exception):
    """A template or catalogue that cannot be used: its file, the line if known, the problem."""

    def __init__(self, file: Path, line: int | None, problem: str) -> None:
        place = str(file) if line is None else f"{file}, line {line}"
        super().__init__(f"{place}: {problem}")
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True)
class Translation:
    """The messages of one language, and the locale that dates are written in.

    `ids` are the messages that it translates.
    """

    language: str
    locale: Locale
    messages: gettext.NullTranslations
    ids: frozenset[str]


def read_translations(folders: Sequence[Path]) -> Mapping[str, Translation]:
    """Read the catalogues of all folders; a message of a later folder replaces an earlier one.

    Keys are languages as BCP 47 tags: the folder `pt_BR` is the language `pt-BR`. A message that no
    catalogue translates stays in English, as does a fuzzy one.

    Raises:
        TemplateBroken: A catalogue cannot be read, or a translation cannot be filled in.
    """
    untranslated = gettext.NullTranslations()
    translations = {SOURCE_LANGUAGE: _translation(SOURCE_LANGUAGE, untranslated, frozenset())}
    for folder in folders:
        for file in sorted(folder.glob(_PATTERN)):
            language = file.parent.parent.name.replace("_", "-")
            catalog = _read_catalog(file, language)
            messages, ids = _compile(file, catalog), _translated_ids(catalog)
            if language in translations:
                messages.add_fallback(translations[language].messages)
                ids |= translations[language].ids
            translations[language] = _translation(language, messages, ids)
    return translations


def count_untranslated(translations: Mapping[str, Translation]) -> Mapping[str, int]:
    """Count the messages that a language lacks and another one has, for each such language."""
    known = frozenset[str]().union(*(each.ids for each in translations.values()))
    counts = {
        language: len(known - translation.ids)
        for language, translation in translations.items()
        if language != SOURCE_LANGUAGE
    }
    return {language: count for language, count in counts.items() if count}


def _translation(
    language: str, messages: gettext.NullTranslations, ids: frozenset[str]
) -> Translation:
    return Translation(language, Locale.parse(language, sep="-"), messages, ids)


def _translated_ids(catalog: Catalog) -> frozenset[str]:
    return frozenset(
        _forms(message.id)[0]
        for message in catalog
        if message.id and message.string and not message.fuzzy
    )


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
        raise TemplateBroken(file, None, f"cannot be read ({type(error).__name__}).") from None
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
