"""The texts that people read, and those that an operator puts before them."""

import logging
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from oneself.templating import LANGUAGES, TemplateBroken, Templates

ROOT = Path(__file__).parents[3]
NAME = "mail/password_reset.txt.j2"
VALUES = {"host": "accounts.example", "link": "https://accounts.example/reset-password?secret=s"}
SECRET = "ots_canary"


@pytest.fixture
def own(tmp_path):
    return tmp_path / "own"


@pytest.fixture
def put(own):
    """Writes a template of the operator's; returns its file."""

    def put(path, text):
        file = own / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return put


def _render(own, name=NAME, language="de", **values):
    return Templates(own).render(name, language, **(values or VALUES))


# Languages


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("de_CH", "de"),
        ("DE", "de"),
        ("de-Latn-CH-1996", "de"),
        ("en", "en"),
        ("en-GB", "en"),
        ("fr", "en"),
        ("del", "en"),
        ("x-de", "en"),
        ("../de", "en"),
        ("", "en"),
        (None, "en"),
        ("de" * 1000, "en"),
    ],
    ids=str,
)
def test_a_locale_is_read_as_one_of_our_languages(locale, language):
    """UN-05: whatever it is and however long, it becomes a language that has every text."""
    assert Templates().language(locale) == language
    assert language in LANGUAGES


# Where a text is looked for


def test_the_reader_s_language_comes_first():
    """Both are there, and differ."""
    assert "vergessen" in _render(None)
    assert "forgotten" in _render(None, language="en")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([".", "en", "de"], "own de"),
        ([".", "en"], "own en"),
        (["."], "own ."),
        ([], None),
    ],
)
def test_the_operator_s_folder_comes_before_ours(own, put, files, expected):
    """In the reader's language, in English, and without one; only then ours."""
    own.mkdir()
    for folder in files:
        put(f"mail/{folder}/password_reset.txt.j2", f"own {folder}")
    assert _render(own) == (expected or _render(None))


def test_one_file_replaces_one_text_in_one_language(own, put):
    """Neither another language nor another text is touched by it."""
    put("mail/de/password_reset.txt.j2", "Eigen: {{ link }}")
    assert _render(own) == f"Eigen: {VALUES['link']}"
    assert _render(own, language="en") == _render(None, language="en")
    changed = "mail/password_changed.txt.j2"
    assert _render(own, changed) == _render(None, changed)


def test_a_template_knows_its_language(own, put):
    """One in English says so to a reader of German too, and one without words has the reader's."""
    put("mail/en/greeting.txt.j2", "{{ language }}")
    put("mail/sign.txt.j2", "{{ language }}")
    templates = Templates(own)
    assert templates.render("mail/greeting.txt.j2", "de") == "en"
    assert templates.source("mail/greeting.txt.j2", "de").language == "en"
    assert templates.render("mail/sign.txt.j2", "de") == "de"
    assert templates.source("mail/sign.txt.j2", "de").language is None


def test_templates_include_one_another_in_the_same_order(own, put):
    """The layout of an operator is that of our texts too."""
    put("mail/layout.html.j2", "<html lang={{ language }}>own {% block letter %}{% endblock %}")
    html = _render(own, "mail/password_changed.html.j2", host="accounts.example", subject="S")
    assert html.startswith("<html lang=de>own ")
    assert "accounts.example" in html


def test_the_files_are_read_once(own, put):
    """An edit that is half-way, or gone wrong, has no effect on a service that runs."""
    file = put("mail/de/password_reset.txt.j2", "first")
    templates = Templates(own)
    file.write_text("{{ broken", encoding="utf-8")
    assert templates.render(NAME, "de", **VALUES) == "first"
    file.unlink()
    assert templates.render(NAME, "de", **VALUES) == "first"


def test_editors_and_operating_systems_leave_no_trace(own, put):
    """A byte order mark is no text, and what begins with a dot or ends otherwise no template."""
    put("mail/de/password_reset.txt.j2", "\ufeffone\r\ntwo\r\n")
    put("mail/de/.password_reset.txt.j2", "{{ broken")
    put("mail/de/password_reset.txt.j2~", "{{ broken")
    put(".git/de/password_reset.txt.j2", "").write_bytes(b"\xff")
    templates = Templates(own)
    assert templates.render(NAME, "de", **VALUES) == "one\ntwo"
    assert templates.unused("mail") == []


