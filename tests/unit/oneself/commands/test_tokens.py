"""`token check`: tokens in a text, by form and checksum."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accounts.crypto import tokens
from oneself.commands import tokens as commands
from oneself.commands.console.failures import Failure

CLIENTS = Path(__file__).parents[4] / "docs" / "clients.md"
PREFIXES = (
    tokens.SESSION,
    tokens.ACCESS_TOKEN,
    tokens.PAT,
    tokens.REFRESH_TOKEN,
    tokens.CLIENT_SECRET,
    tokens.ONE_TIME_SECRET,
)


def _check(text, *options):
    return CliRunner().invoke(commands.app, ["check", "--json", *options], input=text)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_token_is_named_by_kind_and_place_and_not_printed(prefix):
    token = tokens.mint(prefix)
    ran = _check(f"first line\nTOKEN={token} # the key\n")
    assert isinstance(ran.exception, Failure)
    [found] = json.loads(ran.stdout)["tokens"]
    assert (found["line"], found["column"]) == (2, 7)
    assert found["token"] == f"{token[: len(prefix) + 4]}…"
    assert token not in ran.stdout + str(ran.exception)


def test_api_key_is_found_by_its_brand():
    key = tokens.mint_api_key("acme").key
    assert _check(key).exit_code == 0
    ran = _check(f'"{key}"', "--brand", "acme")
    [found] = json.loads(ran.stdout)["tokens"]
    assert found["kind"] == "API key"
    assert found["token"] == f"{key[:22]}…"


def test_texts_without_tokens_are_fine():
    """A wrong checksum, a part of a longer word, and a token that is cut off."""
    token = tokens.mint(tokens.PAT)
    other = "0" if token[-1] != "0" else "1"
    ran = _check(f"{token[:-1]}{other}\nx{token}\n{token}x\n{token[:-1]}\n")
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == {"tokens": []}


def test_bytes_that_are_no_text_are_skipped():
    token = tokens.mint(tokens.PAT)
    ran = _check(b"\xff\xfe " + token.encode())
    assert len(json.loads(ran.stdout)["tokens"]) == 1


def test_every_kind_of_token_has_a_name():
    """A new prefix must be found in texts as well."""
    prefixes = {
        value
        for name, value in vars(tokens).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str)
    }
    assert prefixes == set(PREFIXES)


def test_documented_expression_is_the_one_in_use():
    assert f"`{tokens.text_pattern('ipto')}`" in CLIENTS.read_text()
