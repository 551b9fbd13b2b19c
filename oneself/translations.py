"""Message catalogues: the sentences of templates in other languages (gettext)."""

import gettext
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

__all__ = ["SOURCE_LANGUAGE", "CatalogBroken", "Translation", "read_translations"]

#: The language that templates are written in. It needs no catalogue.
SOURCE_LANGUAGE = "en"

# Not `**`, which does not follow symbolic links, and the folders of a ConfigMap are links.
_PATTERN = "*/LC_MESSAGES/oneself.po"
_PLACEHOLDER = re.compile(r"%\((\w+)\)")


class CatalogBroken(Exception):
    """A catalogue that cannot be used: its file, the line if it is known, and the problem."""

    def __init__(self, file: Path, line: int | None, problem: str) -> None:
        super().__init__(problem)
        self.file = file
        self.line = line


@dataclass(frozen=True, slots=True)
class Translation:
    """The messages of one language, and the locale that dates are written in."""

    language: str
    locale: Locale
    messages: gettext.NullTranslations


def read_translations(folders: Sequence[Path]) -> Mapping[str, Translation]:
    """Read the catalogues of all folders; a message of a later folder replaces an earlier one.

    Keys are languages as BCP 47 tags: the folder `pt_BR` is the language `pt-BR`. A message that no
    catalogue translates stays in English, as does a fuzzy one.

    Raises:
        CatalogBroken: A catalogue cannot be read, or a translation cannot be filled in.
    """
    translations = {SOURCE_LANGUAGE: _translation(SOURCE_LANGUAGE, gettext.NullTranslations())}
    for folder in folders:
        for file in sorted(folder.glob(_PATTERN)):
            language = file.parent.parent.name.replace("_", "-")
            catalog = _read_catalog(file, language)
            messages = _compile(file, catalog)
            if language in translations:
                messages.add_fallback(translations[language].messages)
            translations[language] = _translation(language, messages)
    return translations


def _translation(language: str, messages: gettext.NullTranslations) -> Translation:
    return Translation(language, Locale.parse(language, sep="-"), messages)


def _read_catalog(file: Path, language: str) -> Catalog:
    try:
        with file.open("rb") as source:
            catalog = read_po(source, Locale.parse(language, sep="-"), abort_invalid=True)
    except PoFileError as error:
        problem = str(error).rpartition(" on ")[0]
        raise CatalogBroken(file, error.lineno + 1, f"{problem}.") from None
    except (OSError, UnicodeDecodeError) as error:
        problem = f"cannot be read ({type(error).__name__})."
        raise CatalogBroken(file, None, problem) from None
    except (UnknownLocaleError, ValueError):
        raise CatalogBroken(file, None, f"{language!r} is not a known language.") from None
    for message in catalog:
        if message.id and message.string and not message.fuzzy:
            _check_placeholders(file, message)
    return catalog


def _check_placeholders(file: Path, message: Message) -> None:
    """Fill in each form of a translation, so that none fails when a text is rendered."""
    sources = message.id if isinstance(message.id, tuple | list) else (message.id,)
    names = {name for source in sources for name in _PLACEHOLDER.findall(source)} | {"num"}
    strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
    for string in filter(None, strings):
        try:
            string % dict.fromkeys(names, "")
        except (KeyError, TypeError, ValueError) as error:
            problem = f"a placeholder does not fit {sources[0]!r} ({type(error).__name__}: {error})"
            raise CatalogBroken(file, message.lineno, problem) from None


def _compile(file: Path, catalog: Catalog) -> gettext.GNUTranslations:
    compiled = io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    try:
        return gettext.GNUTranslations(compiled)
    except ValueError as error:
        raise CatalogBroken(file, None, f"its Plural-Forms cannot be used ({error}).") from None