def test_a_mounted_config_map_is_read(own, tmp_path):
    """Its files and folders are symbolic links, and what they lead to begins with two dots."""
    real = tmp_path / "..data" / "mail" / "de"
    real.mkdir(parents=True)
    (real / "password_reset.txt.j2").write_text("mounted", encoding="utf-8")
    own.mkdir()
    (own / "mail").symlink_to(tmp_path / "..data" / "mail")
    assert _render(own) == "mounted"


def test_a_template_that_is_not_there_is_a_mistake_of_ours():
    """It is not passed over."""
    for act in (Templates().render, Templates().render_strictly, Templates().source):
        with pytest.raises(TemplateNotFound):
            act("mail/nothing.txt.j2", "de")


# What a template sees


@pytest.mark.parametrize("name", ["a.html.j2", "a.css.j2", "a.j2", "a.txt.html.j2"])
def test_values_are_escaped_unless_the_text_is_plain(own, put, name):
    """EM-16: whatever a file is called, but for plain text (CVE-2024-55224)."""
    put(f"mail/{name}", "<b>{{ name }}</b>")
    put("mail/a.txt.j2", "<b>{{ name }}</b>")
    hostile = "<img src=x onerror='a'>&"
    templates = Templates(own)
    assert templates.render(f"mail/{name}", "en", name=hostile) == (
        "<b>&lt;img src=x onerror=&#39;a&#39;&gt;&amp;</b>"
    )
    assert templates.render("mail/a.txt.j2", "en", name=hostile) == f"<b>{hostile}</b>"


def test_a_value_is_no_template(own, put):
    """What is written into a name is not looked at for what to do."""
    put("mail/a.txt.j2", "{{ name }}")
    hostile = "{{ 7 * 7 }}{% include 'mail/a.txt.j2' %}"
    assert Templates(own).render("mail/a.txt.j2", "en", name=hostile) == hostile


@pytest.mark.parametrize(
    "word", ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "self.x", "environ"]
)
def test_a_template_sees_its_values_and_nothing_else(own, put, word):
    """Nothing of the program, nor what Jinja adds by itself."""
    put("mail/a.txt.j2", f"{{{{ {word} }}}}")
    with pytest.raises(TemplateBroken, match="UndefinedError"):
        Templates(own).render_strictly("mail/a.txt.j2", "en")


@pytest.mark.parametrize("path", ["../secret.txt.j2", "/etc/hostname", "mail/../../secret.txt.j2"])
def test_a_template_reads_no_other_file(own, put, path):
    """What was read at the start is all there is."""
    (own.parent / "secret.txt.j2").write_text(SECRET, encoding="utf-8")
    put("mail/a.txt.j2", f"{{% include '{path}' %}}")
    with pytest.raises(TemplateBroken, match="TemplateNotFound"):
        Templates(own).render_strictly("mail/a.txt.j2", "en")


# What cannot be used


BROKEN = [
    ("one\n{{ nmae }}", 2, "UndefinedError: 'nmae' is undefined"),
    ("{{ link", 1, "TemplateSyntaxError: unexpected end of template"),
    ("\n\n{% fi %}", 3, "TemplateSyntaxError: Encountered unknown tag 'fi'"),
    ("\n{{ link | unknown }}", 2, "TemplateAssertionError: No filter named 'unknown'"),
    ("\n\n\n{{ link + 1 }}", 4, "TypeError: "),
    ("{{ link | truncate(length=3, end='.....') }}", 1, "AssertionError: "),
    ("\n{% include 'mail/nothing.txt.j2' %}", 2, "TemplateNotFound: mail/nothing.txt.j2"),
    ("{% include 'mail/password_reset.txt.j2' %}", 1, "RecursionError: "),
    ("{{ link.nothing }}", 1, "UndefinedError: "),
]


