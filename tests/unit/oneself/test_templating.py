"""Templates and translations, and those of an operator's folder over them."""

import logging
from datetime import UTC, datetime, timedelta, timezone

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from oneself.templating import TemplateBroken, Templates
from tests.support.languages import LANGUAGES

NAME = "mail/password_reset.txt.j2"
VALUES = {
    "host": "accounts.example",
    "link": "https://accounts.example/reset-password?secret=s",
    "reset_link": "https://accounts.example/reset-password",
    "ip_address": "192.0.2.7",
    "program": "Firefox, Linux",
    "time": "November 30, 2026, 13:29 UTC",
}
SECRET = "ots_canary"
HEADER = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'


@pytest.fixture
def custom(tmp_path):
    return tmp_path / "custom"


@pytest.fixture
def put(custom):
    """Write a file of the operator's folder, and return its path."""

    def put(path, text):
        file = custom / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return put


@pytest.fixture
def put_catalog(put):
    """Write an operator's catalogue, and return its path."""

    def put_catalog(language, messages, header=HEADER):
        return put(f"locales/{language}/LC_MESSAGES/oneself.po", header + messages)

    return put_catalog


def _render(custom, name=NAME, language="de", **values):
    return Templates(custom).render(name, language, **(values or VALUES))


# Languages


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("de_CH", "de"),
        ("DE", "de"),
        ("de-Latn-CH-1996", "de"),
        ("de-Latn-CH-1996-x-private", "de"),
        ("en", "en"),
        ("en-GB", "en"),
        ("fr", "en"),
        ("del", "en"),
        ("x-de", "en"),
        ("../de", "en"),
        ("", "en"),
        (None, "en"),
        ("de" * 1000, "en"),
        ("-" * 100_000, "en"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_locale_is_matched_to_an_available_language(locale, language):
    """UN-05: every locale, however long, becomes a language that has every text."""
    assert Templates().language(locale) == language
    assert language in LANGUAGES


def test_locale_without_a_language_has_none():
    assert Templates().find_language("de-AT") == "de"
    assert Templates().find_language("fr") is None


def test_text_is_in_the_language_asked_for():
    assert "zurückzusetzen" in _render(None)
    assert "reset" in _render(None, language="en")


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en", "November 30, 2026, 13:29 UTC"), ("de", "30. November 2026, 13:29 UTC")],
)
def test_time_is_written_in_utc_and_in_the_language(language, expected):
    time = datetime(2026, 11, 30, 13, 29, 59, tzinfo=UTC)
    elsewhere = time.astimezone(timezone(timedelta(hours=12)))
    assert Templates().format_time(time, language) == expected
    assert Templates().format_time(elsewhere, language) == expected


# Lookup order


@pytest.mark.parametrize(
    ("folders", "expected"),
    [([".", "en", "de"], "own de"), ([".", "en"], "own ."), (["en"], None), ([], None)],
)
def test_operators_template_replaces_the_shipped_one(custom, put, folders, expected):
    custom.mkdir()
    for folder in folders:
        put(f"mail/{folder}/password_reset.txt.j2", f"own {folder}")
    assert _render(custom) == (expected or _render(None))


def test_template_for_one_language_leaves_other_languages_and_texts_alone(custom, put):
    put("mail/de/password_reset.txt.j2", "Eigen: {{ link }}")
    assert _render(custom) == f"Eigen: {VALUES['link']}"
    assert _render(custom, language="en") == _render(None, language="en")
    name = "mail/password_changed.txt.j2"
    values = VALUES | {"ip_address": ""}
    assert _render(custom, name, **values) == _render(None, name, **values)


def test_template_knows_its_language(custom, put):
    put("mail/sign.txt.j2", "{{ language }}")
    templates = Templates(custom)
    assert [templates.render("mail/sign.txt.j2", each) for each in ("de", "en")] == ["de", "en"]


def test_shipped_template_extends_the_operators_layout(custom, put):
    put("mail/layout.html.j2", "<html lang={{ language }}>own {% block letter %}{% endblock %}")
    html = _render(custom, "mail/password_reset.html.j2", **VALUES, subject="S")
    assert html.startswith("<html lang=de>own ")
    assert "accounts.example" in html


