"""The pages name only operations, credentials, commands and files that exist."""

import re
import shlex
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from accounts.crypto import tokens
from oneself.commands import _build
from oneself.document import load_document, operation_specs
from oneself.http.response.dialects import path_pattern
from oneself_conformance.options import build_parser

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("docs/decisions/*.md"))
    if page.name != "CHANGELOG.md" and not page.parent.name.startswith(".")
)
#: Pages that are wrapped at 100 columns, with one clause per line.
WRAPPED = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAX_COLUMNS = 100
MAX_README_BYTES = 10_000
MAX_IMAGE_BYTES = 200_000
README = (ROOT / "README.md").read_text()
CLIENTS = (ROOT / "docs" / "clients.md").read_text()
DOCUMENT = load_document()
OPERATIONS = list(operation_specs(DOCUMENT))
#: Tags that are no dialect: OAuth for clients of the dialects, and the health of the service.
NO_DIALECTS = {"oauth", "status"}
#: A mailed secret is used once, and authenticates no request.
NO_CREDENTIALS = {tokens.ONE_TIME_SECRET}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
every_wrapped_page = pytest.mark.parametrize(
    "page", WRAPPED, ids=lambda page: str(page.relative_to(ROOT))
)

DIALECTS = re.findall(r"^# (\w+): .+\ncurl localhost:8080(/\S+)", README, re.MULTILINE)


def _credential_rows() -> list[list[str]]:
    """Return the rows of the table of credentials."""
    head = "| kind | looks like | made by |"
    lines = CLIENTS.partition(f"\n{head}\n")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


CREDENTIALS = _credential_rows()


def _owners(path: str) -> set[str]:
    return {each.dialect for each in OPERATIONS if path_pattern(each.path).fullmatch(path)}


def test_readme_is_short():
    assert len(README.encode()) <= MAX_README_BYTES


def test_images_are_small():
    images = [*ROOT.glob("docs/images/*")]
    assert images
    assert {image.name for image in images if image.stat().st_size > MAX_IMAGE_BYTES} == set()


@every_wrapped_page
def test_page_is_wrapped(page):
    """Neither addresses nor rows of tables can be broken, so these may be longer."""
    too_long = [
        f"{page.name}:{number}"
        for number, line in enumerate(page.read_text().splitlines(), 1)
        if len(line) > MAX_COLUMNS and not re.match(r"\[[\w-]+\]: https://\S+$|\| ", line)
    ]
    assert too_long == []


def test_licence_is_named_everywhere():
    """In the package metadata, in the document and in the README."""
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert '\nlicense = "Apache-2.0"\n' in (ROOT / "pyproject.toml").read_text()
    assert DOCUMENT["info"]["license"]["name"] == "Apache-2.0"
    assert "](LICENSE)" in README


def test_each_dialect_has_a_curl_line_with_a_path_of_its_own():
    """In the document's order, so that none is left out."""
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert [name.lower() for name, _ in DIALECTS] == [tag for tag in tags if tag not in NO_DIALECTS]
    for name, path in DIALECTS:
        assert _owners(path) == {name.lower()}


def test_each_security_scheme_is_among_the_credentials():
    """By its form in a request."""
    forms = [row[1] for row in CREDENTIALS]
    for name, scheme in DOCUMENT["components"]["securitySchemes"].items():
        form = {"bearer": scheme.get("bearerFormat"), "basic": "as Basic"}.get(
            scheme.get("scheme", ""), scheme.get("name")
        )
        if name == "jwt":  # a JWT has no prefix
            form = "RFC 9068"
        assert sum(form in each for each in forms) == 1, name


def test_each_token_prefix_is_among_the_credentials():
    prefixes = {
        value
        for name, value in vars(tokens).items()
        if name.isupper() and isinstance(value, str) and value.endswith("_")
    }
    listed = {prefix for row in CREDENTIALS for prefix in re.findall(r"`([a-z]+_)…`", row[1])}
    # The id of a client is no credential.
    assert listed - {"cli_"} == prefixes - NO_CREDENTIALS