@pytest.mark.parametrize(("text", "line", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_template_is_named_with_its_line(own, put, text, line, problem):
    """Whoever starts the service knows where to look."""
    file = put("mail/de/password_reset.txt.j2", text)
    with pytest.raises(TemplateBroken) as broken:
        Templates(own).render_strictly(NAME, "de", **VALUES)
    assert (broken.value.file, broken.value.line) == (file, line)
    assert str(broken.value).startswith(f"{file}, line {line}: {problem}")
    assert "\n" not in str(broken.value)


def test_a_template_is_named_that_another_one_has_included(own, put):
    """It is in the layout that something is wrong, and not in each text."""
    file = put("mail/layout.html.j2", "\n{{ logo }}{% block letter %}{% endblock %}")
    with pytest.raises(TemplateBroken) as broken:
        Templates(own).render_strictly("mail/password_changed.html.j2", "de", subject="S", host="h")
    assert (broken.value.file, broken.value.line) == (file, 2)


def test_a_folder_that_is_not_there_is_broken(own, tmp_path):
    """A mistyped setting is not passed over, else nobody would notice for long."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for wrong in (own, tmp_path / "file"):
        with pytest.raises(TemplateBroken, match="is not a folder"):
            Templates(wrong)


def test_a_file_that_cannot_be_read_is_broken(own, put):
    """It is named, whether it is of another encoding or no file at all."""
    file = put("mail/de/password_reset.txt.j2", "")
    file.write_bytes("Gr\u00fc\u00dfe".encode("latin-1"))
    with pytest.raises(TemplateBroken, match="UnicodeDecodeError") as broken:
        Templates(own)
    assert (broken.value.file, broken.value.line) == (file, None)
    file.unlink()
    file.mkdir()
    with pytest.raises(TemplateBroken, match="IsADirectoryError"):
        Templates(own)


def test_what_nothing_is_made_from_is_found(own, put):
    """A mistyped name, and a language that we do not have: both would be waited for in vain."""
    put("mail/de/password_reset.txt.j2", "{% include 'mail/foot.txt.j2' %}")
    put("mail/de/foot.txt.j2", "")
    wrong = [
        put("mail/de/pasword_reset.txt.j2", ""),
        put("mail/fr/password_reset.txt.j2", ""),
    ]
    put("pages/de/another_area.html.j2", "")
    templates = Templates(own)
    templates.render_strictly(NAME, "de", **VALUES)
    assert templates.unused("mail") == wrong


# What fails in the middle of the night


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_what_fails_gives_way_to_ours(own, put, caplog, broken):
    """It is logged once, by its place, and the reader gets what they wait for."""
    text, line, problem = broken
    file = put("mail/de/password_reset.txt.j2", text)
    templates = Templates(own)
    for _ in range(3):
        assert templates.render(NAME, "de", **VALUES) == _render(None)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("oneself.templating", logging.ERROR)
    kind = problem.partition(":")[0]
    assert (record.template, record.line, record.problem) == (str(file), line, kind)


def test_a_layout_that_fails_gives_way_with_all_that_is_in_it(own, put, caplog):
    """A text of the operator's in our layout would be a third that nobody has seen."""
    put("mail/layout.html.j2", "{{ logo }}{% block letter %}{% endblock %}")
    put("mail/de/password_changed.html.j2", "{% extends 'mail/layout.html.j2' %}")
    name, values = "mail/password_changed.html.j2", {"subject": "S", "host": "h"}
    assert _render(own, name, **values) == _render(None, name, **values)
    assert len(caplog.records) == 1


def test_the_log_has_no_value(own, put, caplog):
    """LO-01: Jinja says what was not found, and that may be a secret."""
    put("mail/de/password_reset.txt.j2", "{{ {}[link] }}")
    templates = Templates(own)
    with pytest.raises(TemplateBroken, match=SECRET):
        templates.render_strictly(NAME, "de", host="h", link=SECRET)
    assert SECRET in templates.render(NAME, "de", host="h", link=SECRET)
    assert len(caplog.records) == 1
    assert SECRET not in repr(caplog.records[0].__dict__)


def test_what_fails_of_ours_is_an_error(own, put, caplog):
    """There is nothing to fall back to, and a mail with a gap is none."""
    with pytest.raises(UndefinedError):
        _render(None, host="accounts.example")
    assert caplog.records == []
    put("mail/de/password_reset.txt.j2", "{{ nmae }}")
    with pytest.raises(UndefinedError, match="link"):
        _render(own, host="accounts.example")