def test_files_are_read_once(custom, put):
    """An edit has no effect on a running service."""
    file = put("mail/de/password_reset.txt.j2", "first")
    templates = Templates(custom)
    file.write_text("{{ broken", encoding="utf-8")
    assert templates.render(NAME, "de", **VALUES) == "first"
    file.unlink()
    assert templates.render(NAME, "de", **VALUES) == "first"


def test_byte_order_marks_and_leftovers_of_editors_are_ignored(custom, put):
    put("mail/de/password_reset.txt.j2", "\ufeffone\r\ntwo\r\n")
    put("mail/de/.password_reset.txt.j2", "{{ broken")
    put("mail/de/password_reset.txt.j2~", "{{ broken")
    put(".git/de/password_reset.txt.j2", "").write_bytes(b"\xff")
    templates = Templates(custom)
    assert templates.render(NAME, "de", **VALUES) == "one\ntwo"
    assert templates.unused("mail") == []


def test_mounted_config_map_is_read(custom, tmp_path):
    """Its files and folders are symbolic links, and their targets begin with two dots."""
    data = tmp_path / "..data"
    (data / "mail" / "de").mkdir(parents=True)
    (data / "mail" / "de" / "password_reset.txt.j2").write_text("mounted", encoding="utf-8")
    catalog = data / "locales" / "fr" / "LC_MESSAGES" / "oneself.po"
    catalog.parent.mkdir(parents=True)
    catalog.write_text(HEADER, encoding="utf-8")
    custom.mkdir()
    for name in ("mail", "locales"):
        (custom / name).symlink_to(data / name)
    assert _render(custom) == "mounted"
    assert "fr" in Templates(custom).languages


def test_missing_template_is_an_error():
    for act in (Templates().render, Templates().render_strictly, Templates().source):
        with pytest.raises(TemplateNotFound):
            act("mail/nothing.txt.j2", "de")


# Translations


def test_shipped_languages_are_available():
    assert Templates().languages == LANGUAGES


def test_operators_catalogue_adds_a_language(custom, put_catalog):
    put_catalog("fr", 'msgid "Reset your password"\nmsgstr "Nouveau mot de passe"\n')
    templates = Templates(custom)
    assert templates.languages == (*LANGUAGES, "fr")
    assert templates.language("fr-CA") == "fr"
    assert templates.render("mail/password_reset.subject.txt.j2", "fr") == "Nouveau mot de passe"
    time = datetime(2026, 8, 1, 13, 29, tzinfo=UTC)
    assert templates.format_time(time, "fr") == "1 août 2026, 13:29 UTC"


def test_untranslated_message_is_in_english(custom, put_catalog):
    put_catalog("fr", '#, fuzzy\nmsgid "Reset your password"\nmsgstr "Presque"\n')
    assert _render(custom, "mail/password_reset.subject.txt.j2", "fr") == "Reset your password"
    assert _render(custom, language="fr") == _render(None, language="en")


def test_untranslated_messages_are_logged(custom, put_catalog, caplog):
    Templates().log_untranslated()
    assert caplog.records == []
    put_catalog("fr", "")
    put_catalog("it", 'msgid "Reset your password"\nmsgstr "Reimposta la password"\n')
    put_catalog("de", 'msgid "Reset your password"\nmsgstr "Umformuliert"\n')
    Templates(custom).log_untranslated()
    french, italian = caplog.records
    assert (french.language, italian.language) == ("fr", "it")
    assert french.messages == italian.messages + 1 > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_operators_catalogue_rewords_single_messages(custom, put_catalog, language):
    put_catalog(language, 'msgid "Reset your password"\nmsgstr "Reworded"\n')
    assert _render(custom, "mail/password_reset.subject.txt.j2", language) == "Reworded"
    assert _render(custom, language=language) == _render(None, language=language)


