"""Mail and page templates, which an operator can replace and translate."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import CodeType
from typing import NamedTuple

from babel import Locale
from babel.dates import format_date
from jinja2 import (
    BytecodeCache,
    Environment,
    FunctionLoader,
    StrictUndefined,
    TemplateNotFound,
    select_autoescape,
)
from jinja2.bccache import Bucket
from jinja2.defaults import DEFAULT_NAMESPACE

from oneself.branding.brand import Brand
from oneself.translations import SOURCE_LANGUAGE, TemplateBroken, Translation, read_translations

__all__ = ["NoTemplateFolder", "Source", "TemplateBroken", "Templates"]

_log = logging.getLogger("oneself.templating")

_ROOT = Path(__file__).parent.parent
_SHIPPED = _ROOT / "templates"
_CATALOGS = _ROOT / "locales"
#: The folder of catalogues within an operator's folder.
_CUSTOM_CATALOGS = "locales"
# Not `**`, which does not follow symbolic links, and the folders of a ConfigMap are links.
_PATTERNS = ("*/*.j2", "*/*/*.j2")
#: A locale is looked up by its first subtags only, so that a long one costs little.
_MOST_SUBTAGS = 4


class _Compiled(BytecodeCache):
    """The code of templates by file and content, for every environment of this process.

    All have the same options; they differ in their translations only. Without this each template
    is compiled once per language, which takes most of the start of mail delivery.
    """

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _Compiled()


class NoTemplateFolder(TemplateBroken):
    """The setting does not name a folder, so the setting is wrong and not a template."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, "is not a folder, as ONESELF_TEMPLATE_DIR must be.")


class Source(NamedTuple):
    """The text of a template file; `language` is None unless it is for one language only."""

    name: str
    language: str | None
    file: Path
    text: str


class Templates:
    """The shipped templates and translations, and those of an operator's folder over them.

    The name `mail/pat_created.txt.j2` is looked up in the operator's folder first, as
    `mail/<language>/pat_created.txt.j2` and then as `mail/pat_created.txt.j2`, and then among the
    shipped templates. All files are read once, so a later edit has no effect on a running service.
    """

    def __init__(self, custom: Path | None = None, *, brand: Brand = Brand()) -> None:  # noqa: B008 # immutable
        """Read the files. All templates, and the macros that they import, have the `brand`.

        Raises:
            NoTemplateFolder: The operator's folder is not a folder.
            TemplateBroken: A template or a catalogue cannot be read.
        """
        shipped = _read(_SHIPPED)
        self.brand = brand
        self._custom = _read(custom) if custom is not None else []
        folders = [_CATALOGS] if custom is None else [_CATALOGS, custom / _CUSTOM_CATALOGS]
        self._translations = translations = read_translations(folders)
        #: The languages that texts can be written in, as BCP 47 tags.
        self.languages = tuple(translations)
        self._tags = {language.lower(): language for language in translations}
        self._shipped = {
            language: _LanguageTemplates(translation, brand, shipped)
            for language, translation in translations.items()
        }
        self._by_language = {
            language: _LanguageTemplates(translation, brand, shipped, self._custom)
            for language, translation in translations.items()
        }
        self._logged: set[Source] = set()

    def find_language(self, locale: str | None) -> str | None:
        """Return the language of a locale (a BCP 47 tag), or None if there is none for it."""
        subtags = (locale or "").replace("_", "-").lower().split("-")[:_MOST_SUBTAGS]
        tags = ("-".join(subtags[:length]) for length in range(len(subtags), 0, -1))
        return next((self._tags[tag] for tag in tags if tag in self._tags), None)

    def language(self, locale: str | None) -> str:
        """Return the language to write in to a reader of this locale."""
        return self.find_language(locale) or SOURCE_LANGUAGE

    def source(self, name: str, language: str) -> Source:
        """Return the file that a name stands for in a language.

        Raises:
            jinja2.TemplateNotFound: No file has this name.
        """
        return self._by_language[language].source(name)

    def format_time(self, time: datetime, language: str) -> str:
        """Write a time in UTC to the minute, as in "November 30, 2026, 13:29 UTC"."""
        in_utc = time.astimezone(UTC)
        date = format_date(in_utc, "long", locale=Locale.parse(language, sep="-"))
        return f"{date}, {in_utc:%H:%M} UTC"

    def render(self, name: str, language: str, /, **values: object) -> str:
        """Render a template with these values and `language`.

        If an operator's template fails, log it once and use the shipped one: a reader waits for the
        text, and `render_strictly` does not find every failure beforehand.

        Raises:
            jinja2.TemplateError: The shipped template fails: a value or the template is missing.
        """
        try:
            return self._by_language[language].render(name, values)
        except Exception as error:
            if not self._custom:
                raise
            self._log_once(self.source(name, language), error)
        return self._shipped[language].render(name, values)

    def render_strictly(self, name: str, language: str, /, **values: object) -> str:
        """Render a template with sample values, to find out whether it can be used.

        Raises:
            TemplateBroken: It cannot. The message can contain the values.
        """
        source = self.source(name, language)
        try:
            return self._by_language[language].render(name, values)
        except Exception as error:  # noqa: BLE001 # any failure is the template's
            file, line = _error_location(error, source)
            raise TemplateBroken(file, line, f"{type(error).__name__}: {error}") from None

    def log_untranslated(self) -> None:
        """Warn of each language that lacks messages of another, which are then in English."""
        known = frozenset[str]().union(*(each.ids for each in self._translations.values()))
        for language, translation in self._translations.items():
            missing = len(known - translation.ids)
            if missing and language != SOURCE_LANGUAGE:
                extra = {"language": language, "messages": missing}
                _log.warning("messages are not translated", extra=extra)

    def unused(self, area: str) -> Sequence[Path]:
        """Return the operator's files of an area, such as `mail`, that no text was made from."""
        used = set[Path]().union(*(templates.used for templates in self._by_language.values()))
        files = {source.file for source in self._custom if source.name.startswith(f"{area}/")}
        return sorted(files - used)

    def _log_once(self, source: Source, error: Exception) -> None:
        if source in self._logged:
            return
        self._logged.add(source)
        file, line = _error_location(error, source)
        # Without the error's message: Jinja names what is missing, which can be a value.
        problem = type(error).__name__
        extra = {"template": str(file), "line": line, "problem": problem}
        _log.error("a template failed, and the shipped one is used", extra=extra)


