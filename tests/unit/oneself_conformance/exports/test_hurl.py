"""Rows as Hurl files: each is of the published grammar, and asserts what its row does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from oneself_conformance.cases.matching import Other, Pattern, PublicUrl, UnixTime
from oneself_conformance.cli import main
from oneself_conformance.exports.hurl_syntax import (
    Captured,
    Entry,
    NotExpressible,
    assert_body,
    assert_header,
    pointer_query,
)
from oneself_conformance.http_client import Request
from tests.support.hurl_files import read_hurl, run_hurl
from tests.support.reimplementation import serving_reimplementation


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hurl") / "all"
    assert main(["--export", "hurl", str(folder)]) == 0
    return folder


def test_each_file_is_of_the_grammar(exported: Path):
    files = [*exported.rglob("*.hurl")]
    assert len(files) > 2_000
    for path in files:
        assert read_hurl(path.read_text()), path


def test_readme_counts_rows_and_says_why_others_are_missing(exported: Path):
    page = (exported / "README.md").read_text()
    assert f"{len([*exported.rglob('*.hurl')])} of " in page
    assert "| it needs an operator |" in page
    assert "- `session_token`\n" in page
    assert "- `url`\n" in page
    assert "`fresh_" not in page


def run_jitsudo(folder: Path, fault: str | None) -> Iterator[str]:
    with serving_reimplementation(fault) as server:
        base, sso_user = server.users["base"], server.users["sso_user"]
        variables = {"url": server.url, "nonce": "1", **base}
        variables |= {f"sso_user_{name}": value for name, value in sso_user.items()}
        for path in sorted(folder.rglob("*.hurl")):
            yield from run_hurl(path.read_text(), variables)


@pytest.mark.parametrize("fault", [None, "does nothing", "changes nothing", "no message"])
def test_files_pass_on_a_faithful_service_and_find_faults(tmp_path: Path, fault: str | None):
    folder = tmp_path / "jitsudo"
    options = ("--dialect", "jitsudo", "--hold", "published")
    assert main([*options, "--export", "hurl", str(folder)]) == 0
    assert bool([*run_jitsudo(folder, fault)]) == (fault is not None)


def test_other_formats_and_full_folders_are_rejected(
    exported: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--export", "postman", str(exported / "new")]) == 2
    assert main(["--export", "hurl", str(exported)]) == 2
    error = capsys.readouterr().err
    assert "one format: hurl" in error
    assert "not an empty folder" in error


def test_url_is_required_otherwise(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([])
    assert "--url" in capsys.readouterr().err


def test_special_characters_are_escaped():
    headers = (("X-Note", 'a # b \\ "c"'), ("Authorization", "Basic e3tpZH19OnAjcQ=="))
    request = Request("POST", "/a?b=%7B%7Bname%7D%7D#c", headers, b'{"a": "`\xc3\xa4\x01"}')
    lines = [*Entry(request, "2xx", assert_body({"a": 'b"', "c": [None, True]})).lines()]
    assert lines == [
        "POST {{url}}/a?b={{name urlEncode}}\\#c",
        'X-Note: a \\# b \\\\ "c"',
        "[BasicAuth]",
        "{{id}}: p\\#q",
        '`{"a": "\\`ä\\u{1}"}`',
        "HTTP *",
        "[Asserts]",
        "status >= 200",
        "status < 300",
        'jsonpath "$.*" count == 2',
        'jsonpath "$[\'a\']" == "b\\""',
        "jsonpath \"$['c']\" count == 2",
        "jsonpath \"$['c'][0]\" == null",
        "jsonpath \"$['c'][1]\" == true",
    ]
    assert read_hurl("\n".join(lines))


def test_matchers_become_predicates():
    body = {"a": Pattern("x+"), "b": UnixTime("+1d"), "c": PublicUrl("/d"), "e": Other("{{f}}")}
    assert assert_body({"g": Captured("{{h}}")}) == ["jsonpath \"$['g']\" == {{h}}"]
    assert assert_body(body, is_open=True) == [
        'jsonpath "$[\'a\']" matches "^(?:x+)$"',
        "jsonpath \"$['b']\" isInteger",
        'jsonpath "$[\'c\']" endsWith "/d"',
        'jsonpath "$[\'e\']" != "{{f}}"',
    ]
    assert [*assert_header("A", [])] == ['header "A" not exists']
    assert next(iter(assert_header("A", ["b", "c"]))) == 'header "A" count == 2'
    assert pointer_query("/items/0/id", is_list=True) == "jsonpath \"$[0]['id']\""
    assert pointer_query("/headers/etag", is_list=False) == 'header "etag"'


@pytest.mark.parametrize(
    "entry",
    [
        Entry(Request("GET", "/", (("A", ""),)), "200"),
        Entry(Request("GET", "/{{a b}}"), "200"),
        Entry(Request("POST", "/", body=b"{{"), "200"),
        Entry(Request("POST", "/", body=b"a" * 20_001), "200"),
    ],
)
def test_inexpressible_request_is_reported(entry: Entry):
    with pytest.raises(NotExpressible):
        [*entry.lines()]


@pytest.mark.parametrize("body", [{"a": Pattern("(?!b)")}, {"a'b": 1}, {"a": b"c"}])
def test_inexpressible_body_is_reported(body: dict[str, object]):
    with pytest.raises(NotExpressible):
        assert_body(body)