def test_language_of_a_region_is_found_before_the_language(custom, put_catalog):
    put_catalog("pt", "")
    put_catalog("pt_BR", "")
    templates = Templates(custom)
    locales = ("pt-BR", "pt_br", "pt-PT", "pt")
    assert [templates.language(locale) for locale in locales] == ["pt-BR", "pt-BR", "pt", "pt"]


def test_plural_forms_are_those_of_the_language(custom, put, put_catalog):
    header = HEADER.replace(
        'charset=utf-8\\n"', 'charset=utf-8\\nPlural-Forms: nplurals=2; plural=(n > 1);\\n"'
    )
    put_catalog(
        "fr",
        'msgid "a minute"\nmsgid_plural "%(count)s minutes"\n'
        'msgstr[0] "%(count)s (un)"\nmsgstr[1] "%(count)s (deux)"\n',
        header,
    )
    text = "{% trans count=n %}a minute{% pluralize %}{{ count }} minutes{% endtrans %}"
    put("mail/a.txt.j2", text)
    templates = Templates(custom)
    rendered = [templates.render("mail/a.txt.j2", "fr", n=n) for n in (0, 1, 2)]
    assert rendered == ["0 (un)", "1 (un)", "2 (deux)"]
    rendered = [templates.render("mail/a.txt.j2", "en", n=n) for n in (1, 2)]
    assert rendered == ["a minute", "2 minutes"]


def test_missing_plural_is_in_english(custom, put, put_catalog):
    put_catalog("fr", 'msgid "one"\nmsgid_plural "many"\nmsgstr[0] "un"\nmsgstr[1] ""\n')
    put("mail/a.txt.j2", "{% trans count=n %}one{% pluralize %}many{% endtrans %}")
    templates = Templates(custom)
    assert [templates.render("mail/a.txt.j2", "fr", n=n) for n in (1, 2)] == ["one", "many"]


def test_percent_sign_is_escaped_in_a_message(custom, put, put_catalog):
    put_catalog("fr", 'msgid "100 %% of %(name)s"\nmsgstr "%(name)s : 100 %%"\n')
    put("mail/a.txt.j2", "{{ _('100 %% of %(name)s', name=name) }}")
    templates = Templates(custom)
    rendered = [templates.render("mail/a.txt.j2", each, name="x") for each in ("en", "fr")]
    assert rendered == ["100 % of x", "x : 100 %"]


@pytest.mark.parametrize(
    ("language", "content", "line", "problem"),
    [
        ("fr", 'msgid "Hello %(name)s"\nmsgstr "%(nom)s"\n', 4, "a placeholder is wrong"),
        ("fr", 'msgid "Hello"\nmsgstr "100 %"\n', 4, "a placeholder is wrong"),
        ("fr", 'msgid "Hello %(name)s"\nmsgstr "%(name)d"\n', 4, "a placeholder is wrong"),
        ("fr", 'msgid "Hello"\nmsgstr "%s"\n', 4, "a placeholder is wrong"),
        (
            "de",
            'msgid "a"\nmsgid_plural "b"\nmsgstr[0] "%(x)s"\nmsgstr[1] "c"\n',
            4,
            "a placeholder is wrong",
        ),
        ("fr", "garbage\n", 4, "Unknown or misformatted keyword"),
        ("xx", "", None, "'xx' is not a known language"),
        ("not a language", "", None, "is not a known language"),
    ],
)
def test_broken_catalogue_is_rejected_with_its_place(
    custom, put_catalog, *, language, content, line, problem
):
    file = put_catalog(language, content)
    with pytest.raises(TemplateBroken, match=problem) as broken:
        Templates(custom)
    assert (broken.value.file, broken.value.line) == (file, line)


def test_catalogue_with_broken_plural_forms_is_rejected(custom, put_catalog):
    header = HEADER.replace('\\n"', '\\nPlural-Forms: nplurals=2; plural=(n !;\\n"')
    put_catalog("fr", 'msgid "a"\nmsgstr "b"\n', header)
    with pytest.raises(TemplateBroken, match="Plural-Forms"):
        Templates(custom)