@every_page
def test_named_operations_exist(page):
    """By method and path."""
    for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^ `]+)`", page.read_text()):
        operations = [
            each.operation_id
            for each in OPERATIONS
            if each.method == method.lower() and path_pattern(each.path).fullmatch(path)
        ]
        assert operations, f"{method} {path}"


KIT_OPTIONS = {*build_parser("")._option_string_actions}  # noqa: SLF001 # argparse has no other list


def _command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of each of our command lines."""
    for line in re.findall(r"(?:python -m|bin/)\s?oneself ([a-z][^`\n]*)", text):
        yield shlex.split(re.split(r" {2,}#| \| | > | \\$| && ", line)[0])


@every_page
def test_named_commands_exist(page):
    """With their options; arguments may be anything."""
    for line in _command_lines(page.read_text()):
        command, words = get_command(_build(completes=True)), line
        while isinstance(command, TyperGroup) and words:
            assert words[0] in command.commands, line
            command, words = command.commands[words[0]], words[1:]
        options = {option for each in command.params for option in each.opts} | {"--help"}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= (KIT_OPTIONS if line[0] == "prove" else options), line


@every_page
def test_named_options_of_the_conformance_tests_exist(page):
    for line in re.findall(r"^oneself-conformance (--[^#\n]*)", page.read_text(), re.MULTILINE):
        assert set(re.findall(r"(?<!\S)--[a-z-]+", line)) <= KIT_OPTIONS, line


@every_page
def test_named_tox_environments_exist(page):
    """`tox run -e name`, and `tox run -m label`."""
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = {name.partition(":")[2] for name in tox.sections()}
    labels = {label for name in tox.sections() for label in tox[name].get("labels", "").split()}
    text = page.read_text()
    assert set(re.findall(r"tox run -e ([a-z-]+)", text)) <= environments
    assert set(re.findall(r"tox run -m ([a-z-]+)", text)) <= labels


#: A path from the root of the repository.
NAMED = re.compile(
    r"(?<![\w./-])("
    r"(?:accounts|bench|bin|contracts|docs|examples|handlers|models|oneself|openapi|policies"
    r"|requirements|sdk|templates|tests|locales)/[\w./<>…{}*-]+)"
)
#: Patterns for several files, and files that a reader creates.
MADE = re.compile(r".*[*<…{].*|.*/released[.]yaml|.*/freeze[.]cedar|locales/fr/.*")


@every_page
def test_named_files_exist(page):
    """Relative to the root or the page; the security page has paths below `tests/`."""
    text = page.read_text()
    named = {*NAMED.findall(text), *re.findall(r"\]\(([^)#:]+)\)", text)}
    missing = {
        each
        for each in (name.rstrip(".}") for name in named)
        if not MADE.fullmatch(each)
        and not (ROOT / each).exists()
        and not (page.parent / each).exists()
        and not (page.name == "security.md" and (ROOT / "tests" / each).exists())
    }
    assert missing == set()


def test_files_named_in_comments_exist():
    """In the code, the tests and the data; a moved module is easily missed there."""
    folders = ("accounts", "contracts", "handlers", "models", "oneself", "policies", "tests")
    files = [*ROOT.glob("*.toml"), *ROOT.glob("*.ini"), *ROOT.glob("openapi/*.yaml")]
    for folder in folders:
        for kind in ("py", "yaml", "cedar"):
            files += ROOT.glob(f"{folder}/**/*.{kind}")
    named = {
        (str(file.relative_to(ROOT)), name.rstrip(".}"))  # the brace ends tox's {posargs:…}
        for file in files
        for name in NAMED.findall(file.read_text())
    }
    assert len(named) > 50
    assert {
        (file, name)
        for file, name in named
        if not MADE.fullmatch(name)
        and not (ROOT / name).exists()
        and not (ROOT / file).parent.joinpath(name).exists()
    } == set()
