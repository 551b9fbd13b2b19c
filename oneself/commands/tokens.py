"""`token`: find tokens of this service where they do not belong."""

import sys
from typing import Annotated

import typer

from oneself.commands.console.failures import Failure
from oneself.commands.console.output import AsJson, show_list

app = typer.Typer(no_args_is_help=True, help="Find tokens in texts.")

#: The characters of a token that are shown behind its prefix.
_SHOWN = 4


@app.callback()
def _tokens() -> None:
    # Without a callback, Typer would merge `check`, the only command, into `token`.
    pass


@app.command()
def check(
    *,
    brand: Annotated[
        str | None,
        typer.Option(help="How API keys begin. By default ONESELF_API_KEY_BRAND.", metavar="TEXT"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a text from standard input, and name the tokens of this service in it.

    For a hook before a commit, and for the search of a log. A token is recognised by its form and
    its checksum, without the database, so an expired one is named too. It is not printed in full.
    The exit status is 1 if there is one.
    """
    from accounts.crypto.tokens import find_in_text
    from oneself.commands.console.session_setup import load_settings

    brand = brand or load_settings().api_key_brand
    found = [
        {
            "line": number,
            "column": each.start + 1,
            "kind": each.kind,
            "token": f"{each.token[: each.token.rindex('_') + 1 + _SHOWN]}…",
        }
        # Bytes, since a file may be of any encoding; tokens are ASCII.
        for number, line in enumerate(sys.stdin.buffer, 1)
        for each in find_in_text(line.decode(errors="replace"), brand)
    ]
    show_list("tokens", found, as_json=as_json)
    if found:
        raise Failure(
            f"Tokens in the text: {len(found)}. Remove them, and revoke those that were seen by"
            " others."
        )