def test_unreadable_catalogue_is_rejected(custom, put_catalog):
    file = put_catalog("fr", "")
    file.write_bytes(b'msgid "\xff"\n')
    with pytest.raises(TemplateBroken, match="UnicodeDecodeError"):
        Templates(custom)
    file.unlink()
    file.mkdir()
    with pytest.raises(TemplateBroken, match="IsADirectoryError"):
        Templates(custom)


# Values


@pytest.mark.parametrize("name", ["a.html.j2", "a.css.j2", "a.j2", "a.txt.html.j2"])
def test_values_are_escaped_except_in_plain_text(custom, put, name):
    """EM-16: for every file name except plain text (CVE-2024-55224)."""
    put(f"mail/{name}", "<b>{{ name }}</b>")
    put("mail/a.txt.j2", "<b>{{ name }}</b>")
    hostile = "<img src=x onerror='a'>&"
    templates = Templates(custom)
    assert templates.render(f"mail/{name}", "en", name=hostile) == (
        "<b>&lt;img src=x onerror=&#39;a&#39;&gt;&amp;</b>"
    )
    assert templates.render("mail/a.txt.j2", "en", name=hostile) == f"<b>{hostile}</b>"


@pytest.mark.parametrize(
    "text", ["{{ _('Hi %(name)s', name=name) }}", "{% trans %}Hi {{ name }}{% endtrans %}"]
)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_values_in_translations_are_escaped_except_in_plain_text(
    custom, put, put_catalog, *, text, language
):
    """EM-16."""
    put_catalog("fr", 'msgid "Hi %(name)s"\nmsgstr "Hi %(name)s"\n')
    put("mail/a.html.j2", text)
    put("mail/a.txt.j2", text)
    hostile = "<img src=x onerror='a'>&%(name)s"
    templates = Templates(custom)
    assert templates.render("mail/a.html.j2", language, name=hostile) == (
        "Hi &lt;img src=x onerror=&#39;a&#39;&gt;&amp;%(name)s"
    )
    assert templates.render("mail/a.txt.j2", language, name=hostile) == f"Hi {hostile}"


def test_value_is_not_rendered_as_a_template(custom, put):
    put("mail/a.txt.j2", "{{ name }}")
    hostile = "{{ 7 * 7 }}{% include 'mail/a.txt.j2' %}"
    assert Templates(custom).render("mail/a.txt.j2", "en", name=hostile) == hostile


@pytest.mark.parametrize(
    "word", ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "self.x", "environ"]
)
def test_template_sees_only_its_values(custom, put, word):
    put("mail/a.txt.j2", f"{{{{ {word} }}}}")
    with pytest.raises(TemplateBroken, match="UndefinedError"):
        Templates(custom).render_strictly("mail/a.txt.j2", "en")


@pytest.mark.parametrize("path", ["../secret.txt.j2", "/etc/hostname", "mail/../../secret.txt.j2"])
def test_template_cannot_include_a_file_of_another_folder(custom, put, path):
    (custom.parent / "secret.txt.j2").write_text(SECRET, encoding="utf-8")
    put("mail/a.txt.j2", f"{{% include '{path}' %}}")
    with pytest.raises(TemplateBroken, match="TemplateNotFound"):
        Templates(custom).render_strictly("mail/a.txt.j2", "en")


# Broken templates


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
    ("\n{{ _('Hello %(name)s') }}", 2, "KeyError: "),
]


