"""What the README and its like say of operations, credentials, commands and files is there."""

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

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md"))
    if page.name != "CHANGELOG.md" and not page.parent.name.startswith(".")
)
README = (ROOT / "README.md").read_text()
DOCUMENT = load_document()
OPERATIONS = list(operation_specs(DOCUMENT))
#: What is no dialect: how clients of the dialects prove themselves, and how the service is.
NO_DIALECTS = {"oauth", "status"}
#: A mailed secret is used once and by whoever has it, and goes with no request.
NO_CREDENTIALS = {tokens.ONE_TIME_SECRET}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _table(head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    lines = README.partition(f"\n{head}\n")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


DIALECTS = _table("| dialect | for example | what it brings |")
CREDENTIALS = _table("| kind | looks like | made by | may |")


def _owners(path: str) -> set[str]:
    return {each.dialect for each in OPERATIONS if path_pattern(each.path).fullmatch(path)}


def test_each_dialect_has_a_line_with_a_path_of_its_own():
    """In the document's order, so that none is left out."""
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert [row[0].lower() for row in DIALECTS] == [tag for tag in tags if tag not in NO_DIALECTS]
    for name, example, _ in DIALECTS:
        [path] = re.findall(r"localhost:8080(/[^ `]*)", example)
        assert _owners(path) == {name.lower()}


def test_each_security_scheme_has_a_line_among_the_credentials():
    """By what it looks like in a request."""
    looks = [row[1] for row in CREDENTIALS]
    for name, scheme in DOCUMENT["components"]["securitySchemes"].items():
        told = {"bearer": scheme.get("bearerFormat"), "basic": "as Basic"}.get(
            scheme.get("scheme", ""), scheme.get("name")
        )
        if name == "jwt":  # it has no prefix of ours, and a line by its name
            told = "RFC 9068"
        assert sum(told in look for look in looks) == 1, name


def test_each_token_has_a_line_among_the_credentials():
    """By how it begins."""
    prefixes = {
        value
        for name, value in vars(tokens).items()
        if name.isupper() and isinstance(value, str) and value.endswith("_")
    }
    listed = {found for row in CREDENTIALS for found in re.findall(r"`([a-z]+_)…`", row[1])}
    # The id of a client is none.
    assert listed - {"cli_"} == prefixes - NO_CREDENTIALS


@every_page
def test_an_operation_that_is_named_is_one(page):
    """By its method and its path."""
    for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^ `]+)`", page.read_text()):
        found = [
            each.operation_id
            for each in OPERATIONS
            if each.method == method.lower() and path_pattern(each.path).fullmatch(path)
        ]
        assert found, f"{method} {path}"


def _command_lines(text: str) -> Iterator[list[str]]:
    """Each command line of ours, as its words."""
    for line in re.findall(r"(?:python -m|bin/)\s?oneself ([a-z][^`\n]*)", text):
        yield shlex.split(re.split(r" {2,}#| \| | > | \\$| && ", line)[0])


@every_page
def test_a_command_that_is_named_is_one(page):
    """With its options; an argument may be anything."""
    for line in _command_lines(page.read_text()):
        command, words = get_command(_build(completes=True)), line
        while isinstance(command, TyperGroup) and words:
            assert words[0] in command.commands, line
            command, words = command.commands[words[0]], words[1:]
        options = {option for each in command.params for option in each.opts} | {"--help"}
        used = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert used <= options, line


@every_page
def test_an_environment_of_tox_that_is_named_is_one(page):
    """`tox run -e name`."""
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    environments = {name.partition(":")[2] for name in tox.sections()}
    assert set(re.findall(r"tox run -e ([a-z]+)", page.read_text())) <= environments


#: A path from the root.
NAMED = re.compile(
    r"(?<![\w./-])("
    r"(?:accounts|bench|bin|contracts|docs|examples|handlers|models|oneself|openapi|policies"
    r"|requirements|sdk|templates|tests)/[\w./<>…{}*-]+)"
)
#: What stands for several files, or is made by whoever follows a page, and is not in a checkout.
MADE = re.compile(r".*[*<…{].*|.*/released[.]yaml")


@every_page
def test_a_file_that_is_named_is_there(page):
    """From the root or from beside the page; the page on security has tests from `tests/`."""
    text = page.read_text()
    named = {*NAMED.findall(text), *re.findall(r"\]\(([^)#:]+)\)", text)}
    missing = {
        each
        for each in (name.rstrip(".") for name in named)
        if not MADE.fullmatch(each)
        and not (ROOT / each).exists()
        and not (page.parent / each).exists()
        and not (page.name == "security.md" and (ROOT / "tests" / each).exists())
    }
    assert missing == set()


def test_a_file_that_a_comment_names_is_there():
    """In the code, the tests and the data, where a module that moved is easily left behind."""
    folders = ("accounts", "contracts", "handlers", "models", "oneself", "policies", "tests")
    files = [*ROOT.glob("*.toml"), *ROOT.glob("*.ini"), *ROOT.glob("openapi/*.yaml")]
    for folder in folders:
        for kind in ("py", "yaml", "cedar"):
            files += ROOT.glob(f"{folder}/**/*.{kind}")
    named = {
        (str(file.relative_to(ROOT)), name.rstrip("."))
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
