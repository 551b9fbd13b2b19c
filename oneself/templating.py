"""The texts that people read, in each language, of which an operator may replace any."""

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    TemplateNotFound,
    select_autoescape,
)

__all__ = ["LANGUAGES", "NoTemplateFolder", "Source", "TemplateBroken", "Templates"]

_log = logging.getLogger("oneself.templating")

#: Those that have every text. The first is for whoever reads none of them.
LANGUAGES = ("en", "de")

_SHIPPED = Path(__file__).parent.parent / "templates"
# Not `**`, which passes by folders that are symbolic links, as those of a ConfigMap are.
_PATTERNS = ("*/*.j2", "*/*/*.j2")


class TemplateBroken(Exception):
    """A template that cannot be used: its file, the line if it is known, and what is wrong."""

    def __init__(self, file: Path, line: int | None, problem: str) -> None:
        place = str(file) if line is None else f"{file}, line {line}"
        super().__init__(f"{place}: {problem}")
        self.file = file
        self.line = line


class NoTemplateFolder(TemplateBroken):
    """The setting names no folder, so that no template is at fault."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, "is not a folder, as ONESELF_TEMPLATE_DIR must be.")


class Source(NamedTuple):
    """A template as it was read; its language is None if it has no words in it."""

    name: str
    language: str | None
    file: Path
    text: str


class Templates:
    """The templates of the checkout, behind those of an operator's own folder if there is one.

    The name `mail/pat_created.txt.j2` is found in `mail/<language>/pat_created.txt.j2`, else there
    in English, else in `mail/pat_created.txt.j2`: first in the operator's folder, then in ours. The
    files are read once, so that what is edited meanwhile, and half-way, changes nothing.
    """

    def __init__(self, own: Path | None = None) -> None:
        """Read the files.

        Raises:
            NoTemplateFolder: The operator's folder is none.
            TemplateBroken: A file of it cannot be read.
        """
        shipped = _read(_SHIPPED)
        self._own = _read(own) if own is not None else []
        self._shipped = {each: _Shelf(each, shipped) for each in LANGUAGES}
        self._shelves = {each: _Shelf(each, shipped, self._own) for each in LANGUAGES}
        self._logged: set[Source] = set()

    def language(self, locale: str | None) -> str:
        """The language to write in to somebody of this locale (BCP 47), or of none."""
        language = (locale or "").replace("_", "-").partition("-")[0].lower()
        return language if language in LANGUAGES else LANGUAGES[0]

    def source(self, name: str, language: str) -> Source:
        """The template that a name has in a language.

        Raises:
            jinja2.TemplateNotFound: There is none, in no language.
        """
        return self._shelves[language].source(name)

    def render(self, name: str, language: str, /, **values: object) -> str:
        """Write a text. Its template sees these values, and `language`, which it is in.

        An operator's template that fails is logged once, and ours is taken: it may be of a kind
        that `render_strictly` cannot find, and somebody waits for the text.

        Raises:
            jinja2.TemplateError: Ours fails, for want of a value or of the template itself.
        """
        try:
            return self._shelves[language].render(name, values)
        except Exception as error:
            if not self._own:
                raise
            self._log_once(self.source(name, language), error)
        return self._shipped[language].render(name, values)

    def render_strictly(self, name: str, language: str, /, **values: object) -> str:
        """Write a text from samples, to find out whether its template can be used.

        Raises:
            TemplateBroken: It cannot. The values may be in the message.
        """
        source = self.source(name, language)
        try:
            return self._shelves[language].render(name, values)
        except Exception as error:  # noqa: BLE001 # whatever it is, the template is the reason
            file, line = _place(error) or (source.file, None)
            raise TemplateBroken(file, line, f"{type(error).__name__}: {error}") from None

    def unused(self, area: str) -> Sequence[Path]:
        """The operator's files for `mail`, say, that nothing was made from so far."""
        used = set[Path]().union(*(shelf.used for shelf in self._shelves.values()))
        files = {source.file for source in self._own if source.name.startswith(f"{area}/")}
        return sorted(files - used)

    def _log_once(self, source: Source, error: Exception) -> None:
        if source in self._logged:
            return
        self._logged.add(source)
        file, line = _place(error) or (source.file, None)
        # Not what the error says: Jinja names what it did not find, which can be a value.
        problem = type(error).__name__
        extra = {"template": str(file), "line": line, "problem": problem}
        _log.error("a template failed, and the shipped one is used", extra=extra)


class _Shelf(BaseLoader):
    """The templates as they are for one language; each is compiled when it is first used."""

    def __init__(self, language: str, *folders: Sequence[Source]) -> None:
        """Put the folders on one another, the last on top."""
        self._language = language
        self._sources = {
            source.name: source
            for folder in folders
            for wanted in (None, LANGUAGES[0], language)
            for source in folder
            if source.language == wanted
        }
        self.used: set[Path] = set()
        self._environment = Environment(
            loader=self,
            # All but plain text: a name that nobody thought of is escaped.
            autoescape=select_autoescape((), ("txt.j2",), default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        # `range`, `lipsum` and the like; a template has the values that it is given.
        self._environment.globals.clear()

    def source(self, name: str) -> Source:
        if name not in self._sources:
            raise TemplateNotFound(name)
        return self._sources[name]

    def get_source(
        self,
        environment: Environment,  # noqa: ARG002 # it is Jinja that gives it
        template: str,
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        """Give Jinja what it asks for, by `extends` and `include` too."""
        source = self.source(template)
        self.used.add(source.file)
        return source.text, str(source.file), None

    def render(self, name: str, values: Mapping[str, object]) -> str:
        language = self.source(name).language or self._language
        return self._environment.get_template(name).render(values, language=language)


def _read(folder: Path) -> list[Source]:
    """Read the templates of a folder.

    Raises:
        NoTemplateFolder: It is none.
        TemplateBroken: A file cannot be read.
    """
    if not folder.is_dir():
        raise NoTemplateFolder(folder)
    sources = []
    for path in sorted(path for pattern in _PATTERNS for path in folder.glob(pattern)):
        area, *between, name = path.relative_to(folder).parts
        # With a dot begin what editors leave, and the former contents of a ConfigMap.
        if area.startswith(".") or name.startswith("."):
            continue
        try:
            text = path.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TemplateBroken(path, None, f"cannot be read ({type(error).__name__}).") from None
        language = between[0] if between else None
        sources.append(Source(f"{area}/{name}", language, path, text))
    return sources


def _place(error: Exception) -> tuple[Path, int] | None:
    """The file and line of a template that an error comes from; Jinja has them in the traceback."""
    frames = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.endswith(".j2")
    ]
    return frames[-1] if frames else None