@pytest.mark.parametrize(("text", "line", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_broken_template_is_reported_with_its_line(custom, put, text, line, problem):
    file = put("mail/de/password_reset.txt.j2", text)
    with pytest.raises(TemplateBroken) as broken:
        Templates(custom).render_strictly(NAME, "de", **VALUES)
    assert (broken.value.file, broken.value.line) == (file, line)
    assert str(broken.value).startswith(f"{file}, line {line}: {problem}")
    assert "\n" not in str(broken.value)


def test_broken_included_template_is_reported_by_its_own_name(custom, put):
    file = put("mail/layout.html.j2", "\n{{ logo }}{% block letter %}{% endblock %}")
    with pytest.raises(TemplateBroken) as broken:
        Templates(custom).render_strictly(
            "mail/password_reset.html.j2", "de", subject="S", **VALUES
        )
    assert (broken.value.file, broken.value.line) == (file, 2)


def test_missing_template_folder_is_rejected(custom, tmp_path):
    """A mistyped setting must not go unnoticed."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for wrong in (custom, tmp_path / "file"):
        with pytest.raises(TemplateBroken, match="is not a folder"):
            Templates(wrong)


def test_unreadable_template_is_rejected(custom, put):
    file = put("mail/de/password_reset.txt.j2", "")
    file.write_bytes("Gr\u00fc\u00dfe".encode("latin-1"))
    with pytest.raises(TemplateBroken, match="UnicodeDecodeError") as broken:
        Templates(custom)
    assert (broken.value.file, broken.value.line) == (file, None)
    file.unlink()
    file.mkdir()
    with pytest.raises(TemplateBroken, match="IsADirectoryError"):
        Templates(custom)


def test_unused_files_are_reported(custom, put):
    """Among them mistyped names, and languages that have no catalogue."""
    put("mail/de/password_reset.txt.j2", "{% include 'mail/foot.txt.j2' %}")
    put("mail/de/foot.txt.j2", "")
    wrong = [put("mail/de/pasword_reset.txt.j2", ""), put("mail/fr/password_reset.txt.j2", "")]
    put("pages/de/another_area.html.j2", "")
    templates = Templates(custom)
    templates.render_strictly(NAME, "de", **VALUES)
    assert templates.unused("mail") == wrong


# Failures at run time


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_shipped_template_is_used_when_the_operators_fails(custom, put, caplog, broken):
    """The failure is logged once, with its place."""
    text, line, problem = broken
    file = put("mail/de/password_reset.txt.j2", text)
    templates = Templates(custom)
    for _ in range(3):
        assert templates.render(NAME, "de", **VALUES) == _render(None)
    [record] = caplog.records
    assert (record.name, record.levelno) == ("oneself.templating", logging.ERROR)
    kind = problem.partition(":")[0]
    assert (record.template, record.line, record.problem) == (str(file), line, kind)


def test_shipped_template_is_used_in_an_operators_language(custom, put, put_catalog):
    put_catalog("fr", 'msgid "Reset your password"\nmsgstr "Nouveau mot de passe"\n')
    name = "mail/password_reset.subject.txt.j2"
    put(name, "{{ nmae }}")
    assert _render(custom, name, "fr") == "Nouveau mot de passe"


def test_failing_layout_is_replaced_together_with_the_template_in_it(custom, put, caplog):
    """An operator's text in the shipped layout would be a mixture that was never reviewed."""
    put("mail/layout.html.j2", "{{ logo }}{% block letter %}{% endblock %}")
    put("mail/de/password_reset.html.j2", "{% extends 'mail/layout.html.j2' %}")
    name, values = "mail/password_reset.html.j2", VALUES | {"subject": "S"}
    assert _render(custom, name, **values) == _render(None, name, **values)
    assert len(caplog.records) == 1


def test_failure_is_logged_without_values(custom, put, caplog):
    """LO-01: Jinja names what is missing, and that can be a secret."""
    put("mail/de/password_reset.txt.j2", "{{ {}[link] }}")
    templates = Templates(custom)
    values = VALUES | {"link": SECRET}
    with pytest.raises(TemplateBroken, match=SECRET):
        templates.render_strictly(NAME, "de", **values)
    assert SECRET in templates.render(NAME, "de", **values)
    assert len(caplog.records) == 1
    assert SECRET not in repr(caplog.records[0].__dict__)


def test_failing_shipped_template_is_an_error(custom, put, caplog):
    """There is nothing to fall back to, and a mail with a gap must not be sent."""
    with pytest.raises(UndefinedError):
        _render(None, host="accounts.example", time="now")
    assert caplog.records == []
    put("mail/de/password_reset.txt.j2", "{{ nmae }}")
    with pytest.raises(UndefinedError, match="link"):
        _render(custom, host="accounts.example", time="now")