class _LanguageTemplates:
    """The templates as they are in one language; each is compiled at its first use."""

    def __init__(self, translation: Translation, brand: Brand, *folders: Sequence[Source]) -> None:
        """Collect the templates; those of a later folder replace those of an earlier one."""
        self._language = translation.language
        self._sources = {
            source.name: source
            for folder in folders
            for language in (None, translation.language)
            for source in folder
            if source.language == language
        }
        self.used: set[Path] = set()
        self._environment = Environment(
            loader=FunctionLoader(self._load),
            # Everything is escaped but plain text, so that an unforeseen name is escaped too.
            autoescape=select_autoescape((), ("txt.j2",), default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
            bytecode_cache=_COMPILED,
            extensions=["jinja2.ext.i18n"],
        )
        # A template sees its values, `brand` and `_`, but not `range`, `lipsum` and the like.
        for name in DEFAULT_NAMESPACE:
            self._environment.globals.pop(name, None)
        self._environment.globals["brand"] = brand
        self._environment.policies["ext.i18n.trimmed"] = True
        # `newstyle` fills in placeholders with escaped values. In HTML the translation itself is
        # markup, as the template is: both are an operator's or ours, never a user's.
        self._environment.install_gettext_translations(  # type: ignore[attr-defined] # by extension
            translation.messages, newstyle=True
        )

    def source(self, name: str) -> Source:
        if name not in self._sources:
            raise TemplateNotFound(name)
        return self._sources[name]

    def _load(self, name: str) -> tuple[str, str, None]:
        """Return a template to Jinja; called for `extends` and `include` too."""
        source = self.source(name)
        self.used.add(source.file)
        return source.text, str(source.file), None

    def render(self, name: str, values: Mapping[str, object]) -> str:
        template = self._environment.get_template(name)
        return template.render(values, language=self._language)


def _read(folder: Path) -> list[Source]:
    """Read the templates of a folder.

    Raises:
        NoTemplateFolder: It is not a folder.
        TemplateBroken: A file cannot be read.
    """
    if not folder.is_dir():
        raise NoTemplateFolder(folder)
    sources = []
    for path in sorted(path for pattern in _PATTERNS for path in folder.glob(pattern)):
        area, *between, name = path.relative_to(folder).parts
        # Editors' leftovers and earlier contents of a ConfigMap begin with a dot.
        if area.startswith(".") or name.startswith("."):
            continue
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateBroken(path, None, f"cannot be read ({type(error).__name__}).") from None
        language = between[0].replace("_", "-") if between else None
        sources.append(Source(f"{area}/{name}", language, path, text))
    return sources


def _error_location(error: Exception, source: Source) -> tuple[Path, int | None]:
    """Return the file and line of the template that raised an error, as far as they are known."""
    frames = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.endswith(".j2")
    ]
    return frames[-1] if frames else (source.file, None)
